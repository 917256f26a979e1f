"""The lexical model of `PromptInjection`: which words, and which neighbouring words, speak for an attack.

A logistic regression over what occurs in a stretch of text: words, and pairs of words that stand next to each other.
Each feature counts once; weights are whole numbers. Looking them up is the intersection of two sets, which is what
makes it cheap. `benchmarks/injection_model/train.py` makes the file that is read here.
"""

from __future__ import annotations

import functools
import importlib.resources
import itertools
import re
from typing import NamedTuple

__all__ = ["LexicalModel", "lexical_model", "pairs_of", "parse_model", "words_of"]

_ASCII_WORDS = re.compile(r"\w+", re.ASCII).findall
_SPACES = str.maketrans({chr(code): " " for code in range(128) if not (chr(code).isalnum() or chr(code) == "_")})


def words_of(text: str) -> list[str]:
    """The words of a text in lower case without accents, in their order: ASCII letters, digits and underscores."""
    # Of ASCII alone `translate` takes a fast way.
    return text.translate(_SPACES).split() if text.isascii() else _ASCII_WORDS(text)


def pairs_of(words: list[str]) -> set[tuple[str, str]]:
    """Pairs of words that stand next to each other."""
    return set(itertools.pairwise(words))


class LexicalModel(NamedTuple):
    """Weights of words and pairs of words.

    Attributes:
        bias: The log-odds of a text without any of them.
        scale: What one step of a weight means in log-odds.
        words: Weight of each word.
        pairs: Weight of each pair.
        known_words: The keys of `words`.
        known_pairs: The keys of `pairs`.
    """

    bias: float
    scale: float
    words: dict[str, int]
    pairs: dict[tuple[str, str], int]
    known_words: frozenset[str]
    known_pairs: frozenset[tuple[str, str]]

    def log_odds(self, words: list[str], distinct: frozenset[str] | set[str]) -> float:
        """How much `words` (of which `distinct` is the set) speak for an attack, as log-odds."""
        total = sum(map(self.words.__getitem__, self.known_words & distinct))
        total += sum(map(self.pairs.__getitem__, self.known_pairs & pairs_of(words)))
        return self.bias + self.scale * total


def parse_model(text: str) -> LexicalModel:
    """Read the lines `weight word` or `weight word word`; the first line is `bias scale`."""
    head, *lines = text.splitlines()
    bias, scale = map(float, head.split())
    words: dict[str, int] = {}
    pairs: dict[tuple[str, str], int] = {}
    for line in lines:
        weight, *gram = line.split(" ")
        if len(gram) == 1:
            words[gram[0]] = int(weight)
        else:
            pairs[gram[0], gram[1]] = int(weight)
    return LexicalModel(bias, scale, words, pairs, frozenset(words), frozenset(pairs))


@functools.cache
def lexical_model() -> LexicalModel:
    """The model that comes with the library."""
    folder = importlib.resources.files("llmops_sdk.guards")
    return parse_model(folder.joinpath("data", "injection.txt").read_text("utf-8"))
