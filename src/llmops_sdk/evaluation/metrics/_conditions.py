"""Conditions on the record of a run: which engines were asked, where, how long it took, and what left the process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmops_sdk.calls import Aside, AttemptEnded, GuardChecked
from llmops_sdk.errors import ConfigurationError, EvaluationError
from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation.metrics._measures import attempts_of, seconds_of, sent_by
from llmops_sdk.evaluation.metrics._metric import Metric, Score
from llmops_sdk.given import is_number
from llmops_sdk.pipelines import Result, configuration_hash, record_of, result_of

__all__ = ["AskedAtMost", "Condition", "MaxLatency", "NoFindingLeft", "StayedInProcess", "UsedEngine"]


class Condition(Metric):
    """1 where a condition on the run holds, else 0.

    The condition sees the run as the store keeps it, also when it has just ended, so that it says the same of an answer
    that is read again: answer, verdicts, attempts and asides with times, tokens and cost, the prompt's name and hash;
    not what was asked, and no events of routers, limits and tools.

    Args:
        name: What is to hold, in words: its scores are kept and shown under that.
        holds: A function of the result; gives `True` or `False`, or `None` where it does not apply.
        version: Scores of another version are made anew; by default a hash of the function's code.

    Raises:
        ConfigurationError: There is no name, or nothing to call.

    Example:
        >>> from llmops_sdk import Scripted
        >>> from llmops_sdk.evaluation import Case
        >>> brief = Condition("answers in 10 tokens", lambda result: result.usage.output_tokens <= 10)
        >>> brief(Case(input="?"), ("?" | Scripted("Yes.")).run())
        1.0
    """

    bounds = (0.0, 1.0)

    def __init__(self, name: str, holds: Callable[[Result], bool | None], /, *, version: str | None = None) -> None:
        if not isinstance(name, str) or not name.strip() or not callable(holds):
            raise ConfigurationError(
                "a condition is a name and a function: `Condition('is short', lambda result: ...)`"
            )
        self.name = name
        self._holds = holds
        self._version = version

    @property
    def version(self) -> str:
        """What was given as such, else a hash of the function."""
        return self._version if self._version is not None else configuration_hash(self._holds)[:16]

    def __call__(self, case: Case, result: Result, /) -> float | None:
        holds = self._holds(result_of(record_of(result)))
        if holds is None:
            return None
        if type(holds).__name__ not in ("bool", "bool_"):
            raise EvaluationError(f"the condition {self.name!r} gave {holds!r}, which is neither True nor False")
        return float(holds)


class _OfRecord(Metric):
    """A condition that this library knows."""

    bounds = (0.0, 1.0)

    def __init__(self, name: str, **configuration: Any) -> None:
        self.name = name
        self._configuration = configuration

    def configuration(self) -> dict[str, object]:
        """What its scores depend on."""
        return self._configuration


class AskedAtMost(_OfRecord):
    """1 where at most so many different engines were asked for the answer, else 0.

    What a cache answered asked none, and engines that guards have for themselves do not count.

    Args:
        engines: How many, `>= 0`.
        attempts: Count every attempt, also those with an engine that was asked before.
        name: Under which its scores are kept.

    Raises:
        ConfigurationError: It is no such number.

    Example:
        >>> from llmops_sdk import Scripted
        >>> from llmops_sdk.evaluation import Case
        >>> AskedAtMost(2)(Case(input="?"), ("?" | Scripted("Yes.")).run()).value
        1.0
    """

    def __init__(self, engines: int, /, *, attempts: bool = False, name: str | None = None) -> None:
        if not isinstance(engines, int) or isinstance(engines, bool) or engines < 0:
            raise ConfigurationError(f"AskedAtMost takes a whole number from 0 on, not {engines!r}")
        super().__init__(name or f"asked_at_most_{engines}", engines=engines, attempts=attempts)
        self._most, self._attempts = engines, attempts

    def __call__(self, case: Case, result: Result, /) -> Score:
        asked = [attempt.engine for attempt in sent_by(result)]
        number = len(asked if self._attempts else set(asked))
        return Score(value=float(number <= self._most), explanation=f"asked {', '.join(asked)}" if asked else None)


class UsedEngine(_OfRecord):
    """1 where the engine of this name gave the answer, or a cache in front of it did, else 0.

    Args:
        engine: Its name.
        name: Under which its scores are kept.

    Raises:
        ConfigurationError: It is no name.

    Example:
        >>> from llmops_sdk import Scripted
        >>> from llmops_sdk.evaluation import Case
        >>> UsedEngine("small")(Case(input="?"), ("?" | Scripted("Yes.", name="small")).run()).value
        1.0
    """

    def __init__(self, engine: str, /, *, name: str | None = None) -> None:
        if not isinstance(engine, str) or not engine:
            raise ConfigurationError(f"UsedEngine takes the name of an engine, not {engine!r}")
        super().__init__(name or f"used_{engine}".replace(".", "_"), engine=engine)
        self._engine = engine

    def __call__(self, case: Case, result: Result, /) -> Score:
        answered = [attempt.engine for attempt in attempts_of(result) if attempt.error is None]
        by = answered[-1] if answered else None
        return Score(value=float(by == self._engine), label=by)


class MaxLatency(_OfRecord):
    """1 where the run took at most so many seconds, else 0.

    Args:
        seconds: How long, `> 0`.
        name: Under which its scores are kept.

    Raises:
        ConfigurationError: It is no such number.

    Example:
        >>> from llmops_sdk import Scripted
        >>> from llmops_sdk.evaluation import Case
        >>> MaxLatency(2)(Case(input="?"), ("?" | Scripted("Yes.")).run())
        1.0
    """

    def __init__(self, seconds: float, /, *, name: str = "max_latency") -> None:
        if not is_number(seconds) or not seconds > 0:
            raise ConfigurationError(f"MaxLatency takes seconds over 0, not {seconds!r}")
        super().__init__(name, seconds=float(seconds))
        self._seconds = float(seconds)

    def __call__(self, case: Case, result: Result, /) -> float | None:
        took = seconds_of(result)
        return None if took is None else float(took <= self._seconds)


class StayedInProcess(_OfRecord):
    """1 where nothing of the run was sent to a model outside this process, else 0; guards' own engines count, too.

    Args:
        name: Under which its scores are kept.

    Example:
        >>> from llmops_sdk import Scripted
        >>> from llmops_sdk.evaluation import Case
        >>> StayedInProcess()(Case(input="?"), ("?" | Scripted("Yes.")).run()).explanation
        "sent to 'scripted'"
    """

    def __init__(self, *, name: str = "stayed_in_process") -> None:
        super().__init__(name)

    def __call__(self, case: Case, result: Result, /) -> Score:
        return _left_to(_sent(result))


class NoFindingLeft(_OfRecord):
    """1 where nothing that guards of the input found was sent to a model outside this process, else 0.

    It left where the guard let it stay (it allowed or flagged), or something was sent before the guard had taken it
    out: to an engine that had begun beside a guard with `overlap=True`, or to the engine of another guard before it.
    `None` where no such guard has read. What no guard finds, this cannot know either.

    Args:
        what: The name of a guard (`"pii"`), or a kind of findings (`"email"`).
        name: Under which its scores are kept.

    Raises:
        ConfigurationError: It is no name.

    Example:
        >>> from llmops_sdk import Scripted, guards
        >>> from llmops_sdk.evaluation import Case
        >>> pipeline = guards.PII() | Scripted("Done.")
        >>> NoFindingLeft("pii")(Case(input="?"), pipeline.run("I am ada@example.org")).value
        1.0
    """

    def __init__(self, what: str, /, *, name: str | None = None) -> None:
        if not isinstance(what, str) or not what:
            raise ConfigurationError(f"NoFindingLeft takes the name of a guard or a kind of finding, not {what!r}")
        super().__init__(name or f"no_{what}_left".replace(".", "_"), what=what)
        self._what = what

    def __call__(self, case: Case, result: Result, /) -> Score | None:
        checks = [
            event
            for event in result.call.events
            if isinstance(event, GuardChecked) and event.stage == "input" and event.verdict.skipped is None
        ]
        mine = [event for event in checks if event.guard == self._what]
        found = [event for event in checks if self._has_found(event)]
        if not mine and not found:
            return None
        sent = _sent(result)
        for event in mine:
            if event.verdict.error is not None and sent:
                raise EvaluationError(
                    f"the guard {event.guard!r} broke ({event.verdict.error}): nobody knows what left"
                )
        left = [
            attempt
            for event in found
            for attempt in sent
            if attempt.started < event.at or event.let_stay or event.verdict.action in ("allow", "flag")
        ]
        return _left_to(left)

    def _has_found(self, event: GuardChecked) -> bool:
        if event.guard == self._what:
            return bool(event.verdict.findings) or event.verdict.action != "allow"
        return any(finding.kind == self._what for finding in event.verdict.findings)


def _sent(result: Result) -> list[AttemptEnded]:
    """What was sent out of this process, by stations, too."""
    asides = [event.attempt for event in result.call.events if isinstance(event, Aside)]
    return [attempt for attempt in (*asides, *sent_by(result)) if not attempt.in_process]


def _left_to(sent: list[AttemptEnded]) -> Score:
    names = ", ".join(repr(name) for name in dict.fromkeys(attempt.engine for attempt in sent))
    return Score(value=float(not sent), explanation=f"sent to {names}" if sent else None)
