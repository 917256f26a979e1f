"""Whether an answer uses what was retrieved for it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from llmops_sdk.messages import Document
from llmops_sdk.monitoring._observed import Observed

__all__ = ["documents_unused", "overlap"]

_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
"""Scripts without spaces between words: Thai, Lao, Burmese, Khmer, Japanese, Chinese. Each character is a unit."""
_UNIT = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
_ASCII_UNIT = re.compile(r"\w+", re.ASCII)
_MOST_CHARACTERS = 20_000
"""Of an answer, and of all documents together."""
_MOST_PHRASES = 100
"""Of an answer, from everywhere: more would not make a share of 2 % surer."""
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
    said = _units(run.answer)
    return None if len(said) < _LEAST_WORDS else _shared(said, _texts(run.documents)) < _USED


def overlap(answer: str, sources: list[str]) -> float:
    """The share of the answer's phrases (three words in a row) that stand in one of the sources, 0 to 1.

    Example:
        >>> overlap("the shop opens at nine", ["On Mondays the shop opens at ten."])
        0.6666666666666666
    """
    return _shared(_units(answer), sources)


def _shared(said: list[str], sources: Iterable[str]) -> float:
    phrases = [" ".join(("", *words, "")) for words in zip(*(said[start:] for start in range(_IN_A_ROW)), strict=False)]
    phrases = list(dict.fromkeys(phrases[:: -(-len(phrases) // _MOST_PHRASES) or 1]))
    left = phrases
    for source in sources:
        read = f" {' '.join(_units(source))} "
        left = [phrase for phrase in left if phrase not in read]
    return (len(phrases) - len(left)) / len(phrases) if phrases else 0.0


def _texts(documents: Iterable[Document]) -> Iterator[str]:
    room = _MOST_CHARACTERS
    for document in documents:
        yield document.text[:room]
        room -= len(document.text)
        if room <= 0:
            return


def _units(text: str) -> list[str]:
    text = text[:_MOST_CHARACTERS].lower()
    return (_ASCII_UNIT if text.isascii() else _UNIT).findall(text)
