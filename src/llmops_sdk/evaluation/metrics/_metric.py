"""What a metric is: the protocol and its scores."""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from llmops_sdk.evaluation._cases import Case
from llmops_sdk.pipelines import Result, configuration_hash

if TYPE_CHECKING:
    from llmops_sdk.evaluation._judges import Calibration

__all__ = ["Metric", "MetricLike", "Said", "Score"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What a metric says of one answer.

    Attributes:
        value: A finite number; `True` and `False` are 1 and 0. `None`: the metric does not apply to this case, which
            is counted and shown, and takes no part in means.
        label: A class in place of a number, or beside it: what a classifier said.
        explanation: In words, for whoever looks at the case.
        details: More for tables and reports, as plain JSON values.
        cost_usd: What it cost to find out, such as a judge's call; `None` where that is not known.
    """

    value: float | None = None
    label: str | None = None
    explanation: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    cost_usd: Decimal | None = Decimal(0)


_One: TypeAlias = "bool | float | Score | None"
Said: TypeAlias = "_One | Mapping[str, _One]"
MetricLike: TypeAlias = "Metric | Callable[[Case, Result], Said | Awaitable[Said]]"
"""A metric, or a function of a case and a result."""


class Metric:
    """A metric with settings: subclass it and write `__call__`, plain or `async`.

    Attributes:
        name: Under which its scores are kept and shown.
        higher_is_better: What a comparison takes for better; `False` for latencies and costs.
        bounds: Smallest and largest score. Scores beyond them are errors; sequential runs decide sooner with them.
        unit: Shown behind numbers: `"s"`, `"USD"`, `"tokens"`.
        blocks: Whether it waits or computes for long without `await`: it is called in a thread then.
        pairwise: Whether it compares two answers to a case: it is called with the case, the base's result and the
            other one's, and its score is positive where the other one is better, from -1 to 1.
        scores_failures: Whether it is called for runs that failed, too: `result.error` is set then.
        revision: Raised where the code of the class gives other scores than before: of this library's classes the code
            is no part of `version`, so that an upgrade pays no judge anew; of an application's own it is.
        kind: What its scores say together beside their mean, for `summary_of`; `""` for nothing.
        about: What reports say of it in a line: a judge's model and prompt.
        calibration: What is known of its errors: experiments show scores with them taken out, too.
    """

    name: str = ""
    higher_is_better: bool = True
    bounds: tuple[float, float] = (-math.inf, math.inf)
    unit: str = ""
    blocks: bool = False
    pairwise: bool = False
    scores_failures: ClassVar[bool] = False
    revision: ClassVar[int] = 1
    kind: ClassVar[str] = ""
    about: str = ""
    calibration: Calibration | None = None

    def __call__(self, case: Case, result: Result, /) -> Said | Awaitable[Said]:
        """The score of a result.

        Args:
            case: What was asked.
            result: What came back, as the store keeps it (`pipelines.record_of`). A run that failed is not scored,
                unless the metric `scores_failures`.
        """
        raise NotImplementedError

    @property
    def may_cost(self) -> bool:
        """Whether it may ask somebody who is paid: under a budget, money is set aside before it is called.

        By default an `async` one may, and one whose scores have had a `cost_usd`.
        """
        return inspect.iscoroutinefunction(type(self).__call__)

    @property
    def version(self) -> str:
        """Changes when its scores may: scores of another version are made anew.

        By default its class, `revision` and settings.

        Raises:
            ConfigurationError: Something of it has no form that another process could compare.
        """
        return configuration_hash([self.revision, self])[:16]
