"""Every provider's counts, taken apart: the classes add up to what the provider says that it was."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_sdk import Call, Engine, Request
from llmops_sdk.costs import Price, PriceTable
from llmops_sdk.engines import usage_of
from llmops_sdk.engines._usage import openai_usage
from llmops_sdk.messages import TokenClasses, Usage
from llmops_sdk.testing import FaultServer, Reply

OPENAI = {
    "prompt_tokens": 2006,
    "completion_tokens": 300,
    "total_tokens": 2306,
    "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 128,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 20,
        "rejected_prediction_tokens": 10,
    },
}
FORMS: dict[str, tuple[dict[str, Any], TokenClasses]] = {
    "openai": (OPENAI, TokenClasses(86, 1920, 0, 0, 0, 0, 172, 128, 0)),
    "openai, audio": (
        {
            "prompt_tokens": 117,
            "completion_tokens": 592,
            "total_tokens": 709,
            "prompt_tokens_details": {"text_tokens": 17, "audio_tokens": 100, "cached_tokens": 0},
            "completion_tokens_details": {"text_tokens": 110, "audio_tokens": 482},
        },
        TokenClasses(17, 0, 0, 0, 100, 0, 110, 0, 482),
    ),
    "openai, cached audio": (
        {
            "input_tokens": 200,
            "output_tokens": 10,
            "total_tokens": 210,
            "input_tokens_details": {
                "audio_tokens": 120,
                "cached_tokens": 90,
                "cached_tokens_details": {"audio_tokens": 50, "text_tokens": 40},
            },
        },
        TokenClasses(40, 40, 0, 0, 70, 50, 10, 0, 0),
    ),
    "openai, cache writes": (
        {
            "prompt_tokens": 5000,
            "completion_tokens": 9,
            "total_tokens": 5009,
            "prompt_tokens_details": {"cached_tokens": 1024, "cache_write_tokens": 3072},
        },
        TokenClasses(904, 1024, 3072, 0, 0, 0, 9, 0, 0),
    ),
    "openai responses": (
        {
            "input_tokens": 75,
            "input_tokens_details": {"cached_tokens": 30},
            "output_tokens": 1186,
            "output_tokens_details": {"reasoning_tokens": 1024},
            "total_tokens": 1261,
        },
        TokenClasses(45, 30, 0, 0, 0, 0, 162, 1024, 0),
    ),
    "azure": (
        {
            "completion_tokens": 18,
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
            "prompt_tokens": 1566,
            "prompt_tokens_details": {"audio_tokens": 0, "cached_tokens": 1408},
            "total_tokens": 1584,
        },
        TokenClasses(158, 1408, 0, 0, 0, 0, 18, 0, 0),
    ),
    "anthropic": (
        {
            "input_tokens": 3,
            "cache_creation_input_tokens": 12304,
            "cache_read_input_tokens": 700,
            "output_tokens": 550,
            "cache_creation": {"ephemeral_5m_input_tokens": 304, "ephemeral_1h_input_tokens": 12000},
            "service_tier": "standard",
        },
        TokenClasses(3, 700, 304, 12000, 0, 0, 550, 0, 0),
    ),
    "anthropic, thinking": (
        {"input_tokens": 3, "output_tokens": 550, "output_tokens_details": {"thinking_tokens": 400}},
        TokenClasses(3, 0, 0, 0, 0, 0, 150, 400, 0),
    ),
    "gemini": (
        {
            "promptTokenCount": 1000,
            "cachedContentTokenCount": 600,
            "candidatesTokenCount": 359,
            "thoughtsTokenCount": 661,
            "toolUsePromptTokenCount": 15,
            "totalTokenCount": 2035,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 700},
                {"modality": "AUDIO", "tokenCount": 300},
            ],
            "cacheTokensDetails": [
                {"modality": "TEXT", "tokenCount": 400},
                {"modality": "AUDIO", "tokenCount": 200},
            ],
        },
        TokenClasses(315, 400, 0, 0, 100, 200, 359, 661, 0),
    ),
    "gemini, OpenAI-compatible": (
        {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 115},
        TokenClasses(10, 0, 0, 0, 0, 0, 5, 100, 0),
    ),
    "deepseek": (
        {
            "prompt_tokens": 100,
            "prompt_cache_hit_tokens": 64,
            "prompt_cache_miss_tokens": 36,
            "completion_tokens": 50,
            "completion_tokens_details": {"reasoning_tokens": 30},
            "total_tokens": 150,
        },
        TokenClasses(36, 64, 0, 0, 0, 0, 20, 30, 0),
    ),
    "mistral": (
        {"prompt_tokens": 16, "completion_tokens": 34, "total_tokens": 50, "num_cached_tokens": 8},
        TokenClasses(8, 8, 0, 0, 0, 0, 34, 0, 0),
    ),
    "groq": (
        {
            "queue_time": 0.037,
            "prompt_tokens": 18,
            "prompt_time": 0.0006,
            "completion_tokens": 556,
            "completion_time": 0.46,
            "total_tokens": 574,
            "total_time": 0.4642,
            "prompt_tokens_details": {"cached_tokens": 9},
        },
        TokenClasses(9, 9, 0, 0, 0, 0, 556, 0, 0),
    ),
    "xai": (
        {
            "prompt_tokens": 125,
            "completion_tokens": 48,
            "total_tokens": 373,
            "prompt_tokens_details": {"text_tokens": 125, "audio_tokens": 0, "image_tokens": 0, "cached_tokens": 98},
            "completion_tokens_details": {"reasoning_tokens": 200, "audio_tokens": 0},
            "num_sources_used": 0,
        },
        TokenClasses(27, 98, 0, 0, 0, 0, 48, 200, 0),
    ),
    "cohere": (
        {
            "billed_units": {"input_tokens": 17, "output_tokens": 12},
            "tokens": {"input_tokens": 215.0, "output_tokens": 12.0},
        },
        TokenClasses(17, 0, 0, 0, 0, 0, 12, 0, 0),
    ),
    "bedrock": (
        {
            "inputTokens": 5,
            "outputTokens": 20,
            "totalTokens": 1025,
            "cacheReadInputTokens": 600,
            "cacheWriteInputTokens": 400,
            "cacheDetails": [{"ttl": "1h", "inputTokens": 100}, {"ttl": "5m", "inputTokens": 300}],
        },
        TokenClasses(5, 600, 300, 100, 0, 0, 20, 0, 0),
    ),
    "vllm": (
        {"prompt_tokens": 31, "completion_tokens": 9, "total_tokens": 40, "prompt_tokens_details": None},
        TokenClasses(31, 0, 0, 0, 0, 0, 9, 0, 0),
    ),
    "openrouter": (
        {
            "prompt_tokens": 194,
            "completion_tokens": 2,
            "total_tokens": 196,
            "cost": 0.95,
            "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 100, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
        TokenClasses(94, 0, 100, 0, 0, 0, 2, 0, 0),
    ),
    "openai realtime": (
        {
            "total_tokens": 253,
            "input_tokens": 132,
            "output_tokens": 121,
            "input_token_details": {
                "text_tokens": 119,
                "audio_tokens": 13,
                "cached_tokens": 64,
                "cached_tokens_details": {"text_tokens": 64, "audio_tokens": 0},
            },
            "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
        },
        TokenClasses(55, 64, 0, 0, 13, 0, 30, 0, 91),
    ),
    "together": (
        {"prompt_tokens": 18, "completion_tokens": 5, "total_tokens": 23, "cached_tokens": 8},
        TokenClasses(10, 8, 0, 0, 0, 0, 5, 0, 0),
    ),
    "sglang": (
        {"prompt_tokens": 18, "completion_tokens": 50, "total_tokens": 68, "reasoning_tokens": 30},
        TokenClasses(18, 0, 0, 0, 0, 0, 20, 30, 0),
    ),
    "responses without details": (
        {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10},
        TokenClasses(7, 0, 0, 0, 0, 0, 3, 0, 0),
    ),
    "ollama": (
        {"prompt_eval_count": 26, "eval_count": 298, "total_duration": 5_043_500_667},
        TokenClasses(26, 0, 0, 0, 0, 0, 298, 0, 0),
    ),
    "anthropic, shortened": (
        {
            "input_tokens": 23_000,
            "output_tokens": 1_000,
            "iterations": [
                {"type": "compaction", "input_tokens": 180_000, "output_tokens": 3_500},
                {"type": "message", "input_tokens": 23_000, "output_tokens": 1_000},
            ],
        },
        TokenClasses(203_000, 0, 0, 0, 0, 0, 4_500, 0, 0),
    ),
    "litellm, of Anthropic": (
        {
            "prompt_tokens": 98805,
            "completion_tokens": 5120,
            "total_tokens": 103925,
            "prompt_tokens_details": {
                "cached_tokens": 66360,
                "cache_creation_tokens": 32435,
                "cache_creation_token_details": {"ephemeral_5m_input_tokens": 435, "ephemeral_1h_input_tokens": 32000},
            },
            "completion_tokens_details": {"reasoning_tokens": 1710},
            "cache_read_input_tokens": 66360,
            "cache_creation_input_tokens": 32435,
        },
        TokenClasses(10, 66360, 435, 32000, 0, 0, 3410, 1710, 0),
    ),
}


@pytest.mark.parametrize("provider", FORMS)
def test_the_classes_add_up_to_what_the_provider_counted(provider: str) -> None:
    said, classes = FORMS[provider]

    usage = usage_of(said)

    assert usage is not None
    assert usage.classes() == classes
    assert not usage.estimated
    assert sum(classes) == usage.total_tokens
    total = said.get("total_tokens") or said.get("totalTokens") or said.get("totalTokenCount")
    assert total in (None, usage.total_tokens)


@pytest.mark.parametrize(
    "said",
    [
        {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 14},
        {**OPENAI, "total_tokens": 2406},  # 100 more, and 128 of them reasoning
        {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 16},
    ],
)
def test_totals_that_contradict_the_parts_count_as_estimates(said: dict[str, Any]) -> None:
    assert usage_of(said).estimated  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "said",
    [
        {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 11}},
        {"prompt_tokens": 10, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 6}},
        {"inputTokens": 1, "outputTokens": 1, "cacheDetails": [{"ttl": "1h", "inputTokens": 3}]},
    ],
)
def test_parts_that_are_more_than_the_whole_are_kept_and_have_no_classes(said: dict[str, Any]) -> None:
    usage = usage_of(said)

    assert usage is not None
    assert usage.classes() is None


@pytest.mark.parametrize("count", [-1, "12", True, 1.5, [1]])
def test_what_is_no_count_is_refused(count: object) -> None:
    for said in (
        {"prompt_tokens": count, "completion_tokens": 1},
        {"input_tokens": 1, "output_tokens": count, "cache_read_input_tokens": 2},
        {"promptTokenCount": 1, "thoughtsTokenCount": count},
    ):
        with pytest.raises(TypeError, match="a number of tokens is"):
            usage_of(said)


def test_nothing_counted_is_none_and_an_unknown_form_is_refused() -> None:
    assert usage_of({}) is None
    with pytest.raises(ValueError, match="no provider known here"):
        usage_of({"token_total": 3})


@pytest.mark.parametrize(
    ("said", "beside", "tier"),
    [
        (OPENAI, "default", None),
        (OPENAI, "flex", "flex"),
        (OPENAI, None, None),
        ({"input_tokens": 1, "output_tokens": 1, "service_tier": "batch"}, None, "batch"),
        ({"input_tokens": 1, "output_tokens": 1, "service_tier": "standard", "speed": "fast"}, None, "fast"),
        # What LiteLLM makes of it: a faster answer costs a multiple, and must not be paid as a plain one.
        ({"prompt_tokens": 1, "completion_tokens": 1, "speed": "fast", "inference_geo": "us"}, None, "fast+us"),
        ({"input_tokens": 1, "output_tokens": 1, "inference_geo": "us"}, None, "us"),
    ],
)
def test_the_tier_that_was_used_is_kept_unless_it_is_the_standard_one(
    said: dict[str, Any], beside: str | None, tier: str | None
) -> None:
    assert usage_of(said, service_tier=beside).service_tier == tier  # type: ignore[union-attr]


def test_the_sum_of_two_tiers_has_no_tier_that_could_be_priced() -> None:
    flex, standard = Usage(input_tokens=1, service_tier="flex"), Usage(input_tokens=1)

    assert (flex + flex).service_tier == "flex"
    assert (Usage() + flex).service_tier == (flex + Usage()).service_tier == "flex"
    assert (flex + standard).service_tier == (standard + flex).service_tier == "mixed"


@pytest.mark.parametrize(
    ("said", "usd"),
    [
        ({"prompt_tokens": 194, "completion_tokens": 2, "cost": 0.95}, "0.95"),
        ({"prompt_tokens": 194, "completion_tokens": 2, "cost": 0}, "0"),
        ({"prompt_tokens": 1, "completion_tokens": 2, "cost": {"request_cost": 0.005, "total_cost": 0.006}}, "0.006"),
        ({"prompt_tokens": 1, "completion_tokens": 2, "cost_in_usd_ticks": 49_100_000}, "0.00491"),
        (
            {
                "prompt_tokens": 1,
                "completion_tokens": 2,
                "cost": 0.01,
                "is_byok": True,
                "cost_details": {"upstream_inference_cost": 0.2},
            },
            "0.21",
        ),
        ({"prompt_tokens": 1, "completion_tokens": 2, "cost": 0.01, "is_byok": True}, None),
        ({"prompt_tokens": 1, "completion_tokens": 2, "cost": -1}, None),
        ({"prompt_tokens": 1, "completion_tokens": 2, "cost": "1"}, None),
    ],
)
def test_what_the_provider_says_it_charges_is_kept(said: dict[str, Any], usd: str | None) -> None:
    usage = usage_of(said)

    assert usage is not None
    assert usage.billed_usd == (None if usd is None else Decimal(usd))


@pytest.mark.parametrize(
    ("said", "names"),
    [
        (
            {"input_tokens": 1, "output_tokens": 1, "server_tool_use": {"web_search_requests": 2}},
            ("web_search_requests",),
        ),
        ({"input_tokens": 1, "output_tokens": 1, "server_tool_use": {"web_search_requests": 0}}, ()),
        ({"prompt_tokens": 1, "completion_tokens": 1, "num_sources_used": 3}, ("num_sources_used",)),
        ({"prompt_tokens": 1, "completion_tokens": 1, "prompt_audio_seconds": 7}, ("prompt_audio_seconds",)),
    ],
)
def test_what_is_charged_beside_the_tokens_makes_the_cost_unknown(said: dict[str, Any], names: tuple[str, ...]) -> None:
    usage = usage_of(said)
    price = Price(input=Decimal(1), output=Decimal(1))

    assert usage is not None
    assert usage.also_charged == names
    assert price.estimate(usage) == Decimal("0.000002")
    assert (price.cost(usage) is None) == bool(names)


@pytest.mark.parametrize(
    ("said", "beside", "tier"),
    [
        ({"inputTokens": 1, "outputTokens": 1}, "priority", "priority"),
        ({"promptTokenCount": 1, "trafficType": "ON_DEMAND"}, None, None),
        ({"promptTokenCount": 1, "trafficType": "ON_DEMAND_FLEX"}, None, "flex"),
        ({"promptTokenCount": 1, "trafficType": "PROVISIONED_THROUGHPUT"}, None, "provisioned_throughput"),
    ],
)
def test_the_tier_of_clouds_is_kept(said: dict[str, Any], beside: str | None, tier: str | None) -> None:
    assert usage_of(said, service_tier=beside).service_tier == tier  # type: ignore[union-attr]


FULL = Usage(
    input_tokens=100,
    output_tokens=50,
    cached_input_tokens=30,
    cache_write_tokens=20,
    cache_write_1h_tokens=5,
    reasoning_tokens=7,
    service_tier="flex",
)
SOUND = replace(FULL, audio_input_tokens=10, cached_audio_tokens=4, audio_output_tokens=9, billed_usd=Decimal("0.25"))


@pytest.mark.parametrize(
    ("spec", "usage"),
    [("openai:m", SOUND), ("openai:m", FULL), ("anthropic:m", FULL), ("anthropic:m", Usage(input_tokens=3))],
)
async def test_servers_say_what_engines_read(spec: str, usage: Usage) -> None:
    async with FaultServer(Reply(usage=usage)) as server:
        url = server.url if spec.startswith("anthropic") else f"{server.url.removesuffix('/v1')}/v1"
        async with Engine.open(spec, base_url=url, api_key="none") as engine:
            whole = await engine.agenerate(Request.of("Hi"))
            chunks = [chunk async for chunk in engine.astream(Request.of("Hi"))]

    assert whole.usage == [chunk.usage for chunk in chunks if chunk.usage][-1] == usage
    assert whole.cost_usd == [chunk.cost_usd for chunk in chunks if chunk.usage][-1] == usage.billed_usd


def test_bills_add_up_unless_a_half_is_unknown() -> None:
    bill = Usage(input_tokens=1, billed_usd=Decimal("0.1"), also_charged=("a",))

    assert (bill + bill).billed_usd == Decimal("0.2")
    assert (bill + bill).also_charged == ("a",)
    assert (Usage() + bill).billed_usd == (bill + Usage()).billed_usd == Decimal("0.1")
    assert (bill + Usage(input_tokens=1)).billed_usd is None
    assert (Usage(input_tokens=1) + bill).billed_usd is None


def test_a_bill_comes_before_the_built_in_prices_and_after_the_own_ones() -> None:
    usage = Usage(input_tokens=1_000_000, billed_usd=Decimal(7))

    assert PriceTable.default().cost("gpt-5-mini", usage, provider="openai") == 7
    assert PriceTable({"m": {"input": 3, "output": 1}}).cost("m", usage) == 3
    assert PriceTable({"m": {"input": 3, "output": 1}}).cost("unknown", usage) == 7
    assert Call().price("unknown", usage) == 7


@given(
    st.integers(0, 10**6), st.integers(0, 10**6), st.integers(-1, 1),
    st.none() | st.dictionaries(st.sampled_from(["cached_tokens", "audio_tokens", "else"]), st.integers(0, 9)),
    st.none() | st.dictionaries(st.sampled_from(["reasoning_tokens", "audio_tokens", "else"]), st.integers(0, 9)),
)  # fmt: skip
def test_the_shorter_way_says_what_the_longer_one_does(asked, given_, beside, asked_details, given_details):
    said = {"prompt_tokens": asked, "completion_tokens": given_, "total_tokens": asked + given_ + beside}
    if beside < 0 and asked + given_ == 0:
        return  # no number of tokens
    said |= {"prompt_tokens_details": asked_details, "completion_tokens_details": given_details}
    assert openai_usage(said) == openai_usage({**said, "": None})  # any other name leads the longer way
