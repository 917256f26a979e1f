"""Statistics of paired experiments: is the difference more than noise?

`compare(base, new)` takes the scores of two pipelines on the same cases and says how much better the second is, with an
interval, a p-value, and a verdict in words. `adjusted` corrects many p-values; `compare_sequentially` and
`ConfidenceSequence` may be looked at after every case; `corrected_difference` takes a judge's known errors out
of what it says. Needs the extra `evaluation`.
"""

from __future__ import annotations

from importlib.util import find_spec

from llmops_sdk.errors import MissingDependencyError

if find_spec("scipy") is None or find_spec("numpy") is None:
    raise MissingDependencyError("evaluation.statistics", package="scipy", extra="evaluation")

from llmops_sdk.evaluation.statistics._agreement import cohen_kappa, krippendorff_alpha, sign_test
from llmops_sdk.evaluation.statistics._compare import compare
from llmops_sdk.evaluation.statistics._comparison import Comparison, Verdict
from llmops_sdk.evaluation.statistics._corrected import (
    Corrected,
    corrected_comparison,
    corrected_difference,
    corrected_mean,
    corrected_rate,
)
from llmops_sdk.evaluation.statistics._drop import Drop
from llmops_sdk.evaluation.statistics._labelled import Labelled, Share, labelled
from llmops_sdk.evaluation.statistics._many import adjusted
from llmops_sdk.evaluation.statistics._means import Mean, mean
from llmops_sdk.evaluation.statistics._paired import Paired, Scores, paired
from llmops_sdk.evaluation.statistics._powered import prediction_powered
from llmops_sdk.evaluation.statistics._sequence import ConfidenceSequence
from llmops_sdk.evaluation.statistics._sequential import compare_sequentially

__all__ = [
    "Comparison",
    "ConfidenceSequence",
    "Corrected",
    "Drop",
    "Labelled",
    "Mean",
    "Paired",
    "Scores",
    "Share",
    "Verdict",
    "adjusted",
    "cohen_kappa",
    "compare",
    "compare_sequentially",
    "corrected_comparison",
    "corrected_difference",
    "corrected_mean",
    "corrected_rate",
    "krippendorff_alpha",
    "labelled",
    "mean",
    "paired",
    "prediction_powered",
    "sign_test",
]
