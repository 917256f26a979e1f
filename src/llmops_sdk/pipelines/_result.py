"""What a run gives back."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Self, get_args

from llmops_sdk.calls import Aside, Assessor, AttemptEnded, CacheAnswered, Call, Evaluated, feedback_score
from llmops_sdk.errors import ConfigurationError, GuardBlocked
from llmops_sdk.messages import Response, Usage
from llmops_sdk.tracing import Explanation, explain
from llmops_sdk.usage import EXACT
from llmops_sdk.verdicts import Finding, Verdict

__all__ = ["Result"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The outcome of one run.

    Attributes:
        blocked: Whether a guard blocked it; `text` is the pipeline's refusal then, never what was blocked.
        verdicts: One verdict of every guard, in the order of the pipeline.
        response: The answer after the guards; `None` when there is none to show.
        call: The run: its record, tags and deadline.
        outputs: What each choice of the answer holds, where the prompt has an `output` (or asks for a schema): an
            instance of its type, or the JSON as Python values; `None` for one that does not fit, or calls tools.
        output_error: What is wrong with the answer (with the first choice that is wrong), and where; it quotes nothing
            of it. `None` where nothing is, and where nothing was asked for.
        partial_text: What a stream had emitted when it was blocked.
        error: In results of `map`: why this row failed.
        index: In results of `map`: which row it was, from 0.
        resumed: In results of `map`: whether it comes from the checkpoint. Its call knows the attempts, not the texts.
    """

    blocked: bool
    verdicts: tuple[Verdict, ...]
    response: Response | None
    call: Call
    refusal: str = ""
    outputs: tuple[Any, ...] = ()
    output_error: str | None = None
    partial_text: str = ""
    error: Exception | None = None
    index: int | None = None
    resumed: bool = False

    @property
    def text(self) -> str:
        """The answer, or the refusal of a blocked run.

        Raises:
            LlmopsError: The row of a `map` failed: the error is raised here, so that it cannot pass for an answer.
        """
        if self.error is not None:
            raise self.error
        if self.blocked or self.response is None:
            return self.refusal
        return self.response.text

    @property
    def output(self) -> Any:
        """What the answer holds: an instance of the type that the prompt has as its `output`, or the parsed JSON.

        `None` where the prompt asks for no form, and where the answer does not have it: `output_error` says why then.
        """
        return self.outputs[0] if self.outputs else None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All that the guards found."""
        return tuple(finding for verdict in self.verdicts for finding in verdict.findings)

    @property
    def usage(self) -> Usage:
        """Tokens of all attempts of the run, as far as engines counted them; what a cache answered took none.

        Those of asides are not among them: they are tokens of another question.
        """
        total = Usage()
        for attempt in self._attempts():
            if attempt.usage is not None:
                total += attempt.usage
        return total

    @property
    def cost_usd(self) -> Decimal | None:
        """US dollars for all attempts and asides, such as a guard's judge; `None` where one's cost is not known.

        That is also so where an attempt was cut off, such as the slower one of two that were asked beside each other:
        `call.spent_usd` is what is known then, and `call.estimated_usd` what the others may have cost. Attempts that an
        engine refused cost nothing, and what a cache answered costs 0. `None`, too, where no engine was asked.
        """
        total: Decimal | None = None
        for attempt in self._paid():
            if attempt.unpriced:
                return None
            if attempt.cost_usd is not None:
                total = EXACT.add(total or Decimal(0), attempt.cost_usd)
        if total is None and any(isinstance(event, CacheAnswered) for event in self.call.events):
            return Decimal(0)
        return total

    @property
    def route(self) -> tuple[str, ...]:
        """Names of the engines that were asked for the answer, in order; the last one gave it. No asides."""
        # Of two that were asked beside each other the one that answered may have been asked first, and ended first.
        attempts = sorted(self._attempts(), key=lambda attempt: (attempt.error is None, attempt.number))
        return tuple(attempt.engine for attempt in attempts)

    def explain(self) -> Explanation:
        """Where each millisecond and each cent went: a tree in a terminal, a table in a notebook."""
        return explain(self.call)

    def feedback(
        self,
        score: float | None = None,
        *,
        comment: str | None = None,
        name: str = "feedback",
        label: str | None = None,
        by: Assessor = "human",
    ) -> Evaluated:
        """Say how good the answer was; the run's hooks get it, and so do traces and monitors. From any thread.

        Name and label are recorded without what guards found in the run. Where the comment is shown or kept it is
        so, too.

        Args:
            score: Any finite number; `True` and `False` (a thumb up or down) are 1 and 0.
            comment: In words.
            name: What was judged, where there is more than one thing: `"helpful"`.
            label: A class in place of a number, or beside it: `"off topic"`.
            by: Who judged.

        Returns:
            The event as recorded.

        Raises:
            ConfigurationError: Nothing was said, or something that makes no sense.

        Example:
            >>> from llmops_sdk import Scripted
            >>> result = ("Hello" | Scripted("Hi!")).run()
            >>> result.feedback(score=True, comment="friendly").score
            1.0
        """
        number = feedback_score(score, comment=comment, label=label, name=name)
        if by not in get_args(Assessor):
            raise ConfigurationError(f"`by` is 'human', 'llm' or 'code', not {by!r}")
        if label is not None:
            label = self.call.hidden_label(label)
        name = self.call.hidden_label(name)
        event = Evaluated(self.call.clock(), name, number, label, comment, by)
        self.call.record(event)
        return event

    def raise_for_verdict(self) -> Self:
        """Raise when the run was blocked; otherwise return this result, for chaining.

        Raises:
            GuardBlocked: A guard blocked the run; `verdict` says why.
        """
        if self.blocked:
            verdict = next(verdict for verdict in self.verdicts if verdict.blocked)
            raise GuardBlocked(
                f"the guard {verdict.guard!r} blocked the {verdict.stage}: {verdict.reason or 'no reason given'}",
                guard=verdict.guard,
                verdict=verdict,
            )
        return self

    def _attempts(self) -> list[AttemptEnded]:
        return [event for event in self.call.events if isinstance(event, AttemptEnded)]

    def _paid(self) -> Iterator[AttemptEnded]:
        """What the run pays for."""
        for event in self.call.events:
            if isinstance(event, AttemptEnded):
                yield event
            elif isinstance(event, Aside):
                yield event.attempt

    def _repr_html_(self) -> str:
        shown = html.escape(self.text if self.error is None else repr(self.error))
        return f"<pre style='white-space:pre-wrap'>{shown}</pre>" + self.explain()._repr_html_()

    def __repr__(self) -> str:
        if self.error is not None:
            return f"<Result failed: {self.error!r}>"
        state = "blocked" if self.blocked else "ok"
        return f"<Result {state}: {self.text[:60]!r}>"
