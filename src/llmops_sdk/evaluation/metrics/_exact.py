"""Whether the answer is the one that was expected, and how many edits it is away from it."""

from __future__ import annotations

import importlib
from typing import Any, ClassVar, Unpack

from llmops_sdk.errors import MissingDependencyError
from llmops_sdk.evaluation.metrics._texts import FormMetric, FormOptions

__all__ = ["EditDistance", "EditSimilarity", "Exact"]


class Exact(FormMetric):
    """1 where the answer is the one that was expected, or one of a list of acceptable ones, else 0.

    By default space around the two does not count and all else does; `Exact(case=False, space="collapse",
    punctuation=False, articles=False)` is the exact match of SQuAD.

    Args:
        options: See `FormOptions`.

    Raises:
        ConfigurationError: An option is unknown or makes no sense.

    Example:
        >>> from llmops_sdk import Scripted
        >>> from llmops_sdk.evaluation import Case
        >>> Exact(case=False)(Case(input="Capital?", expected=["Paris", "Paname"]), ("?" | Scripted("paris")).run())
        1.0
    """

    bounds = (0.0, 1.0)
    default_name: ClassVar[str] = "exact"

    def compare(self, said: str, expected: str) -> float:
        """Whether the two are the same."""
        return float(said == expected)


class _Edits(FormMetric):
    # Bit-parallel: 100,000 characters against as many take a fraction of a second.
    longest = 100_000

    def __init__(self, **options: Unpack[FormOptions]) -> None:
        super().__init__(**options)
        self._levenshtein()

    @staticmethod
    def _levenshtein() -> Any:
        try:
            return importlib.import_module("rapidfuzz.distance").Levenshtein
        except ImportError as error:
            raise MissingDependencyError("edit distances", package="rapidfuzz", extra="evaluation") from error


class EditDistance(_Edits):
    """How many characters have to be put in, taken out or changed (Levenshtein, 1966); 0 is best. From rapidfuzz.

    Args:
        options: See `FormOptions`.

    Raises:
        ConfigurationError: An option is unknown or makes no sense.
        MissingDependencyError: `rapidfuzz` is not installed.

    Example:
        >>> from llmops_sdk import Scripted
        >>> from llmops_sdk.evaluation import Case
        >>> EditDistance()(Case(input="?", expected="kitten"), ("?" | Scripted("sitting")).run())
        3.0
    """

    bounds = (0.0, float("inf"))
    higher_is_better = False
    unit = "characters"
    default_name: ClassVar[str] = "edit_distance"

    def compare(self, said: str, expected: str) -> float:
        """The number of edits."""
        return float(self._levenshtein().distance(said, expected))


class EditSimilarity(_Edits):
    """1 less the edit distance as a share of the longer text: 1 for the same text, 0 for nothing in common.

    Args:
        options: See `FormOptions`.

    Raises:
        ConfigurationError: An option is unknown or makes no sense.
        MissingDependencyError: `rapidfuzz` is not installed.

    Example:
        >>> from llmops_sdk import Scripted
        >>> from llmops_sdk.evaluation import Case
        >>> round(EditSimilarity()(Case(input="?", expected="kitten"), ("?" | Scripted("sitting")).run()), 3)
        0.571
    """

    bounds = (0.0, 1.0)
    default_name: ClassVar[str] = "edit_similarity"

    def compare(self, said: str, expected: str) -> float:
        """The similarity."""
        return float(self._levenshtein().normalized_similarity(said, expected))
