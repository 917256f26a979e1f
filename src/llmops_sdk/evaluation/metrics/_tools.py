"""Which tools the answer calls, and with which arguments."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Unpack

from llmops_sdk.errors import ConfigurationError, DatasetError, EvaluationError
from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation.metrics._json import equal_json
from llmops_sdk.evaluation.metrics._metric import Metric, Score
from llmops_sdk.evaluation.metrics._overlap import Part, measured, part
from llmops_sdk.evaluation.metrics._texts import Reading, ReadingOptions
from llmops_sdk.messages import ToolCall
from llmops_sdk.pipelines import Result

__all__ = ["ToolCalls"]

_MOST = 200
"""Calls of one answer that are compared: of more, each with each, it would take long."""


class ToolCalls(Metric):
    """How well the tools that the answer calls are those that were expected, with their arguments, 0 to 1.

    What is expected is a list of calls, each the name of a tool or `{"name": ..., "arguments": {...}}`; a name alone
    takes any arguments. An empty list says that no tool is to be called. Precision is the share of calls that were
    expected, recall the share of expected calls that were made; both are 1 where none was expected and none was made.

    Args:
        measure: `"f1"`, `"precision"` or `"recall"`; all three stand in `details`, with the names of what was called.
        arguments: What arguments have to be: `"equal"` to those expected; `"contain"` them, and whatever else; or
            `"any"`. Compared as JSON: order does not count, 1 and 1.0 are equal.
        ordered: Whether the calls have to come in the order that was expected.
        options: See `ReadingOptions`; there is no `of` here.

    Raises:
        ConfigurationError: An option is unknown or makes no sense.

    Example:
        >>> from llmops_sdk import Scripted
        >>> from llmops_sdk.evaluation import Case
        >>> from llmops_sdk.messages import Choice, Response, ToolCall
        >>> call = ToolCall(id="1", name="weather", arguments='{"city": "Paris"}')
        >>> engine = Scripted(Response(choices=(Choice(text="", tool_calls=(call,)),)))
        >>> case = Case(input="Weather?", expected=[{"name": "weather", "arguments": {"city": "Paris"}}, "clock"])
        >>> score = ToolCalls()(case, ("?" | engine).run())
        >>> round(score.value, 2), score.details["recall"], score.details["called"]
        (0.67, 0.5, ['weather'])
    """

    bounds = (0.0, 1.0)

    def __init__(
        self,
        *,
        measure: Part = "f1",
        arguments: Literal["equal", "contain", "any"] = "equal",
        ordered: bool = False,
        **options: Unpack[ReadingOptions],
    ) -> None:
        if unknown := options.keys() - {"name", "against"}:
            raise ConfigurationError(f"ToolCalls has no option {min(unknown)!r}")
        if arguments not in ("equal", "contain", "any"):
            raise ConfigurationError(f"`arguments` is 'equal', 'contain' or 'any', not {arguments!r}")
        self.name = options.get("name", "tool_calls")
        self._reading = Reading(options)
        self._measure = part(measure)
        self._arguments, self._ordered = arguments, ordered

    def configuration(self) -> dict[str, object]:
        """What its scores depend on."""
        own = {"measure": self._measure, "arguments": self._arguments, "ordered": self._ordered}
        return {**self._reading.configuration(), **own}

    def __call__(self, case: Case, result: Result, /) -> Score | None:
        expected = self._reading.expected(case)
        if expected is None:
            return None
        wanted = _wanted(expected, case, self._reading.against)
        choices = () if result.response is None else result.response.choices
        called = [call for choice in choices[:1] for call in choice.tool_calls]
        if max(len(called), len(wanted)) > _MOST:
            raise EvaluationError(f"{self.name!r} compares at most {_MOST} calls of one answer")
        fits = [[self._fits(call, one) for one in wanted] for call in called]
        matched = _in_order(fits) if self._ordered else _in_any_order(fits, len(wanted))
        precision = matched / len(called) if called else float(not wanted)
        recall = matched / len(wanted) if wanted else float(not called)
        score = measured(precision, recall, self._measure)
        return Score(value=score.value, details={**score.details, "called": [call.name for call in called]})

    def _fits(self, call: ToolCall, wanted: tuple[str, Mapping[str, Any] | None]) -> bool:
        name, arguments = wanted
        if call.name != name or arguments is None or self._arguments == "any":
            return call.name == name
        try:
            given = json.loads(call.arguments or "{}")
        except (ValueError, RecursionError):
            return False
        if not isinstance(given, dict):
            return False
        if self._arguments == "contain":
            given = {key: value for key, value in given.items() if key in arguments}
        return equal_json(given, arguments)


def _wanted(expected: Any, case: Case, against: str) -> list[tuple[str, Mapping[str, Any] | None]]:
    calls = expected if isinstance(expected, Sequence) and not isinstance(expected, str) else [expected]
    found: list[tuple[str, Mapping[str, Any] | None]] = []
    for one in calls:
        name, arguments = (one, None) if not isinstance(one, Mapping) else (one.get("name"), one.get("arguments"))
        if not isinstance(name, str) or not (arguments is None or isinstance(arguments, Mapping)):
            raise DatasetError(
                f"case {case.id!r}: {against!r} holds {repr(one)[:100]}, which is neither the name of a tool nor "
                '`{"name": ..., "arguments": {...}}`'
            )
        found.append((name, arguments))
    return found


def _in_order(fits: Sequence[Sequence[bool]]) -> int:
    """Length of the longest common subsequence."""
    best = [0] * (len(fits[0]) + 1) if fits else [0]
    for row in fits:
        before = best
        best = [0]
        for place, fit in enumerate(row):
            best.append(before[place] + 1 if fit else max(best[place], before[place + 1]))
    return best[-1]


def _in_any_order(fits: Sequence[Sequence[bool]], wanted: int) -> int:
    """Most pairs of calls and expected ones, each in one pair at most (augmenting paths).

    Taking the first one that fits would not do: a call may fit a name alone and a name with arguments.
    """
    taken: list[int | None] = [None] * wanted

    def place(call: int, tried: set[int]) -> bool:
        for one, fit in enumerate(fits[call]):
            if fit and one not in tried:
                tried.add(one)
                other = taken[one]
                if other is None or place(other, tried):
                    taken[one] = call
                    return True
        return False

    return sum(place(call, set()) for call in range(len(fits)))
