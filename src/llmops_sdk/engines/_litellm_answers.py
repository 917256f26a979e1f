"""LiteLLM's answers, whole and in pieces, as ours."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from llmops_sdk.engines._rate_limits import rate_limit_in
from llmops_sdk.engines._usage import money_of, openai_usage
from llmops_sdk.errors import StreamInterrupted
from llmops_sdk.messages import Choice, Chunk, FinishReason, RateLimit, Response, TokenLogprob, ToolCall, Usage

__all__ = ["PieceReader", "cost_of", "litellm_usage", "response_from"]

_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


def response_from(answer: Any, *, engine: str, model: str) -> Response:
    """A `ModelResponse` as ours.

    Raises:
        AttributeError, LookupError, TypeError: It is none.
    """
    choices = tuple(
        Choice(
            text=_text(choice.message.content),
            tool_calls=tuple(_tool_call(call) for call in getattr(choice.message, "tool_calls", None) or ()),
            finish_reason=_FINISH.get(choice.finish_reason),
            reasoning=_reasoning(choice.message) or None,
            logprobs=_logprobs(getattr(choice, "logprobs", None)),
        )
        for choice in answer.choices
    )
    if not choices:
        raise LookupError("no choices")
    hidden = getattr(answer, "_hidden_params", None) or {}
    usage = litellm_usage(_dumped(getattr(answer, "usage", None)), service_tier=getattr(answer, "service_tier", None))
    return Response(
        choices=choices,
        usage=usage,
        model=answer.model or model,
        engine=engine,
        id=answer.id,
        cost_usd=None if usage is not None and usage.estimated else cost_of(hidden.get("response_cost")),
        rate_limit=_rate_limit(hidden.get("additional_headers")),
    )


def _rate_limit(headers: Any) -> RateLimit | None:
    """What the provider's own headers say, which LiteLLM hands on below names with a prefix."""
    if not isinstance(headers, dict):
        return None
    return rate_limit_in({str(name).removeprefix("llm_provider-"): str(value) for name, value in headers.items()})


def litellm_usage(said: Mapping[str, Any], *, estimated: bool = False, service_tier: str | None = None) -> Usage | None:
    """Tokens as LiteLLM reports them, in which cached, written and thought tokens are parts of the totals already."""
    if not (said.get("prompt_tokens") or said.get("completion_tokens")):
        return None  # LiteLLM says 0 where the provider said nothing
    counted = openai_usage(said, service_tier=service_tier)
    return replace(counted, estimated=True) if counted is not None and (estimated or _hides_sound(said)) else counted


def _hides_sound(said: Mapping[str, Any]) -> bool:
    """Whether nobody can tell how many of the cached tokens are sound.

    Of Gemini's sound and text LiteLLM leaves out what was cached, and does not say how much of either that was.
    """
    parts = said.get("prompt_tokens_details") or {}
    text, sound, cached = (parts.get(name) or 0 for name in ("text_tokens", "audio_tokens", "cached_tokens"))
    return bool(sound and cached) and text + sound + cached == said["prompt_tokens"]


def _dumped(usage: Any) -> Mapping[str, Any]:
    if usage is None:
        return {}
    return usage if isinstance(usage, Mapping) else usage.model_dump()


def cost_of(dollars: Any) -> Decimal | None:
    """What LiteLLM says that an answer cost; its zeros are of models whose price it does not know, or that are free."""
    return money_of(dollars) or None


