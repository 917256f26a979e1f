"""An engine that answers what it was told to: for tests, examples and rehearsals of faults."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any, TypeAlias

from llmops_sdk.engines._engine import Engine, chunks_of
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.messages import Choice, Chunk, Request, Response, ToolCall, Usage
from llmops_sdk.protocols import Capabilities

__all__ = ["Answer", "Scripted"]

Answer: TypeAlias = str | list[str] | ToolCall | Response | Exception | Callable[[Request], Any]
"""A text, a text in chunks, a tool call, a whole response, an error to raise, or a function that gives one of these."""


class Scripted(Engine):
    """Answers from a script, in order, and from the beginning again when the script is at its end.

    A list of strings is *one* answer that streams in those chunks; several answers are given as a tuple, as a list
    with anything else in it, or one by one. An exception among the chunks breaks the stream there. Tokens are
    counted as words, which is exact for an engine whose vocabulary is its script.

    Args:
        answers: What to answer.
        delay_s: Seconds to wait before each answer.
        chunk_delay_s: Seconds to wait before each chunk of a stream.
        usage: Tokens to report instead of counted words.
        name: Name of the engine.
        model: Name of the model that it pretends to be.
        capabilities: What it pretends to be able to do; by default nobody knows.

    Attributes:
        requests: Every request so far, oldest first.

    Example:
        >>> engine = Scripted("Hello", "Goodbye")
        >>> [engine.generate("?").text for _ in range(3)]
        ['Hello', 'Goodbye', 'Hello']
        >>> [chunk.text for chunk in Scripted(["Hel", "lo"]).stream("?") if chunk.text]
        ['Hel', 'lo']
    """

    provider = "scripted"

    def __init__(
        self,
        *answers: Any,
        delay_s: float = 0.0,
        chunk_delay_s: float = 0.0,
        usage: Usage | None = None,
        name: str | None = None,
        model: str | None = "scripted",
        capabilities: Capabilities | None = None,
    ) -> None:
        if len(answers) == 1 and _is_many(answers[0]):
            answers = tuple(answers[0])
        if not answers:
            raise ConfigurationError("Scripted needs at least one answer: `Scripted('Hello')`")
        self._answers: tuple[Any, ...] = answers
        self._next = 0
        self._delay_s = delay_s
        self._chunk_delay_s = chunk_delay_s
        self._usage = usage
        if name is not None:
            self.name = name
        self.model = model
        self._capabilities = capabilities or Capabilities()
        self.requests: list[Request] = []

    @property
    def capabilities(self) -> Capabilities:
        """What it was told to say."""
        return self._capabilities

    async def agenerate(self, request: Request, /) -> Response:
        answer = await self._answer(request)
        if isinstance(answer, list):
            for piece in answer:
                if isinstance(piece, BaseException):
                    raise piece
            answer = "".join(answer)
        return self._response(answer, request)

    async def astream(self, request: Request, /) -> AsyncIterator[Chunk]:
        answer = await self._answer(request)
        if not isinstance(answer, list):
            for chunk in chunks_of(self._response(answer, request)):
                await self._pause()
                yield chunk
            return
        text = ""
        for piece in answer:
            await self._pause()
            if isinstance(piece, BaseException):
                raise piece
            text += piece
            yield Chunk(text=piece, model=self.model, engine=self.name)
        yield Chunk(finish_reason="stop", usage=self._count(request, text), model=self.model, engine=self.name)

    async def _answer(self, request: Request) -> Any:
        self.requests.append(request)
        answer = self._answers[self._next % len(self._answers)]
        self._next += 1
        if self._delay_s:
            await asyncio.sleep(self._delay_s)
        if callable(answer) and not isinstance(answer, type):
            answer = answer(request)
            if inspect.isawaitable(answer):
                answer = await answer
        if isinstance(answer, BaseException) or (isinstance(answer, type) and issubclass(answer, BaseException)):
            raise answer
        return answer

    async def _pause(self) -> None:
        if self._chunk_delay_s:
            await asyncio.sleep(self._chunk_delay_s)

    def _response(self, answer: Any, request: Request) -> Response:
        if isinstance(answer, Response):
            return replace(answer, engine=answer.engine or self.name, model=answer.model or self.model)
        if isinstance(answer, ToolCall):
            choice = Choice(tool_calls=(answer,), finish_reason="tool_calls")
        elif isinstance(answer, str):
            choice = Choice(text=answer, finish_reason="stop")
        else:
            raise ConfigurationError(
                f"Scripted cannot answer with {type(answer).__name__}: "
                "write a text, a list of chunks, a ToolCall, a Response, an exception or a function"
            )
        return Response(
            choices=(choice,) * request.n,
            usage=self._count(request, choice.text * request.n),
            model=self.model,
            engine=self.name,
        )

    def _count(self, request: Request, text: str) -> Usage:
        if self._usage is not None:
            return self._usage
        asked = sum(len(message.text.split()) for message in request.messages)
        return Usage(input_tokens=asked, output_tokens=len(text.split()))


def _is_many(answer: Any) -> bool:
    if isinstance(answer, tuple):
        return True
    return isinstance(answer, list) and not all(
        isinstance(one, str) or (index and isinstance(one, BaseException)) for index, one in enumerate(answer)
    )
