"""Which examples a request shows. The same question gets the same ones, on every machine."""

from __future__ import annotations

import hashlib
import heapq
import math
from array import array
from collections import Counter
from collections.abc import Sequence

__all__ = ["Likeness", "drawn"]

# The usual values, as in Lucene.
_K1, _B = 1.2, 0.75
_GRAM = 3


def drawn(question: str, number: int, count: int, seed: int) -> list[int]:
    """`count` of the numbers below `number`, in order, drawn by a hash of the question and the seed."""
    said = f"{seed}\0{question}".encode("utf-8", "surrogatepass")
    bits = hashlib.shake_256(said).digest(8 * count)
    rest = list(range(number))
    for place in range(count):  # Fisher and Yates's shuffle, as far as it is needed
        other = place + int.from_bytes(bits[8 * place : 8 * place + 8], "big") % (number - place)
        rest[place], rest[other] = rest[other], rest[place]
    return sorted(rest[:count])


class Likeness:
    """How like a question is to each of the texts that are known, by the characters that they share.

    The measure is BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009) over
    three characters in a row, which works for languages that set no spaces, too (McNamee and Mayfield, "Character
    N-Gram Tokenization for European Language Text Retrieval", 2004). No model is asked.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        grams = [Counter(_grams(text)) for text in texts]
        lengths = [sum(one.values()) for one in grams]
        average = sum(lengths) / len(lengths)
        in_texts = Counter(gram for one in grams for gram in one)
        self._number = len(texts)
        # A logarithm may differ in its last digit from machine to machine; all else here is exact everywhere.
        rare = {
            gram: round(math.log(1 + (len(texts) - often + 0.5) / (often + 0.5)), 6) for gram, often in in_texts.items()
        }
        # What most texts have in common, as the words of their template, tells nothing and takes most of the time.
        self._weights: dict[str, tuple[array[int], array[float]]] = {
            gram: (array("l"), array("d")) for gram, often in in_texts.items() if 2 * often <= len(texts)
        }
        for place, (counted, length) in enumerate(zip(grams, lengths, strict=True)):
            around = _K1 * (1 - _B + _B * length / average)
            for gram, often in counted.items():
                known = self._weights.get(gram)
                if known is not None:
                    known[0].append(place)
                    known[1].append(rare[gram] * often * (_K1 + 1) / (often + around))

    def likest(self, question: str, count: int) -> list[int]:
        """The places of the `count` texts that are most like the question, the likest last; of equals the first."""
        scores = [0.0] * self._number
        for gram in dict.fromkeys(_grams(question)):
            places, weights = self._weights.get(gram, ((), ()))
            for place, weight in zip(places, weights, strict=True):
                scores[place] += weight
        return heapq.nlargest(count, range(self._number), key=scores.__getitem__)[::-1]


def _grams(text: str) -> list[str]:
    spaced = f" {' '.join(text.casefold().split())} "
    return [spaced[start : start + _GRAM] for start in range(len(spaced) - _GRAM + 1)]
