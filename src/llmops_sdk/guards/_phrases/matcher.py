"""Finds phrases, thousands of them in one pass, however they are written: `Topics` and `Competitors` share it.

A text is read word by word. A word is compared without case, accents, look-alike letters of other scripts and
invisible characters. Scripts that put no spaces between words (Chinese, Japanese, Thai, ...) and Korean, whose words
grow endings, are read character by character. Between the words of a phrase there may be white space (line breaks,
too) or one or two signs such as `-`, `_`, `&`, but no end of a sentence. Where phrases overlap, the first one counts,
and the longest of those that begin there.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from llmops_sdk.errors import ConfigurationError

__all__ = ["Found", "PhraseScan", "Phrases", "phrase_texts", "words_of"]

LONGEST_WORD = 48
"""Characters; a longer run of letters is read as several words."""
_LONGEST_GAP = 8
_MOST_WORDS = 12
_MOST_KEYS = 4 * _MOST_WORDS  # scripts that are read character by character

# Scripts that are read character by character: South-East Asian ones, Han, kana, Hangul.
_SINGLE = "\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff\u1100-\u11ff\u2e80-\u2fdf\u3005-\u30ff\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff66-\uff9d\U00020000-\U0003ffff"  # noqa: E501
# What belongs to the letter before it: accents written apart, vowel signs, and characters that nobody sees.
_ATTACHED = (
    "\u00ad\u0300-\u036f\u0483-\u0487\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed\u0900-\u0903\u093a-\u094f"
    "\u0981-\u0983\u09bc-\u09cd\u0a01-\u0a4d\u0b82\u0bbe-\u0bcd\u0c00-\u0c4d\u200b-\u200f\u2060-\u2064\ufe00-\ufe0f\ufeff"
)
_LETTER = rf"[^\W_{_SINGLE}]"
_MORE = LONGEST_WORD - 1
# Most words are plain ASCII, for which the first alternative is several times as fast; it must not end within a word.
_WORD = re.compile(
    rf"[A-Za-z0-9]{{1,{LONGEST_WORD}}}+(?![^\x00-\x7f])[+#]{{0,2}}"
    rf"|{_LETTER}(?:{_LETTER}|[{_ATTACHED}]){{0,{_MORE}}}+[+#]{{0,2}}|[{_SINGLE}]"
)
_ASCII_WORD = re.compile(rf"[A-Za-z0-9]{{1,{LONGEST_WORD}}}[+#]{{0,2}}")  # the same, for texts that are all ASCII
_GAP = re.compile(rf"\s{{1,{_LONGEST_GAP}}}|\s?[-\u2010-\u2015_/&+*'\u2019]{{1,2}}\s?|\.|")
_IS_SINGLE = re.compile(rf"[{_SINGLE}]").match
# Letters of other scripts that look like Latin ones (a selection from Unicode's confusables.txt).
_LOOK_ALIKE = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u04bb\u0501\u051b\u051d\u0442\u043d\u043a\u043c\u0432\u04cf"
    "\u03b1\u03b5\u03bf\u03c1\u03c4\u03c5\u03bd\u03b9\u03ba\u03c7\u0131\u0261\u0251\u00f8\u0142\u0111",
    "aeopcyxijshdqwthkmblaeoptuvikxigaold",
)
_DIGITS = str.maketrans("01345789", "oieastbg")
_CACHED = 50_000


def _folded(word: str) -> str:
    """A word without case, accents, look-alike letters and invisible characters."""
    if word.isascii():
        return word.lower()
    letters = unicodedata.normalize("NFKD", word.lower())
    letters = "".join(c for c in letters if not unicodedata.combining(c) and unicodedata.category(c) != "Cf")
    plain = letters.translate(_LOOK_ALIKE).replace("\u00df", "ss").replace("\u00e6", "ae").replace("\u0153", "oe")
    # A word of another script stays what it is unless all of it looks Latin.
    return plain if plain.isascii() else letters


@functools.lru_cache(maxsize=16_384)
def _stem(word: str) -> str:
    """A folded word without the most frequent endings: those of English, and `-s`, `-e`, `-es`, `-en` of others."""
    if len(word) < 4 or not word.isalpha():
        return word
    if word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith(("xes", "zes", "ches", "shes", "sses")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed"):
        root = word[: -len(ending)]
        if word.endswith(ending) and len(root) >= 3 and any(vowel in root for vowel in "aeiouy"):
            doubled = len(root) > 3 and root[-1] == root[-2] and root[-1] not in "aeiouls"
            word = root[:-1] if doubled else root
            break
    else:
        if word.endswith("en") and len(word) >= 8:
            word = word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("e") else word


class Found(NamedTuple):
    """A phrase in a text.

    Attributes:
        start: Where it begins.
        end: One past its end.
        value: What the phrase stands for.
    """

    start: int
    end: int
    value: Any


class _Node:
    """A place in the tree of phrases."""

    __slots__ = ("ends", "next", "value")

    def __init__(self) -> None:
        self.next: dict[str, _Node] = {}
        self.ends = False
        self.value: Any = None


class _Keys(dict[str, str]):
    """Word, as written -> the word of the phrases that it is, `""` if none; worked out when it is first seen."""

    def __init__(self, known: frozenset[str], *, inflected: bool) -> None:
        super().__init__()
        self._known = known
        self._inflected = inflected

    def __missing__(self, word: str) -> str:
        key = self._find(word)
        if len(self) >= _CACHED:
            self.clear()
        self[word] = key
        return key

    def _find(self, word: str) -> str:
        folded = _folded(word)
        bare = folded.rstrip("+#")
        candidates = [folded, bare]
        if not bare.isalpha() and len(bare) > 3 and sum(map(str.isdigit, bare)) * 2 < len(bare):
            candidates.append(bare.translate(_DIGITS))
        for candidate in candidates:
            if candidate in self._known:
                return candidate
        for candidate in candidates if self._inflected else ():
            stem = _stem(candidate)
            if "*" + stem in self._known:
                return "*" + stem
        return ""


class Phrases:
    """A set of phrases, each of which stands for something.

    Args:
        phrases: (phrase, what it stands for).
        inflected: Whether words match in other forms, too: plurals and the like.

    Raises:
        ConfigurationError: A phrase holds no word, or too many.
    """

    def __init__(self, phrases: Iterable[tuple[str, Any]], *, inflected: bool) -> None:
        self._inflected = inflected
        self._root = _Node()
        known: set[str] = set()
        self._most_words = 1
        for phrase, value in phrases:
            words = words_of(phrase)
            keys = ["*" + _stem(word) if inflected and not _IS_SINGLE(word) else word for word in words]
            known.update(keys)
            self._most_words = max(self._most_words, len(keys))
            node = self._root
            for key in keys:
                node = node.next.setdefault(key, _Node())
            if not node.ends:
                node.ends, node.value = True, value
        self._heads = frozenset(self._root.next)
        self._known = frozenset(known)
        self._keys = _Keys(self._known, inflected=inflected)

    @property
    def window(self) -> int:
        """Most characters that have to be seen before a position is decided."""
        return self._most_words * (LONGEST_WORD + 2 + _LONGEST_GAP)

    def find(self, text: str) -> list[Found]:
        """All phrases in `text`."""
        keys = list(map(self._keys.__getitem__, (_ASCII_WORD if text.isascii() else _WORD).findall(text)))
        # Where the words themselves stand in no order of a phrase, their places need not be known.
        if self._heads.isdisjoint(keys) or not any(self._may_begin(keys, at) for at in range(len(keys))):
            return []
        return self.scan(text, final=True).found

    def _may_begin(self, keys: list[str], at: int) -> bool:
        """Whether a phrase begins with word `at`, if all gaps are right."""
        if keys[at] not in self._heads:
            return False
        node = self._root
        for key in keys[at : at + _MOST_KEYS]:
            following = node.next.get(key)
            if following is None:
                return False
            node = following
            if node.ends:
                return True
        return False

    def scan(self, buffer: str, *, final: bool) -> PhraseScan:
        """The phrases in `buffer` up to the first position that is not decided, because more text may come."""
        words = [(match.group(), match.start(), match.end()) for match in _WORD.finditer(buffer)]
        limit = len(buffer)
        if words and not final and words[-1][2] == limit and not _IS_SINGLE(words[-1][0]):
            limit = words.pop()[1]  # it may grow
        keys = [self._keys[word] for word, _, _ in words]
        found: list[Found] = []
        at = 0
        while at < len(words):
            if keys[at] not in self._heads:
                at += 1
                continue
            last, node = self._walk(buffer, words, keys, at, None if final else limit)
            if last is None:
                return PhraseScan(found, words[at][1])
            if node is None:
                at += 1
                continue
            found.append(Found(words[at][1], words[last][2], node.value))
            at = last + 1
        return PhraseScan(found, limit)

    def _walk(
        self, buffer: str, words: list[tuple[str, int, int]], keys: list[str], at: int, limit: int | None
    ) -> tuple[int | None, _Node | None]:
        """The longest phrase that begins with word `at`: its last word, `None` while that is open; and what it is."""
        node = self._root
        best, ended = at, None
        position = at
        while True:
            following = node.next.get(keys[position])
            if following is None:
                return best, ended
            node = following
            if node.ends:
                best, ended = position, node
            position += 1
            if position == len(words):
                open_end = limit is not None and node.next and _GAP.fullmatch(buffer, words[-1][2], limit)
                return (None if open_end else best), ended
            if not node.next or not _GAP.fullmatch(buffer, words[position - 1][2], words[position][1]):
                return best, ended

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (self._root, self._known, self._most_words, self._inflected)


class PhraseScan(NamedTuple):
    """What is known of a text that has not ended.

    Attributes:
        found: The phrases that begin before `decided`.
        decided: Nothing that begins before this position is open any more.
    """

    found: list[Found]
    decided: int


def _rebuilt(root: _Node, known: frozenset[str], most_words: int, inflected: bool) -> Phrases:
    phrases = Phrases((), inflected=inflected)
    phrases._root, phrases._known, phrases._most_words = root, known, most_words
    phrases._heads = frozenset(root.next)
    phrases._keys = _Keys(known, inflected=inflected)
    return phrases


def words_of(phrase: str) -> list[str]:
    """The words of a phrase, folded.

    Raises:
        ConfigurationError: It is no text, holds no word, or too many.
    """
    if not isinstance(phrase, str):
        raise ConfigurationError(f"a phrase is a text, not {phrase!r}")
    words = [_folded(word) for word in _WORD.findall(phrase)]
    if not words or len(words) > (_MOST_KEYS if _IS_SINGLE(words[0]) else _MOST_WORDS):
        raise ConfigurationError(
            f"the phrase {phrase!r} holds {len(words)} words; between 1 and {_MOST_WORDS} are right"
        )
    return words


def phrase_texts(entries: Any, what: str) -> Mapping[str, tuple[str, ...]]:
    """Name -> phrases, of a mapping to lists.

    Raises:
        ConfigurationError: It is something else, or empty.
    """
    if not isinstance(entries, Mapping) or not entries:
        raise ConfigurationError(f"{what} takes a mapping from names to lists of phrases, not {entries!r}")
    texts: dict[str, tuple[str, ...]] = {}
    for name, phrases in entries.items():
        if isinstance(phrases, str) or not phrases:
            raise ConfigurationError(f"{what}: write a list of phrases for {name!r}, not {phrases!r}")
        texts[str(name)] = tuple(phrases)
    return texts
