"""Functions as metrics."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Iterable
from typing import Any, overload

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation.metrics._metric import Metric, MetricLike
from llmops_sdk.given import is_number
from llmops_sdk.pipelines import Result, configuration_hash

__all__ = ["metric", "metrics_of"]

_ANYTHING = (-math.inf, math.inf)


class _Function(Metric):
    def __init__(self, function: Callable[..., Any], *, version: object, blocks: bool | None) -> None:
        self._function = function
        self._version = version
        called = getattr(type(function), "__call__", None)  # noqa: B004  (to see whether it is a coroutine function)
        self._waits = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)
        self.blocks = not self._waits if blocks is None else blocks
        self.__doc__ = function.__doc__
        self.__module__ = getattr(function, "__module__", __name__)  # where pickle looks for a decorated one

    def __call__(self, case: Case, result: Result, /) -> Any:
        return self._function(case, result)

    @property
    def may_cost(self) -> bool:
        """Whether the function is `async`."""
        return self._waits

    @property
    def version(self) -> str:
        """What was given as such, else a hash of the function's code and of the data that it takes from around it."""
        return str(self._version) if self._version is not None else configuration_hash(self._function)[:16]

    def __reduce_ex__(self, protocol: Any, /) -> Any:
        # A decorated function: its module knows it by the name under which pickle would look for the plain one.
        name = getattr(self._function, "__qualname__", "")
        if getattr(sys.modules.get(self.__module__), name, None) is self:
            return name
        return super().__reduce_ex__(protocol)


@overload
def metric(
    function: Callable[..., Any],
    /,
    *,
    name: str | None = None,
    version: object = None,
    higher_is_better: bool = True,
    bounds: tuple[float, float] = _ANYTHING,
    unit: str = "",
    blocks: bool | None = None,
) -> Metric: ...
@overload
def metric(
    *,
    name: str | None = None,
    version: object = None,
    higher_is_better: bool = True,
    bounds: tuple[float, float] = _ANYTHING,
    unit: str = "",
    blocks: bool | None = None,
) -> Callable[[Callable[..., Any]], Metric]: ...
def metric(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    version: object = None,
    higher_is_better: bool = True,
    bounds: tuple[float, float] = _ANYTHING,
    unit: str = "",
    blocks: bool | None = None,
) -> Any:
    """Make a function of a case and a result a metric, with options; as a decorator, or called.

    Args:
        function: Gives a number, `True` or `False`, a `Score`, `None` where it does not apply, or a mapping of names to
            those. May be `async`.
        name: Under which its scores are kept; by default that of the function.
        version: Scores of another version are made anew; by default a hash of its code.
        higher_is_better: What a comparison takes for better.
        bounds: Smallest and largest score; scores beyond them are errors.
        unit: Shown behind numbers.
        blocks: Whether it is called in a thread; by default a plain function is, since it may wait or compute for long,
            and an `async` one is not. `False` for a plain one that takes no time is quicker.

    Raises:
        ConfigurationError: It cannot be called or has no name, or an option makes no sense.

    Example:
        >>> @metric(bounds=(0, 1))
        ... def polite(case, result):
        ...     return "please" in result.text.lower()
        >>> polite.name
        'polite'
    """

    def make(given: Callable[..., Any]) -> Metric:
        if not callable(given) or isinstance(given, Metric | type):
            raise ConfigurationError(f"{given!r} is no metric: give a function of a case and a result")
        made = _Function(given, version=version, blocks=blocks)
        made.name = _name(given, name)
        made.higher_is_better, made.unit, made.bounds = higher_is_better, unit, _bounds(bounds)
        return made

    return make if function is None else make(function)


def _name(function: Callable[..., Any], name: object) -> str:
    found = getattr(function, "__name__", None) if name is None else name
    if not isinstance(found, str) or not found.strip() or found == "<lambda>":
        raise ConfigurationError(f"{function!r} has no name: write `metric({{...}}, name='polite')`, or use `def`")
    return found


def _bounds(given: Any) -> tuple[float, float]:
    pair = tuple(given) if isinstance(given, tuple | list) else ()
    if len(pair) != 2 or not all(map(is_number, pair)) or not pair[0] < pair[1]:
        raise ConfigurationError(f"`bounds` are the smallest and the largest score, as in `(0, 1)`, not {given!r}")
    return float(pair[0]), float(pair[1])


def metrics_of(given: Iterable[MetricLike]) -> tuple[Metric, ...]:
    """The metrics, functions made into some.

    Raises:
        ConfigurationError: One cannot be called, has no name, or that of another.
    """
    found: list[Metric] = []
    for one in given:
        if isinstance(one, type):
            raise ConfigurationError(f"{one.__name__} is a class: write `{one.__name__}(...)`")
        made = one if isinstance(one, Metric) else metric(one)
        if not made.name or "." in made.name:
            raise ConfigurationError(
                f"a metric's name is a text without a dot, which parts the names of several scores, not {made.name!r}"
            )
        if made.name in {other.name for other in found}:
            raise ConfigurationError(f"two metrics are called {made.name!r}: give one of them another `name`")
        found.append(made)
    return tuple(found)
