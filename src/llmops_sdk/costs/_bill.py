"""What one attempt has to be paid with, as far as anybody knows."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any, NamedTuple

from llmops_sdk.calls import Call
from llmops_sdk.costs._estimates import estimated_text_tokens, estimated_tokens
from llmops_sdk.costs._prices import Price
from llmops_sdk.errors import EngineTimeout
from llmops_sdk.messages import Request, Response, Usage

__all__ = ["Bill", "bill_of", "billed_by", "price_in"]

_CUT_OFF = (asyncio.CancelledError, GeneratorExit, EngineTimeout)  # the engine was at work, and may send a bill


def billed_by(engine: Any) -> str:
    """Whose prices hold for an engine (or its leg): the provider's, or those of models that run in this process."""
    return "in_process" if engine.in_process else engine.provider


def price_in(call: Call, model: str | None, billed_by: str | None, *, asked: str | None = None) -> Price | None:
    """What a model costs in a run, `None` where nobody knows; `asked` is the name by which it was asked for."""
    if call.prices is None:
        return None
    price: Price | None = call.prices.price(model, asked=asked, provider=billed_by)
    return price


class Bill(NamedTuple):
    """The cost of an attempt in US dollars: known, estimated, or neither."""

    cost_usd: Decimal | None
    """`None` where nothing has to be paid, or nobody knows how much."""
    cut_off: bool
    """Whether it ended before the engine could say what it took."""
    unpriced: bool
    """Whether it has to be paid for, or may have to, and nobody knows how much."""
    estimated_usd: Decimal | None
    """What it may have cost then; `None` without a price to estimate by."""


_FREE = Bill(Decimal(0), False, False, None)
_NOTHING = Bill(None, False, False, None)
_UNKNOWN = Bill(None, False, True, None)


def bill_of(
    call: Call,
    request: Request,
    response: Response | None,
    error: BaseException | None,
    *,
    asked: str | None,
    provider: str | None,
) -> Bill:
    """The bill of an attempt at an answer of the model `asked` from `provider`; `response` may be a part of one.

    What a cache answered costs nothing, nor does an attempt that failed before anything came, unless it was cut off:
    cancelled, or out of time.
    """
    if response is not None and response.cached:
        return _FREE
    usage = response.usage if response is not None else None
    model = response.model if response is not None else None
    cost = call.price(model, usage, asked=asked, provider=provider)
    if cost is None and response is not None:
        cost = response.cost_usd  # what the engine itself says is better than not to know
    if cost is not None:
        return Bill(cost, False, False, None)
    cut_off = error is not None and isinstance(error, _CUT_OFF)
    if response is None and not cut_off:
        return _NOTHING
    price = price_in(call, model, provider, asked=asked)
    if price is None and not cut_off:
        return _UNKNOWN
    estimated = None if price is None else price.estimate(usage or _usage_of(request, response))
    return Bill(None, cut_off, True, estimated)


def _usage_of(request: Request, response: Response | None) -> Usage:
    """What was asked and what has come of the answer, estimated."""
    choices = response.choices if response is not None else ()
    output = sum(estimated_text_tokens(one.text) + estimated_text_tokens(one.reasoning or "") for one in choices)
    return Usage(input_tokens=estimated_tokens(request), output_tokens=output, estimated=True)