class PieceReader:
    """Reads the pieces of one stream, joins tool calls, and sees whether the answer came to its end.

    LiteLLM's wrapper around a stream has faults, which are mended here, on this one stream:

    * It raises when a model says the same 100 times. A model that counts sheep is none of our business.
    * It ends a stream that was cut off as if the model had stopped.
    * It forgets why choices other than the first one ended, and where there are several, of which it tells the end.

    Args:
        stream: LiteLLM's `CustomStreamWrapper`.
        n: How many choices were asked for.
        engine: Name of the engine.
        model: The model that was asked.
    """

    def __init__(self, stream: Any, *, n: int, engine: str, model: str) -> None:
        self._stream = stream
        self._engine = engine
        self._model = model
        self._calls: dict[tuple[int, int], list[str]] = {}
        self._texts: list[str] = []
        self._open: set[int] = set()
        self._told: set[int] = set()
        self._ends: dict[int, str] | None = None
        self._last: Any = None
        self.service_tier: str | None = None
        self.usage: Any = None
        if hasattr(stream, "raise_on_model_repetition"):
            stream.raise_on_model_repetition = _nothing
        source = getattr(stream, "completion_stream", None)
        if n > 1 and hasattr(source, "__aiter__"):
            self._ends = {}
            stream.completion_stream = _Watched(source, self._ends)

    @property
    def partial_text(self) -> str:
        """The text so far of the first choice."""
        return "".join(self._texts)

    def counted(self) -> Usage | None:
        """The tokens at the end of the stream; `estimated` where LiteLLM has counted, since the provider has not.

        LiteLLM adds up a count of its own, and keeps only the fields of it that it knows; the others are still on the
        pieces as they came.
        """
        pieces = getattr(self._stream, "chunks", None) or ()
        came = [_dumped(usage) for piece in pieces if (usage := getattr(piece, "usage", None))]
        said = dict(_dumped(self.usage))
        for one in came:
            said.update({name: value for name, value in one.items() if said.get(name) is None})
        return litellm_usage(said, estimated=not came, service_tier=self.service_tier)

    def read(self, piece: Any) -> Iterator[Chunk]:
        """The chunks that a piece stands for.

        Raises:
            StreamInterrupted: The stream has ended before the answer was complete.
        """
        self.usage = getattr(piece, "usage", None) or self.usage
        self.service_tier = getattr(piece, "service_tier", None) or self.service_tier
        for choice in piece.choices:
            index = choice.index or 0
            self._open.add(index)
            for call in getattr(choice.delta, "tool_calls", None) or ():
                self._add(index, call)
            text = _text(choice.delta.content)
            thought = _reasoning(choice.delta)
            logprobs = _logprobs(getattr(choice, "logprobs", None))
            if text and index == 0:
                self._texts.append(text)
            if text or thought or logprobs:
                yield self._chunk(piece, text=text, index=index, reasoning=thought, logprobs=logprobs)
            if choice.finish_reason is not None and self._ends is None:
                self._require_end()
                yield from self._end(piece, index, choice.finish_reason)
        self._last = piece

    def finish(self) -> Iterator[Chunk]:
        """What is left to say at the end of the stream.

        Raises:
            StreamInterrupted: The stream has ended before the answer was complete.
        """
        if self._ends is not None:
            for index in sorted(self._open):
                if index not in self._ends:
                    raise self._interrupted()
                yield from self._end(self._last, index, self._ends[index])
        if not self._told:
            raise self._interrupted()

    def interrupted(self, message: str, **details: Any) -> StreamInterrupted:
        """The error for a stream that broke after text had arrived."""
        details = {"engine": self._engine, "model": self._model, **details}
        return StreamInterrupted(message, partial_text=self.partial_text, **details)

    def _interrupted(self) -> StreamInterrupted:
        return self.interrupted("the stream ended before the answer was complete")

    def _require_end(self) -> None:
        # The wrapper says "stop" of its own, too; then neither of these is set.
        said = [getattr(self._stream, name, "") for name in ("received_finish_reason", "intermittent_finish_reason")]
        if said == [None, None]:
            raise self._interrupted()

    def _end(self, piece: Any, index: int, reason: str) -> Iterator[Chunk]:
        if index not in self._told:
            self._told.add(index)
            calls = self._joined(index)
            yield self._chunk(piece, index=index, tool_calls=calls, finish_reason=_FINISH.get(reason, "stop"))

    def _chunk(self, piece: Any, **values: Any) -> Chunk:
        return Chunk(model=piece.model or self._model, engine=self._engine, id=piece.id, **values)

    def _add(self, index: int, piece: Any) -> None:
        call = self._calls.setdefault((index, piece.index or 0), ["", "", ""])
        call[0] = call[0] or piece.id or ""
        call[1] += piece.function.name or ""
        call[2] += piece.function.arguments or ""

    def _joined(self, index: int) -> tuple[ToolCall, ...]:
        mine = sorted(key for key in self._calls if key[0] == index)
        return tuple(ToolCall(id=i, name=n, arguments=a) for i, n, a in (self._calls[key] for key in mine))


class _Watched:
    """A provider's stream below LiteLLM's wrapper, of which the ends of all choices are noted."""

    def __init__(self, source: Any, ends: dict[int, str]) -> None:
        self._source = source
        self._pieces = aiter(source)
        self._ends = ends

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        piece = await anext(self._pieces)
        for choice in getattr(piece, "choices", None) or ():
            reason = getattr(choice, "finish_reason", None)
            if reason is not None:
                self._ends[choice.index or 0] = reason
        return piece


def _nothing() -> None:
    pass


def _text(content: Any) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part.get("text") or "" for part in content)


def _reasoning(message: Any) -> str:
    thought = getattr(message, "reasoning_content", None)
    if thought is None:
        blocks = getattr(message, "thinking_blocks", None) or ()
        thought = "".join(block.get("thinking") or "" for block in blocks)
    return str(thought)


def _tool_call(call: Any) -> ToolCall:
    arguments = call.function.arguments
    return ToolCall(
        id=call.id or "",
        name=call.function.name or "",
        arguments=arguments if isinstance(arguments, str) else json.dumps(arguments or {}),
    )


def _logprobs(logprobs: Any) -> tuple[TokenLogprob, ...]:
    if logprobs is None:
        return ()
    plain = logprobs if isinstance(logprobs, Mapping) else logprobs.model_dump()
    return tuple(
        TokenLogprob(
            token=one["token"],
            logprob=one["logprob"],
            top=tuple((other["token"], other["logprob"]) for other in one.get("top_logprobs") or ()),
        )
        for one in plain.get("content") or ()
    )
