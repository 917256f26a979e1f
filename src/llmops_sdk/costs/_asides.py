"""What a station has an engine of its own do for the run: on the record of the run, and paid from it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Literal, TypeAlias

from llmops_sdk.calls import Aside, AttemptEnded, Call, Event
from llmops_sdk.costs._bill import bill_of, price_in
from llmops_sdk.costs._estimates import estimated_text_tokens
from llmops_sdk.messages import Message, Request, Response, Usage

__all__ = ["AsideUnderWay", "embedded", "recorded_aside", "relayed_to"]

_Operation: TypeAlias = Literal["chat", "embeddings", "moderation"]

_NO_TOKENS = Usage()


class AsideUnderWay:
    """What came of an asking, as whoever asked fills it in.

    Attributes:
        response: The answer; one without choices where only its model and usage are known.
    """

    __slots__ = ("response",)

    def __init__(self) -> None:
        self.response: Response | None = None


class _Relay:
    """A hook for the call of a router that a station asks: each of its attempts is an `Aside` of the run."""

    __slots__ = ("_asker", "_call")

    def __init__(self, call: Call, asker: str) -> None:
        self._call = call
        self._asker = asker

    def __call__(self, event: Event, own: Call, /) -> None:
        if isinstance(event, AttemptEnded):
            _record(self._call, Aside(event.at, self._asker, event))
        elif isinstance(event, Aside):  # of a cache in front of the engine, say
            _record(self._call, event._replace(asker=self._asker))


def relayed_to(call: Call, asker: str) -> _Relay:
    """A hook that records what engines are asked in a call within `call` as asides of `asker`."""
    return _Relay(call, asker)


def _record(call: Call, event: Aside) -> None:
    call.spend(event.attempt.cost_usd, event.attempt.estimated_usd)
    call.record(event)


@contextlib.contextmanager
def recorded_aside(
    call: Call | None,
    asker: str,
    engine: Any,
    request: Request | str,
    *,
    operation: _Operation = "chat",
) -> Iterator[AsideUnderWay]:
    """Record what is asked of `engine` in the meantime, however it ends, as an `Aside` of `call`; book what it costs.

    Of moderations and embeddings whoever knows the tokens says so by a response without choices; otherwise they are
    estimated, and an engine whose prices nobody knows is taken to send no bill for them.
    """
    under_way = AsideUnderWay()
    if call is None:
        yield under_way
        return
    started = call.clock()
    error: BaseException | None = None
    try:
        yield under_way
    except BaseException as exc:
        error = exc
        raise
    finally:
        if isinstance(request, str):
            request = Request(messages=(Message.user(request),))
        response = under_way.response
        if response is None and error is None:
            response = _estimated(call, engine, request)
        attempt = _attempt(call, engine, request, response, error, started=started, operation=operation)
        _record(call, Aside(attempt.at, asker, attempt, operation))


def _attempt(
    call: Call,
    engine: Any,
    request: Request,
    response: Response | None,
    error: BaseException | None,
    *,
    started: float,
    operation: _Operation,
) -> AttemptEnded:
    model = getattr(engine, "model", None)
    bill = bill_of(call, request, response, error, asked=model, provider=_biller(engine))
    usage = None if response is None else _NO_TOKENS if response.cached else response.usage
    return AttemptEnded(
        started=started,
        at=call.clock(),
        engine=getattr(engine, "name", type(engine).__name__),
        provider=getattr(engine, "provider", "custom"),
        number=1,
        request=request,
        response=response,
        usage=usage,
        cost_usd=bill.cost_usd,
        error=error,
        streamed=False,
        first_chunk_at=None,
        chunks=0,
        model=model,
        in_process=bool(getattr(engine, "in_process", False)),
        cut_off=bill.cut_off and (operation == "chat" or bill.estimated_usd is not None),
        estimated_usd=bill.estimated_usd,
    )


def _estimated(call: Call, engine: Any, request: Request) -> Response | None:
    """An answer whose tokens nobody has counted, where they have a price at all."""
    model = getattr(engine, "model", None)
    if price_in(call, model, _biller(engine)) is None:
        return None
    tokens = sum(estimated_text_tokens(message.text) for message in request.messages)
    return Response(choices=(), usage=Usage(input_tokens=tokens, estimated=True), model=model)


def _biller(engine: Any) -> str:
    """`billed_by`, for what need not be a whole engine."""
    if getattr(engine, "in_process", False):
        return "in_process"
    provider: str = getattr(engine, "provider", "custom")
    return provider


async def embedded(engine: Any, texts: Sequence[str], call: Call | None, asker: str) -> list[list[float]]:
    """The vectors of `texts`, in order, with what they took on the record of `call`.

    Raises:
        EngineError: As `engine.aembed` does.
    """
    request = Request(messages=tuple(Message.user(text) for text in texts))
    with recorded_aside(call, asker, engine, request, operation="embeddings") as aside:
        counted = getattr(engine, "aembeddings", None)
        if counted is None:
            vectors: list[list[float]] = await engine.aembed(texts)
            return vectors
        answer = await counted(texts)
        aside.response = Response(choices=(), usage=answer.usage, model=answer.model or engine.model)
        return list(answer.vectors)
