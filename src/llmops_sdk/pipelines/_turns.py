"""One turn: a question past the guards to the engine, and its answer past the guards back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from llmops_sdk.calls import Call, GuardChecked
from llmops_sdk.messages import Request, Response
from llmops_sdk.pipelines._beside import Beside
from llmops_sdk.pipelines._guarding import Stationed, guard_input, guard_output, skip
from llmops_sdk.routers import Leg
from llmops_sdk.verdicts import Verdict

__all__ = ["Turn", "Turns"]


class Turn(NamedTuple):
    """One question put to the engine, with the guards before and behind it.

    Attributes:
        request: As the guards let it pass.
        response: The answer after the guards; `None` where one of them blocked.
        unrestored: The answer before true values were put back, if any were.
        verdicts: Of all guards that have read, in their order.
    """

    request: Request
    response: Response | None
    unrestored: Response | None
    verdicts: list[Verdict]


class Turns:
    """The guards of a pipeline around its engine, each where it reads.

    Attributes:
        leg: The engine.
        guards: All of them, in the order of the line.
        inputs: Those that read before the engine is asked.
        beside: Those that read what the engine is asked while it is at work.
        behind: Those of `inputs` that read again what a guard beside the engine has rewritten.
        outputs: Those that read the answer.
        restoring: Those that put back into the answer what they had taken out of the question.
    """

    __slots__ = ("behind", "beside", "guards", "inputs", "leg", "outputs", "restoring")

    def __init__(self, engine: Any, guards: Sequence[Stationed]) -> None:
        self.leg = Leg(engine)
        self.guards = guards
        before = [guard for guard in guards if guard.stage == "input"]
        self.inputs = [guard for guard in before if not guard.overlap]
        self.beside = [guard for guard in before if guard.overlap]
        first_beside = before.index(self.beside[0]) if self.beside else len(before)
        self.behind = [guard for guard in before[first_beside:] if not guard.overlap]
        self.outputs = [guard for guard in guards if guard.stage == "output"]
        self.restoring = [guard for guard in before if callable(getattr(guard.guard, "open_restorer", None))]

    @property
    def constrained(self) -> bool:
        """Whether the engine may be able to hold an answer to a schema."""
        return self.leg.capabilities.json_schema is not False

    async def ask(self, request: Request, call: Call, *, again: bool = False) -> Turn:
        """Ask the engine, past the guards; no response if one of them blocks. For `again` see `guard_input`."""
        verdicts: list[Verdict] = []
        if self.inputs:
            request, verdicts, blocked = await guard_input(self.inputs, request, call, again=again)
            if blocked:
                return Turn(request, None, None, verdicts)
        if self.beside:
            beside = self.asking_beside(request, call, again=again)
            given = await beside.generate()
            request, verdicts = beside.request, self.in_order(verdicts + beside.verdicts)
            if given is None:
                return Turn(request, None, None, verdicts)
            response = given
        else:
            response = await self.leg.generate(request, call, None)
        if not self.outputs and not self.restoring:
            return Turn(request, response, None, verdicts)
        guarded = await guard_output(self.outputs, self.restoring, request, response, call)
        verdicts += guarded.verdicts
        return Turn(request, None if guarded.blocked else guarded.response, guarded.unrestored, verdicts)

    def asking_beside(self, request: Request, call: Call, *, again: bool = False) -> Beside:
        """The engine and the guards beside it, ready to work on `request`."""
        return Beside(self.beside, self.behind, self.leg, request, call, again=again)

    def in_order(self, verdicts: list[Verdict]) -> list[Verdict]:
        """One verdict for each guard, in the order of the line; of those that have read twice the later one."""
        latest = {verdict.guard: verdict for verdict in verdicts}
        return [latest[guard.name] for guard in self.guards if guard.name in latest]

    def with_skipped(self, verdicts: list[Verdict]) -> tuple[Verdict, ...]:
        """The verdicts of a blocked run in the order of the line, with those of guards that had nothing to read."""
        by = next(verdict.guard for verdict in verdicts if verdict.blocked)
        read = {verdict.guard: verdict for verdict in verdicts}
        why = f"the run was blocked by {by!r} before it"
        return tuple(read[guard.name] if guard.name in read else skip(guard, why) for guard in self.guards)

    def note_unread(self, call: Call) -> None:
        """Record which guards beside the engine have not come to a verdict on what it was sent."""
        if self.beside and call.attempts:
            read = {event.guard for event in call.events if isinstance(event, GuardChecked)}
            for guard in self.beside:
                if guard.name not in read:
                    now = call.clock()
                    unread = skip(guard, "the run ended before it had read")
                    call.record(GuardChecked(now, now, guard.name, guard.stage, unread, 0.0))
