"""What a run took: time, tokens, money; and whether it ended well."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, get_args

from llmops_sdk.calls import Aside, AttemptEnded, CacheAnswered, Ended
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation.metrics._metric import Metric, Score
from llmops_sdk.pipelines import Result

__all__ = [
    "Blocked",
    "Cost",
    "Latency",
    "Succeeded",
    "TimeToFirstToken",
    "Tokens",
    "attempts_of",
    "seconds_of",
    "sent_by",
]

Counted = Literal["input", "output", "total"]


class _Measure(Metric):
    bounds = (0.0, math.inf)
    higher_is_better = False
    default_name: ClassVar[str] = ""

    def __init__(self, *, name: str | None = None) -> None:
        self.name = self.default_name if name is None else name

    def configuration(self) -> dict[str, object]:
        """What its scores depend on: nothing."""
        return {}


class Latency(_Measure):
    """Seconds from the start of the run to its end: prompt, guards, waiting for limits, engines, repairs.

    Runs of an experiment go side by side, so an engine that has its hands full answers later than it would alone. An
    answer from a cache is quick, and counts as it was.

    Args:
        name: Under which its scores are kept.

    Example:
        >>> from llmops_sdk import Scripted
        >>> from llmops_sdk.evaluation import Case
        >>> 0 < Latency()(Case(input="?"), ("?" | Scripted("Yes.")).run()) < 1
        True
    """

    unit = "s"
    default_name: ClassVar[str] = "latency"

    def __call__(self, case: Case, result: Result, /) -> float | None:
        return seconds_of(result)


class TimeToFirstToken(_Measure):
    """Seconds from the start of the run to the first chunk of the engine that answered.

    `None` where the answer was not streamed. `evaluate` streams none: this is for results of `stream` that you score
    yourself.

    Args:
        name: Under which its scores are kept.

    Example:
        >>> from llmops_sdk import Scripted
        >>> from llmops_sdk.evaluation import Case
        >>> stream = ("?" | Scripted(["Y", "es."])).stream()
        >>> "".join(chunk.text for chunk in stream)
        'Yes.'
        >>> 0 < TimeToFirstToken()(Case(input="?"), stream.result) < 1
        True
    """

    unit = "s"
    default_name: ClassVar[str] = "time_to_first_token"

    def __call__(self, case: Case, result: Result, /) -> float | None:
        for attempt in reversed(attempts_of(result)):
            if attempt.error is None:
                first = attempt.first_chunk_at
                return None if first is None else max(first - result.call.started, 0.0)
        return None


class Cost(_Measure):
    """US dollars for all that the run asked of engines; 0 where a guard blocked it before any was asked.

    `None` where the price of a part is not known: such cells are counted, and never are 0.

    Args:
        name: Under which its scores are kept.

    Example:
        >>> from llmops_sdk import Scripted
        >>> from llmops_sdk.evaluation import Case
        >>> result = ("?" | Scripted("Yes.", model="gpt-4o-mini")).run()
        >>> Cost()(Case(input="?"), result) == float(result.cost_usd)
        True
        >>> print(Cost()(Case(input="?"), ("?" | Scripted("Yes.", model="nobody-knows")).run()))
        None
    """

    unit = "USD"
    default_name: ClassVar[str] = "cost"

    def __call__(self, case: Case, result: Result, /) -> float | None:
        cost = result.cost_usd
        if cost is None and result.blocked and not attempts_of(result) and not result.call.spent_usd:
            # A guard's own engine may have been asked, at a price that nobody knows.
            asked = any(isinstance(event, Aside) for event in result.call.events)
            return None if asked else 0.0
        return None if cost is None else float(cost)


class Tokens(_Measure):
    """Tokens of the run as engines counted them, those of failed attempts and repairs included; none from a cache.

    `None` where an engine has not counted. Those of guards' own engines are not among them.

    Args:
        counted: `"total"`, `"input"` or `"output"`.
        name: Under which its scores are kept; by default `"tokens"`, `"input_tokens"` or `"output_tokens"`.

    Raises:
        ConfigurationError: There is nothing of that name to count.

    Example:
        >>> from llmops_sdk import Scripted
        >>> from llmops_sdk.evaluation import Case
        >>> Tokens("output")(Case(input="?"), ("?" | Scripted("It is so.")).run())
        3.0
    """

    unit = "tokens"

    def __init__(self, counted: Counted = "total", *, name: str | None = None) -> None:
        if counted not in get_args(Counted):
            raise ConfigurationError(f"tokens are {', '.join(map(repr, get_args(Counted)))}, not {counted!r}")
        super().__init__(name=name or ("tokens" if counted == "total" else f"{counted}_tokens"))
        self._counted = counted

    def configuration(self) -> dict[str, object]:
        """What its scores depend on."""
        return {"counted": self._counted}

    def __call__(self, case: Case, result: Result, /) -> float | Score | None:
        attempts = attempts_of(result)
        if any(one.usage is None and (one.error is None or one.unpriced) for one in attempts):
            return None
        if not attempts and not result.blocked:
            return None
        usage = result.usage
        number = float(getattr(usage, f"{self._counted}_tokens"))
        return Score(value=number, details={"estimated": True}) if usage.estimated else number


class Succeeded(Metric):
    """1 where the run ended with an answer or a refusal, 0 where it failed; it is scored for failed runs, too.

    Args:
        name: Under which its scores are kept.

    Example:
        >>> from llmops_sdk import Scripted
        >>> from llmops_sdk.evaluation import Case
        >>> Succeeded()(Case(input="?"), ("?" | Scripted("Yes.")).run()).value
        1.0
    """

    bounds = (0.0, 1.0)
    scores_failures: ClassVar[bool] = True

    def __init__(self, *, name: str = "succeeded") -> None:
        self.name = name

    def configuration(self) -> dict[str, object]:
        """What its scores depend on: nothing."""
        return {}

    def __call__(self, case: Case, result: Result, /) -> Score:
        ended = next((event for event in reversed(result.call.events) if isinstance(event, Ended)), None)
        said = None if result.error is None else (ended.outcome if ended is not None else "failed")
        return Score(value=float(result.error is None), explanation=said)


class Blocked(Metric):
    """1 where a guard blocked the run, else 0.

    Args:
        higher_is_better: Whether that is wanted, as for a data set of attacks; by default it is not.
        name: Under which its scores are kept.

    Example:
        >>> from llmops_sdk import Scripted, guards
        >>> from llmops_sdk.evaluation import Case
        >>> pipeline = guards.Length(most=5) | Scripted("Yes.")
        >>> Blocked()(Case(input="?"), pipeline.run("Is it so?")).value
        1.0
    """

    bounds = (0.0, 1.0)

    def __init__(self, *, higher_is_better: bool = False, name: str = "blocked") -> None:
        self.name = name
        self.higher_is_better = higher_is_better

    def configuration(self) -> dict[str, object]:
        """What its scores depend on: nothing."""
        return {}

    def __call__(self, case: Case, result: Result, /) -> Score:
        by = next((verdict.guard for verdict in result.verdicts if verdict.blocked), None)
        return Score(value=float(result.blocked), explanation=f"by {by!r}" if result.blocked and by else None)


def attempts_of(result: Result) -> list[AttemptEnded]:
    """What engines were asked for the answer, in order; no asides."""
    return [event for event in result.call.events if isinstance(event, AttemptEnded)]


def seconds_of(result: Result) -> float | None:
    """How long the run took; `None` where its record has no end."""
    ended = next((event.at for event in reversed(result.call.events) if isinstance(event, Ended)), None)
    return None if ended is None else max(ended - result.call.started, 0.0)


def sent_by(result: Result) -> list[AttemptEnded]:
    """Those of `attempts_of` that asked an engine indeed, and were not answered by a cache in front of it."""
    # Where a cache let the run wait for an equal one ("shared"), that one was sent.
    cached = {
        event.engine for event in result.call.events if isinstance(event, CacheAnswered) and event.how != "shared"
    }
    return [
        one for one in attempts_of(result) if one.engine not in cached or one.usage is None or one.usage.total_tokens
    ]
