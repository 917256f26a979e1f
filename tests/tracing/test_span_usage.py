"""Every class of tokens, the tier and the money of an attempt, in spans, in JSON and in words."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from llmops_sdk.calls import AttemptEnded, Call, Ended, Started
from llmops_sdk.messages import Choice, Request, Response, Usage
from llmops_sdk.tracing import explain, to_json
from llmops_sdk.tracing._dialects.usage import usage_attributes

USAGE = Usage(
    input_tokens=100,
    output_tokens=50,
    cached_input_tokens=30,
    cache_write_tokens=20,
    cache_write_1h_tokens=5,
    audio_input_tokens=10,
    cached_audio_tokens=4,
    audio_output_tokens=9,
    reasoning_tokens=7,
    service_tier="flex",
    also_charged=("web_search_requests",),
)


def attempt(**changes: Any) -> AttemptEnded:
    response = Response(choices=(Choice(text="Hi", finish_reason="stop"),), usage=USAGE)
    values: dict[str, Any] = {
        "started": 0.0,
        "at": 1.0,
        "engine": "cloud",
        "provider": "openai",
        "number": 1,
        "request": Request.of("Hello"),
        "response": response,
        "usage": USAGE,
        "cost_usd": None,
        "error": None,
        "streamed": False,
        "first_chunk_at": None,
        "chunks": 0,
        "estimated_usd": Decimal("0.25"),
    }
    return AttemptEnded(**{**values, **changes})


def recorded(event: AttemptEnded) -> Call:
    call = Call(clock=lambda: 0.0)
    for one in (Started(0.0, "p", streamed=False), event, Ended(1.0, "ok", None)):
        call.record(one)
    return call


def test_spans_have_every_class_by_the_names_of_the_conventions() -> None:
    assert usage_attributes(attempt()) == {
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 50,
        "gen_ai.usage.cache_read.input_tokens": 30,
        "gen_ai.usage.cache_write.input_tokens": 20,
        "gen_ai.usage.reasoning.output_tokens": 7,
        "gen_ai.usage.audio.input_tokens": 14,
        "gen_ai.usage.audio.cache_read.input_tokens": 4,
        "gen_ai.usage.audio.output_tokens": 9,
        "llmops.usage.cache_write_1h.input_tokens": 5,
        "llmops.service_tier": "flex",
        "llmops.usage.also_charged": ["web_search_requests"],
        "llmops.estimated_usd": 0.25,
    }


def test_spans_leave_out_what_is_not_there() -> None:
    known = attempt(usage=Usage(input_tokens=1), cost_usd=Decimal("0.5"), estimated_usd=None)

    assert usage_attributes(known) == {
        "gen_ai.usage.input_tokens": 1,
        "gen_ai.usage.output_tokens": 0,
        "llmops.cost_usd": 0.5,
    }
    assert usage_attributes(attempt(usage=None, estimated_usd=None)) == {}


def test_json_has_every_class_and_the_estimate() -> None:
    (event,) = [one for one in to_json(recorded(attempt()))["events"] if one["event"] == "attempt_ended"]

    assert event["usage"] == {
        "input_tokens": 100,
        "output_tokens": 50,
        "cached_input_tokens": 30,
        "cache_write_tokens": 20,
        "reasoning_tokens": 7,
        "cache_write_1h_tokens": 5,
        "audio_input_tokens": 10,
        "cached_audio_tokens": 4,
        "audio_output_tokens": 9,
        "estimated": False,
        "service_tier": "flex",
        "billed_usd": None,
        "also_charged": ["web_search_requests"],
    }
    assert (event["cost_usd"], event["estimated_usd"], event["cut_off"]) == (None, "0.25", False)


def test_explanations_tell_every_class_and_the_estimate() -> None:
    text = str(explain(recorded(attempt())))

    for words in (
        "may have cost about 0.2500 USD",
        "30 tokens cached",
        "15 tokens written to the cache",
        "5 tokens written to the cache for an hour",
        "14 tokens of sound in",
        "9 tokens of sound out",
        "tier flex",
        "beside the tokens: web_search_requests",
    ):
        assert words in text
