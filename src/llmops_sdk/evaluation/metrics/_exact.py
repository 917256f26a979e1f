"""Whether the answer is the one that was expected, letter by letter."""

from __future__ import annotations

from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation.metrics._metric import Metric
from llmops_sdk.pipelines import Result

__all__ = ["Exact"]


class Exact(Metric):
    """1 where the answer is what the case expects, else 0; `None` where the case expects nothing.

    Args:
        name: Under which its scores are kept.
        strip: Whether space around the answer does not count.

    Example:
        >>> from llmops_sdk import Scripted
        >>> from llmops_sdk.evaluation import Case
        >>> Exact()(Case(input="1 + 1?", expected="2"), ("1 + 1?" | Scripted("2")).run())
        1.0
    """

    bounds = (0.0, 1.0)

    def __init__(self, *, name: str = "exact", strip: bool = True) -> None:
        self.name = name
        self._strip = strip

    def configuration(self) -> dict[str, object]:
        """What its scores depend on."""
        return {"strip": self._strip}

    def __call__(self, case: Case, result: Result, /) -> float | None:
        if case.expected is None:
            return None
        said, expected = result.text, str(case.expected)
        return float(said.strip() == expected.strip() if self._strip else said == expected)
