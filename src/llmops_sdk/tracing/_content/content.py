"""What may be shown of one run: its texts by the rules, redacted, without what guards found, and of bounded length."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from llmops_sdk.calls import Aside, AttemptEnded, Call, Evaluated, GuardChecked, ToolExecuted
from llmops_sdk.messages import Message
from llmops_sdk.tracing._content.policy import ContentPolicy
from llmops_sdk.tracing._content.rules import Rules
from llmops_sdk.tracing._content.writing import Writing

__all__ = ["Content", "GuardShown", "Shown", "ToolShown", "content_of"]


class Shown(NamedTuple):
    """The messages of one attempt that may be shown, in the form of `gen_ai.input.messages` and `.output.messages`.

    `output` is `None` where there is nothing that may be; both are `None` or empty where the policy leaves them out.
    """

    input: list[dict[str, Any]]
    output: list[dict[str, Any]] | None


class GuardShown(NamedTuple):
    """What a guard was given to read, and what it let pass; `None` where that may not be shown."""

    before: str | None
    after: str | None


class ToolShown(NamedTuple):
    """What a tool was called with (JSON text), and what it gave back; `None` where that may not be shown."""

    arguments: str | None
    result: str | None


class Content:
    """What may be shown of one run. Texts are made when they are asked for, and may wait for guards that redact them.

    Example:
        >>> content = content_of(Call())
        >>> content.question is content.answer is content.variables is None
        True
    """

    def __init__(self, call: Call, policy: ContentPolicy) -> None:
        self._call = call
        self._policy = policy
        self._rules = Rules(call)
        self._writing = Writing(call, policy)
        self._shown: dict[int, Shown] = {}

    def attempt(self, event: AttemptEnded) -> Shown:
        """The messages of an attempt: one of the run's own, or one that a station asked for itself."""
        shown = self._shown.get(id(event))
        if shown is None:
            own = self._rules.holds(event)
            shown = Shown(self._input(event), self._output(event)) if own else self._aside(event)
            self._shown[id(event)] = shown
        return shown

    def _input(self, event: AttemptEnded) -> list[dict[str, Any]]:
        if "inputs" not in self._policy.show:
            return []
        return self._writing.messages(event.request.messages, hidden=not self._rules.shows_input(event))

    def _output(self, event: AttemptEnded) -> list[dict[str, Any]] | None:
        return self.output if self._rules.answered(event) else None

    @property
    def attempts(self) -> list[Shown]:
        """The messages of each `AttemptEnded` of the record, in order."""
        return [self.attempt(event) for event in self._rules.events if isinstance(event, AttemptEnded)]

    def aside(self, event: Aside) -> Shown:
        """The messages of an engine that a station asked for itself."""
        return self.attempt(event.attempt)

    def _aside(self, event: AttemptEnded) -> Shown:
        # They quote what the station had to read.
        if "judgements" not in self._policy.show or not self._rules.shows_quotes(self._policy.redacting):
            return Shown([], None)
        written = None if event.response is None else self._writing.answers(event.response)
        return Shown(self._writing.messages(event.request.messages), written)

    @functools.cached_property
    def input(self) -> list[dict[str, Any]] | None:
        """The messages of the run: as they were sent last, or rendered, where a cache has answered."""
        last = self._last
        if last is not None:
            return self._input(last) or None
        rendered = self._rules.rendered()
        if rendered is None or "inputs" not in self._policy.show or not self._rules.shows_rendered():
            return None
        return self._writing.messages(rendered.request.messages)

    @functools.cached_property
    def output(self) -> list[dict[str, Any]] | None:
        """The answer, as messages."""
        exported = self._rules.exported
        if exported is None or "outputs" not in self._policy.show:
            return None
        return self._writing.answers(exported)

    @functools.cached_property
    def question(self) -> str | None:
        """The text that was asked, so of the last message that was sent; `None` where it is withheld."""
        if "inputs" not in self._policy.show:
            return None
        asked: tuple[Message, ...] = ()
        if self._last is not None:
            asked = self._last.request.messages if self._rules.shows_input(self._last) else ()
        elif (rendered := self._rules.rendered()) is not None and self._rules.shows_rendered():
            asked = rendered.request.messages
        return self._writing.plain(asked[-1].text, asked[-1].role) if asked and asked[-1].text else None

    @functools.cached_property
    def answer(self) -> str | None:
        """The text that the application got; `None` where there is none, or it is withheld."""
        exported = self._rules.exported
        if exported is None or "outputs" not in self._policy.show:
            return None
        return self._writing.plain(exported.text, "output")

    @functools.cached_property
    def variables(self) -> str | None:
        """What the prompt was rendered with, as JSON text; `None` where it is withheld."""
        rendered = self._rules.rendered()
        if rendered is None or not rendered.variables or "variables" not in self._policy.show:
            return None
        return self._writing.values(rendered.variables) if self._rules.shows_variables(self._policy.redacting) else None

    def guard(self, event: GuardChecked) -> GuardShown:
        """What a guard read: the question or the answer, as far as it is clean."""
        if "guards" not in self._policy.show:
            return GuardShown(None, None)
        text = self.question if event.stage == "input" else self.answer
        read, passed = self._rules.passed(event)
        return GuardShown(text if read else None, text if passed else None)

    def tool(self, event: ToolExecuted) -> ToolShown:
        """What a tool was called with: as the model wrote it; and what it gave back."""
        if "tools" not in self._policy.show:
            return ToolShown(None, None)
        arguments = result = None
        exported = self._rules.exported
        for choice in exported.choices if exported is not None and "outputs" in self._policy.show else ():
            for tool in choice.tool_calls:
                if tool.id == event.tool_call.id:
                    arguments = self._writing.plain(tool.arguments, f"tool_call:{tool.name}")
        unread = self._rules.guarded() and not self._policy.redacting  # guards read it in the next run, if at all
        if not unread and event.result is not None and self._rules.shows_quotes(self._policy.redacting):
            result = self._writing.value(event.result, f"tool:{event.tool_call.name}")
        return ToolShown(arguments, result)

    def evaluation(self, event: Evaluated) -> str | None:
        """Why somebody judged so. It may quote the run."""
        if not event.explanation or "judgements" not in self._policy.show:
            return None
        if not self._rules.shows_quotes(self._policy.redacting):
            return None
        return self._writing.plain(event.explanation, "output")

    @functools.cached_property
    def _last(self) -> AttemptEnded | None:
        return next((one for one in reversed(self._rules.events) if isinstance(one, AttemptEnded)), None)


def content_of(call: Call, policy: ContentPolicy | None = None) -> Content:
    """What may be shown of `call`; without a policy all that the guards let pass."""
    return Content(call, ContentPolicy() if policy is None else policy)
