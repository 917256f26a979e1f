"""In which language a text is: by its script, and by function words and endings where languages share a script.

A word that is frequent in `n` of the languages of its script counts `1 / n` for each of them; endings count less.
Letters that few languages have count, too. There is no training: the profile is `data/languages.txt`.
"""

from __future__ import annotations

import functools
import importlib.resources
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

__all__ = ["LANGUAGES", "UNKNOWN", "Identified", "identify"]

UNKNOWN = "unknown"

# Scripts that tell the language, as ranges of characters.
_SCRIPTS: Mapping[str, str] = {
    "el": "\u0370-\u03ff\u1f00-\u1fff",
    "he": "\u0590-\u05ff",
    "hy": "\u0530-\u058f",
    "ka": "\u10a0-\u10ff",
    "th": "\u0e01-\u0e7f",
    "lo": "\u0e80-\u0eff",
    "my": "\u1000-\u109f",
    "km": "\u1780-\u17ff",
    "am": "\u1200-\u137f",
    "bn": "\u0980-\u09ff",
    "pa": "\u0a00-\u0a7f",
    "gu": "\u0a80-\u0aff",
    "ta": "\u0b80-\u0bff",
    "te": "\u0c00-\u0c7f",
    "kn": "\u0c80-\u0cff",
    "ml": "\u0d00-\u0d7f",
    "ko": "\uac00-\ud7a3\u1100-\u11ff",
    "ja": "\u3041-\u30ff\uff66-\uff9d",
    "zh": "\u3400-\u9fff\uf900-\ufaff",
    "cyrillic": "\u0400-\u052f",
    "arabic": "\u0600-\u06ff\ufb50-\ufdff\ufe70-\ufeff",
    "devanagari": "\u0900-\u097f",
}


def _listed(file: str) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """The lines of a data file: the languages before the colon, and the entries behind it."""
    text = importlib.resources.files("llmops_sdk.guards").joinpath("data", file).read_text("utf-8")
    for line in text.splitlines():
        languages, colon, entries = line.partition(": ")
        if colon and not line.startswith("#"):
            yield tuple(languages.split()), entries.split()


_WORDLIKE = {"cyrillic", "arabic", "devanagari", "latin"}
# A letter of these scripts says as much as this many Latin ones.
_DENSE = {"zh": 3.0, "ja": 2.0, "ko": 2.0}
_LETTERS: dict[str, tuple[str, ...]] = dict.fromkeys(map(chr, range(0x1EA0, 0x1EFA)), ("vi",))
"""Letter -> the languages that write it often; `data/letters.txt`, and the Vietnamese block."""
for _languages, _letters in _listed("letters.txt"):
    _LETTERS |= dict.fromkeys(_letters, _languages)

_WORD = re.compile(
    r"[^\W\d_][^\W\d_'\u2019\u0900-\u0903\u093a-\u094f]*(?:[\u0900-\u0903\u093a-\u094f\u200c][^\W\d_]*)*"
)
_ASCII_WORD = re.compile(r"[A-Za-z]+")
_SKIPPED = re.compile(
    r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]{1,200}`|<[A-Za-z/!][^<>\n]{0,300}>"
    r"|(?:https?://|www\.)\S{1,2000}|[\w.+-]{1,64}@[\w.-]{1,255}",
    re.DOTALL,
)
_MARKS = ("`", "<", "://", "@", "www.", "~~~")
_LEAST_LATIN = 12
_LEAST_EVIDENCE = 1.5
_MOST_WORDS = 50
_LEAST_CONFIDENCE = 0.3
_SAMPLE = 20_000


class Identified(NamedTuple):
    """What a text is written in.

    Attributes:
        language: Its code (ISO 639-1), or `"unknown"`.
        confidence: How sure that is, `0 <= confidence <= 1`.
    """

    language: str
    confidence: float


@functools.lru_cache(maxsize=1)
def _profile() -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    """Word -> language -> weight; ending -> language -> weight."""
    words: dict[str, dict[str, float]] = {}
    endings: dict[str, dict[str, float]] = {}
    for (language,), entries in _listed("languages.txt"):
        for entry in entries:
            if entry.startswith("-"):
                endings.setdefault(entry[1:], {})[language] = 0.4
            else:
                words.setdefault(entry, {})[language] = 1.0
    for table in (words, endings):
        for weights in table.values():
            for language in weights:
                weights[language] /= len(weights)
    return words, endings


