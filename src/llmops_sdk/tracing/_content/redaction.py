"""Redaction: the application's own guards read a text once more before it is shown."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from llmops_sdk.calls import Call
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.faults import is_for_the_process
from llmops_sdk.loops import in_thread
from llmops_sdk.protocols import GuardContext, GuardLike, takes_two
from llmops_sdk.tracing._content.bounded import Bounded
from llmops_sdk.verdicts import Stage, Verdict

__all__ = ["Redaction", "Redactor"]

Redactor: TypeAlias = Callable[[str, str, Stage], "str | None"]
"""Given a text, its origin and its stage: the text as it may be shown, `None` where it may not."""


class Redaction:
    """Guards that redact, in order.

    Attributes:
        guards: The guards.
        names: Their names.
    """

    def __init__(self, guards: Sequence[GuardLike]) -> None:
        if isinstance(guards, str) or not isinstance(guards, Sequence):
            raise ConfigurationError(f"`redact` is a list of guards, such as `[PII(), Secrets()]`, not {guards!r}")
        for guard in guards:
            if isinstance(guard, type) or not callable(getattr(guard, "check", None)):
                raise ConfigurationError(f"`redact` holds {guard!r}, which is no guard: a guard has a `check`")
        self.guards = tuple(guards)
        self.names = frozenset(str(getattr(guard, "name", type(guard).__name__)) for guard in guards)
        self._steps = tuple(_Step(guard) for guard in guards)

    def of_a_run(self, count: Callable[[str], None]) -> Redactor:
        """What redacts the texts of one run. Guards that know something of a run (a vault) know it from all of them.

        What they keep is kept in a call of its own, which nobody restores from.
        """
        call = Call()

        def redact(text: str, origin: str, stage: Stage) -> str | None:
            context = GuardContext(call=call, stage=stage, origin=origin)
            for step in self._steps:
                passed = step.read(text, context, count)
                if passed is None:
                    return None
                text = passed
            return text

        return redact


class _Step:
    """One guard, with everything about it looked up once."""

    def __init__(self, guard: Any) -> None:
        self._check = guard.check
        self._with_context = takes_two(guard.check)
        waits = inspect.iscoroutinefunction(guard.check) or bool(getattr(guard, "waits", False))
        self._waits = waits
        self._at_once = not waits and not getattr(guard, "blocking", True)
        self._bounded = Bounded(f"the guard {getattr(guard, 'name', guard)!r}, which redacts,")
        if hasattr(guard, "prepare"):
            guard.prepare()

    def read(self, text: str, context: GuardContext, count: Callable[[str], None]) -> str | None:
        """`text` as it may be shown, `None` where it may not: also when the guard breaks."""
        try:
            verdict = self._ask(text, context)
        except BaseException as exc:
            if is_for_the_process(exc):
                raise
            count("redactor_failed")
            self._bounded.tell(exc, "texts that it cannot read are withheld")
            return None
        if verdict.action == "rewrite" and isinstance(verdict.text, str):
            return verdict.text
        if verdict.action == "allow" and not verdict.findings and verdict.error is None:
            return text
        count("withheld")
        return None

    def _ask(self, text: str, context: GuardContext) -> Verdict:
        arguments = (text, context) if self._with_context else (text,)
        verdict: object = self._check(*arguments) if self._at_once else self._bounded.run(lambda: self._wait(arguments))
        if not isinstance(verdict, Verdict):
            raise TypeError(f"`check` returned {type(verdict).__name__}, no Verdict")
        return verdict

    async def _wait(self, arguments: tuple[Any, ...]) -> object:
        decided = self._check(*arguments) if self._waits else await in_thread(lambda: self._check(*arguments))
        return await decided if inspect.isawaitable(decided) else decided
