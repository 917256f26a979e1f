"""What the scores of all cases say together, where that is more than their mean."""

from __future__ import annotations

from collections.abc import Iterable

from llmops_sdk.evaluation.metrics._confusion import ConfusionMatrix
from llmops_sdk.evaluation.metrics._metric import Score
from llmops_sdk.evaluation.metrics._overlap import corpus_bleu

__all__ = ["summary_of"]


def summary_of(kind: str, scores: Iterable[Score]) -> ConfusionMatrix | float | None:
    """What the scores of one metric and one pipeline say together.

    Args:
        kind: `Metric.kind`: `"classification"` gives a `ConfusionMatrix`, `"bleu"` the BLEU of the corpus.
        scores: The scores.

    Returns:
        `None` where there is nothing but the mean to tell, or no score at all.

    Example:
        >>> scores = [Score(value=1.0, label="yes", details={"expected": "yes"})]
        >>> summary_of("classification", scores).accuracy
        1.0
    """
    if kind == "classification":
        return ConfusionMatrix.of(scores)
    return corpus_bleu(scores) if kind == "bleu" else None
