"""Which texts of a run are clean: those that the guards let pass unseen, or have made clean.

* Input: the messages as they were sent, so after the guards of the input have rewritten them. Withheld when one of
  these guards found something and let it stay (`flag`, or `allow` with findings), broke and was allowed to, or read
  beside the engine and acted when the messages were under way.
* Output: the answer that the application got, before true values were put back into it; so of a run that ended well:
  what a failed or cancelled attempt had written was read by no guard. Withheld when a guard of the output found
  something and let it stay. Its reasoning and its calls of tools pass the same guards.
* The messages of an attempt that resumed a broken stream quote the answer: they fall under both rules.
* Variables are as they came, before any guard: withheld when a guard of the input found anything.
* What quotes the texts of a run (a judge that was asked about it, its explanation, what a tool gave back) is read by
  no guard: withheld when a guard of the run found anything.
* A guard that acts and does not say where: nobody can know where else the same thing stands. So nothing is shown.

The last two are lifted where the guards that found something are among those that redact, as they read the text then.
"""

from __future__ import annotations

from collections.abc import Collection

from llmops_sdk.calls import AttemptEnded, AttemptStarted, Call, Ended, GuardChecked, Rendered, StreamResumed
from llmops_sdk.messages import Response
from llmops_sdk.verdicts import Stage

__all__ = ["Rules"]


class Rules:
    """What the record says about the texts of one run.

    Attributes:
        events: The record, as it is now.
        exported: The answer as it may be shown; `None` where it may not, or there is none.
        restored: Whether the application got an answer with true values in it.
    """

    def __init__(self, call: Call) -> None:
        self.events = list(call.events)
        self._places = {id(one): place for place, one in enumerate(self.events)}
        self._checks = [(place, one) for place, one in enumerate(self.events) if isinstance(one, GuardChecked)]
        ended = next((one for one in self.events if isinstance(one, Ended)), None)
        self._well = ended is not None and ended.outcome == "ok"
        self.restored = ended is not None and ended.unrestored is not None
        untold = call.found is not None and call.found.untold
        self._everything = untold or any(one.untold for _, one in self._checks)
        self.exported: Response | None = None
        if ended is not None and self._well and not self._everything and not self._stays("output"):
            self.exported = ended.unrestored or ended.response
        good = [one for one in self.events if isinstance(one, AttemptEnded) and one.error is None and one.response]
        self._answered = good[-1] if good else None
        self._resumed = next((n for n, one in enumerate(self.events) if isinstance(one, StreamResumed)), None)
        self._begun = {one.number: n for n, one in enumerate(self.events) if isinstance(one, AttemptStarted)}

    def holds(self, event: AttemptEnded) -> bool:
        """Whether it is an attempt of the run's own."""
        return id(event) in self._places

    def answered(self, event: AttemptEnded) -> bool:
        """Whether the answer is that of this attempt."""
        return event is self._answered

    def shows_input(self, event: AttemptEnded) -> bool:
        """Whether the messages of an attempt are clean."""
        if self._everything or self._stays("input"):
            return False
        place = self._places.get(id(event), len(self.events))
        resumed = self._resumed is not None and self._resumed < place
        if resumed and (self.exported is None or self.restored or self._found_in("output")):
            return False
        begun = self._begun.get(event.number)
        for n, check in self._checks:
            late = event.started < check.at if begun is None else begun < n
            if check.stage == "input" and late and (_found(check) or check.verdict.skipped is not None):
                return False
        return True

    def shows_rendered(self) -> bool:
        """Whether the messages are clean as they were rendered."""
        return self._well and not self._everything and not self._found_in("input")

    def shows_variables(self, redacting: Collection[str]) -> bool:
        """Whether what the prompt was rendered with is clean, or will be made so by the guards of these names."""
        read = self._well or any(isinstance(one, AttemptEnded) and self.shows_input(one) for one in self.events)
        return read and not self._everything and self._found_in("input") <= frozenset(redacting)

    def shows_quotes(self, redacting: Collection[str]) -> bool:
        """Whether what quotes the texts of the run is clean, or will be made so by the guards of these names."""
        found = self._found_in("input") | self._found_in("output")
        return self._well and not self._everything and found <= frozenset(redacting)

    def guarded(self) -> bool:
        """Whether the run has guards at all."""
        return bool(self._checks)

    def passed(self, event: GuardChecked) -> tuple[bool, bool]:
        """Whether the clean text of its stage is what a guard was given to read, and what it let pass."""
        place = next((n for n, one in self._checks if one is event), -1)
        later = any(n > place and one.stage == event.stage and _found(one) for n, one in self._checks)
        return not later and not _found(event) and not event.verdict.skipped, not later and not event.verdict.skipped

    def rendered(self) -> Rendered | None:
        """How the prompt became a request."""
        return next((one for one in self.events if isinstance(one, Rendered)), None)

    def _stays(self, stage: Stage) -> bool:
        return any(check.stage == stage and _stays(check) for _, check in self._checks)

    def _found_in(self, stage: Stage) -> frozenset[str]:
        """The guards of a stage that found something."""
        return frozenset(check.guard for _, check in self._checks if check.stage == stage and _found(check))


def _found(check: GuardChecked) -> bool:
    verdict = check.verdict
    return check.let_stay or verdict.action != "allow" or bool(verdict.findings) or verdict.error is not None


def _stays(check: GuardChecked) -> bool:
    """Whether something was found that is still in a text."""
    return check.let_stay or (check.verdict.action != "rewrite" and _found(check))
