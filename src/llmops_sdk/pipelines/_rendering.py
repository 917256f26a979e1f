"""What a run asks: its prompt, of whichever kind, filled with the variables; or the question as it was given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmops_sdk.calls import Call, Rendered
from llmops_sdk.messages import PromptRef, Request
from llmops_sdk.pipelines._arguments import asked, variables_of
from llmops_sdk.prompts import Output, Prompt, Split

__all__ = ["Rendering"]


class Rendering:
    """A pipeline's prompt, with everything about it looked up once.

    Attributes:
        waits: Whether rendering may take its time, as that of a prompt with a budget does, which may have to ask for a
            summary: then `request_in_time` makes the requests, else `request`.
        output_for: Tells what the answer to a request of the prompt has to be; `None` where it has no such thing.
    """

    __slots__ = ("_own", "_prompt", "_sections", "_split", "output_for", "waits")

    def __init__(self, prompt: Any) -> None:
        self._prompt = prompt
        self._own = isinstance(prompt, Prompt | Split)  # its requests are made anew each time
        self._split = prompt if isinstance(prompt, Split) else None
        self._sections = getattr(prompt, "sections", ())
        self.waits = callable(getattr(prompt, "render_in", None))
        self.output_for: Callable[[PromptRef | None], Output | None] | None = getattr(prompt, "output_for", None)

    def request(self, call: Call, given: Any) -> Request:
        """The request for what the run was given; recorded, if there is a prompt."""
        started = call.clock()
        if self._prompt is None:
            return asked(given).bound_to(call)
        variables = variables_of(given, self._prompt)
        if self._split is None:
            request: Request = self._prompt.render(**variables)
        else:
            request = self._split.render_from(variables, call.tags)
        if self._own:
            request.bind(call)
        else:
            request = request.bound_to(call)
        call.record(Rendered(started, call.clock(), request.prompt, request, variables, self._sections))
        return request

    async def request_in_time(self, call: Call, given: Any) -> Request:
        """`request`, of a prompt that waits."""
        started = call.clock()
        variables = variables_of(given, self._prompt)
        rendered, cuts = await self._prompt.render_in(call, variables)
        request: Request = rendered.bound_to(call)
        call.record(Rendered(started, call.clock(), request.prompt, request, variables, self._sections, cuts))
        return request
