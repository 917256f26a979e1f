"""What a metric is: the protocol, its scores, and functions as metrics."""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.evaluation._cases import Case
from llmops_sdk.given import is_number
from llmops_sdk.pipelines import Result, configuration_hash

if TYPE_CHECKING:
    from llmops_sdk.evaluation._judges import Calibration

__all__ = ["Metric", "MetricLike", "Score", "metric", "metrics_of", "scores_of"]


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
        calibration: What is known of its errors: experiments show scores with them taken out, too.
    """

    name: str = ""
    higher_is_better: bool = True
    bounds: tuple[float, float] = (-math.inf, math.inf)
    unit: str = ""
    blocks: bool = False
    pairwise: bool = False
    calibration: Calibration | None = None

    def __call__(self, case: Case, result: Result, /) -> Said | Awaitable[Said]:
        """The score of a result.

        Args:
            case: What was asked.
            result: What came back; a run that failed has no result, and is not scored.
        """
        raise NotImplementedError

    @property
    def version(self) -> str:
        """Changes when its scores may: scores of another version are made anew. By default its class and settings.

        Raises:
            ConfigurationError: Something of it has no form that another process could compare.
        """
        return configuration_hash(self)[:16]


class _Function(Metric):
    def __init__(self, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
        self._function = function
        self._version = options.get("version")
        name = options.get("name") or getattr(function, "__name__", None)
        if not isinstance(name, str) or name == "<lambda>":
            raise ConfigurationError(f"{function!r} has no name: write `metric({{...}}, name='polite')`, or use `def`")
        self.name = name
        self.higher_is_better = options.get("higher_is_better", True)
        self.bounds = options.get("bounds", (-math.inf, math.inf))
        self.unit = options.get("unit", "")
        called = getattr(type(function), "__call__", None)  # noqa: B004  (to see whether it is a coroutine function)
        waits = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)
        self.blocks = options.get("blocks", not waits)

    def __call__(self, case: Case, result: Result, /) -> Any:
        return self._function(case, result)

    @property
    def version(self) -> str:
        return str(self._version) if self._version is not None else configuration_hash(self._function)[:16]


@overload
def metric(function: Callable[..., Any], /, **options: Any) -> Metric: ...
@overload
def metric(**options: Any) -> Callable[[Callable[..., Any]], Metric]: ...
def metric(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a function of a case and a result a metric, with options; as a decorator, or called.

    Args:
        function: Gives a number, `True` or `False`, a `Score`, `None` where it does not apply, or a mapping of names to
            those. May be `async`. A plain one is called in a thread, since it may block.
        **options: `name`, `version`, `higher_is_better`, `bounds`, `unit`, `blocks`, as `Metric` has them.

    Example:
        >>> @metric(bounds=(0, 1))
        ... def polite(case, result):
        ...     return "please" in result.text.lower()
        >>> polite.name
        'polite'
    """
    if function is None:
        return lambda given: _Function(given, options)
    return _Function(function, options)


def metrics_of(given: Iterable[MetricLike]) -> tuple[Metric, ...]:
    """The metrics, functions made into some.

    Raises:
        ConfigurationError: One cannot be called, or has the name of another.
    """
    found: list[Metric] = []
    for one in given:
        if not isinstance(one, Metric) and not callable(one):
            raise ConfigurationError(f"{one!r} is no metric: give functions of a case and a result")
        made = one if isinstance(one, Metric) else metric(one)
        if made.name in {other.name for other in found}:
            raise ConfigurationError(f"two metrics are called {made.name!r}: give one of them another `name`")
        found.append(made)
    return tuple(found)


def scores_of(one: Metric, said: Any) -> dict[str, Score]:
    """What a metric said, by name.

    Raises:
        ConfigurationError: It is no score, no finite number, or out of the metric's bounds.
    """
    if isinstance(said, Mapping):
        return {f"{one.name}.{name}": _score(one, value) for name, value in said.items()}
    return {one.name: _score(one, said)}


def _score(one: Metric, said: Any) -> Score:
    score = said if isinstance(said, Score) else Score(value=said)
    value = score.value
    if value is None:
        return score
    if isinstance(value, bool) or type(value).__name__ == "bool_":
        value = float(value)
    if not is_number(value) and not hasattr(value, "__float__"):
        raise ConfigurationError(f"the metric {one.name!r} gave {said!r}, which is no number")
    value = float(value)
    low, high = one.bounds
    if not math.isfinite(value) or not low <= value <= high:
        raise ConfigurationError(
            f"the metric {one.name!r} gave {value!r}, which is no finite number from {low} to {high}"
        )
    return Score(
        value=value,
        label=score.label,
        explanation=score.explanation,
        details=score.details,
        cost_usd=score.cost_usd,
    )