LANGUAGES: frozenset[str] = frozenset(
    [
        "en",
        "fr",
        "de",
        "es",
        "pt",
        "it",
        "nl",
        "sv",
        "da",
        "no",
        "fi",
        "pl",
        "cs",
        "sk",
        "hu",
        "ro",
        "tr",
        "id",
        "vi",
        "ca",
        "hr",
        "sl",
        "et",
        "lt",
        "lv",
        "sq",
        "is",
        "ga",
        "cy",
        "sw",
        "tl",
        "eo",
        "af",
        "ru",
        "uk",
        "bg",
        "sr",
        "mk",
        "be",
        "ar",
        "fa",
        "ur",
        "hi",
        "mr",
        "ne",
    ]
) | (frozenset(_SCRIPTS) - _WORDLIKE)
"""The codes of the languages that are told apart."""

_SCRIPT_PATTERNS = {name: re.compile(f"[{ranges}]") for name, ranges in _SCRIPTS.items()}
_RARE = re.compile(f"[{''.join(_LETTERS)}]")


class _Evidence(dict[str, tuple[tuple[str, float], ...]]):
    """Word, as written in small letters -> the languages that it speaks for; worked out when it is first seen."""

    def __missing__(self, word: str) -> tuple[tuple[str, float], ...]:
        words, endings = _profile()
        found = words.get(word)
        if found is None:
            found = next((endings[word[-n:]] for n in (5, 4, 3, 2) if len(word) > n + 2 and word[-n:] in endings), {})
        weights = dict(found)
        for letter in () if word.isascii() else set(_RARE.findall(word)):
            owners = _LETTERS[letter]
            for owner in owners:
                weights[owner] = weights.get(owner, 0.0) + 0.5 / len(owners)
        if len(self) > 50_000:
            self.clear()
        self[word] = evidence = tuple(weights.items())
        return evidence


_EVIDENCE = _Evidence()


def prose_of(text: str) -> str:
    """`text` without code in fences or backticks, tags, URLs and addresses."""
    return _SKIPPED.sub(" ", text) if any(mark in text for mark in _MARKS) else text


def identify(text: str) -> Identified:
    """In which language most of `text` is written. Of long texts the first 20,000 characters are read."""
    prose = prose_of(text[:_SAMPLE])
    script = "latin" if prose.isascii() else _script(prose)
    if script not in _WORDLIKE:
        if script == UNKNOWN:
            return Identified(UNKNOWN, 0.0)
        return Identified(script, 1.0)
    lowered = prose.lower() if prose.isascii() else unicodedata.normalize("NFC", prose.lower())
    words = (_ASCII_WORD if prose.isascii() else _WORD).findall(lowered)
    if len(words) > _MOST_WORDS:
        words = words[:: -(-len(words) // _MOST_WORDS)]  # some from everywhere
    scores: defaultdict[str, float] = defaultdict(float)
    for evidence in map(_EVIDENCE.__getitem__, words):
        for language, weight in evidence:
            scores[language] += weight
    total = sum(scores.values())
    if (
        not scores
        or max(scores.values()) < 1
        or sum(map(len, words)) < _LEAST_LATIN
        or total < _LEAST_EVIDENCE
        or total < len(words) * 0.08
    ):
        return Identified(UNKNOWN, 0.0)
    best = max(scores, key=scores.__getitem__)
    second = max((score for language, score in scores.items() if language != best), default=0.0)
    # A lead of a whole word or more is sure; smaller ones are in doubt.
    lead = scores[best] - second
    confidence = min(1.0, lead / (0.5 + 0.1 * scores[best]))
    if confidence < _LEAST_CONFIDENCE:
        return Identified(UNKNOWN, confidence)
    return Identified(best, confidence)


def _script(prose: str) -> str:
    """The script most letters are of; the code of the language, where that tells it."""
    counts = {name: len(pattern.findall(prose)) * _DENSE.get(name, 1.0) for name, pattern in _SCRIPT_PATTERNS.items()}
    # Japanese is written with Chinese characters, too.
    if counts["ja"] > 0.1 * counts["zh"]:
        counts["ja"] += counts.pop("zh")
    letters = sum(map(str.isalpha, prose))
    others = sum(len(pattern.findall(prose)) for pattern in _SCRIPT_PATTERNS.values())
    best = max(counts, key=counts.__getitem__)
    if counts[best] < max(0, letters - others):
        return "latin"
    return best if counts[best] >= 4 else UNKNOWN
