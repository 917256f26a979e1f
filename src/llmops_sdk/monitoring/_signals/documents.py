"""Whether an answer uses what was retrieved for it."""

from __future__ import annotations

import re

from llmops_sdk.monitoring._observed import Observed

__all__ = ["documents_unused", "overlap"]

_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
"""Scripts without spaces between words: Thai, Lao, Burmese, Khmer, Japanese, Chinese. Each character is a unit."""
_UNIT = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
_MOST_CHARACTERS = 100_000
_LEAST_WORDS = 8
"""An answer of fewer words ("Yes.") may use a document and share no phrase with it."""
_USED = 0.02
"""Share of the answer's phrases, from which on it shares something. Chance alone gives about none: three words in a row
are seldom the same in two texts that have nothing to do with each other."""
_IN_A_ROW = 3


def documents_unused(run: Observed) -> bool | None:
    """Whether documents stood in the prompt and the answer shares next to nothing with them.

    `None` where there were no documents, or the answer is too short to tell. Texts without spaces between words
    (Chinese, Japanese, Thai) are compared by three characters in a row.
    """
    if not run.documents or not run.answer:
        return None
    if len(_units(run.answer)) < _LEAST_WORDS:
        return None
    return overlap(run.answer, [document.text for document in run.documents]) < _USED


def overlap(answer: str, sources: list[str]) -> float:
    """The share of the answer's phrases (three words in a row) that stand in one of the sources, 0 to 1.

    Example:
        >>> overlap("the shop opens at nine", ["On Mondays the shop opens at ten."])
        0.6666666666666666
    """
    said = _phrases(answer)
    if not said:
        return 0.0
    read: set[tuple[str, ...]] = set()
    for source in sources:
        read |= said & _phrases(source)
    return len(read) / len(said)


def _phrases(text: str) -> set[tuple[str, ...]]:
    units = _units(text)
    return set(zip(*(units[start:] for start in range(_IN_A_ROW)), strict=False))


def _units(text: str) -> list[str]:
    return _UNIT.findall(text[:_MOST_CHARACTERS].lower())
