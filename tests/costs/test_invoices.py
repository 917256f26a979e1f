"""Real answers whose cost was got wrong somewhere, with what they cost in truth.

Prices are those of the day of the report, in US dollars per million tokens, so that the arithmetic stands here whole.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from llmops_sdk import Engine, Pipeline
from llmops_sdk.costs import Price, PriceTable
from llmops_sdk.engines import usage_of
from llmops_sdk.engines._usage import anthropic_usage
from llmops_sdk.messages import Usage
from llmops_sdk.testing import FaultServer, Reply


def price(of_input: str, of_output: str, **others: Any) -> Price:
    return Price(input=Decimal(of_input), output=Decimal(of_output), **others)


GEMINI_25_PRO = price("1.25", "10", cached_input=Decimal("0.625"))
GEMINI_25_PRO_LONG = price(
    "1.25",
    "10",
    cached_input=Decimal("0.125"),
    up_to_input_tokens=200_000,
    beyond=price("2.50", "15", cached_input=Decimal("0.25")),
)
CLAUDE_37_SONNET = price("3", "15", cached_input=Decimal("0.30"), cache_write=Decimal("3.75"), cache_write_1h=6)
CLAUDE_OPUS_45_EU = price("5.50", "27.50", cached_input=Decimal("0.55"), cache_write=Decimal("6.875"))
CLAUDE_OPUS_48 = price("5", "25", cached_input=Decimal("0.50"), cache_write=Decimal("6.25"), cache_write_1h=10)
GPT_4O = price("2.50", "10", cached_input=Decimal("1.25"))
GPT_5_NANO = price("0.05", "0.40", cached_input=Decimal("0.005"))
GPT_AUDIO = price("2.50", "10", audio_input=32, audio_output=80)
GROK_46 = price("2", "6", cached_input=Decimal("0.50"))
GEMINI_3_FLASH = price("0.50", "3", cached_input=Decimal("0.05"))


class Invoice(NamedTuple):
    said: dict[str, Any]
    price: Price
    usd: str


INVOICES = {
    # Cached tokens were charged at both rates: 0.7642. By the reporter's prices, who leaves out the 200,000 limit:
    # (262,960 - 257,955) x 1.25 + 257,955 x 0.625 + 1,744 x 10 = 6,256.25 + 161,221.875 + 17,440
    "litellm #14849": Invoice(
        {
            "total_tokens": 264704,
            "prompt_tokens": 262960,
            "completion_tokens": 1744,
            "prompt_tokens_details": {"text_tokens": 262960, "cached_tokens": 257955},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
        GEMINI_25_PRO,
        "0.184918125",
    ),
    # The same answer with Google's prices for prompts over 200,000 tokens, which hold for the cached part, too:
    # 5,005 x 2.50 + 257,955 x 0.25 + 1,744 x 15 = 12,512.5 + 64,488.75 + 26,160
    "litellm #14849, a long prompt": Invoice(
        {
            "promptTokenCount": 262960,
            "cachedContentTokenCount": 257955,
            "candidatesTokenCount": 1744,
            "totalTokenCount": 264704,
        },
        GEMINI_25_PRO_LONG,
        "0.10316125",
    ),
    # Written tokens were charged as input, too: 0.091311. Anthropic's own bill: 4.614 + 0.825 cents, and 0.0009 for
    # the 3 plain ones: 3 x 3 + 12,304 x 3.75 + 550 x 15 = 9 + 46,140 + 8,250
    "litellm #9812": Invoice(
        {
            "input_tokens": 3,
            "cache_creation_input_tokens": 12304,
            "cache_read_input_tokens": 0,
            "output_tokens": 550,
        },
        CLAUDE_37_SONNET,
        "0.054399",
    ),
    # Cached tokens were charged as plain ones, too. (2,006 - 1,920) x 2.50 + 1,920 x 1.25 + 300 x 10
    # = 215 + 2,400 + 3,000
    "litellm #6215": Invoice(
        {
            "prompt_tokens": 2006,
            "completion_tokens": 300,
            "total_tokens": 2306,
            "prompt_tokens_details": {"cached_tokens": 1920},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
        GPT_4O,
        "0.005615",
    ),
    # Only the reasoning was charged, not the rest of the answer. 17 x 0.05 + 482 x 0.40 = 0.85 + 192.8
    "litellm #18599": Invoice(
        {
            "completion_tokens": 482,
            "prompt_tokens": 17,
            "total_tokens": 499,
            "completion_tokens_details": {
                "rejected_prediction_tokens": 0,
                "accepted_prediction_tokens": 0,
                "audio_tokens": 0,
                "reasoning_tokens": 448,
            },
            "prompt_tokens_details": {"audio_tokens": 0, "cached_tokens": 0},
        },
        GPT_5_NANO,
        "0.00019365",
    ),
    # Sound was charged as text: 0.00592 for the answer. 17 x 2.50 + 110 x 10 + 482 x 80 = 42.5 + 1,100 + 38,560
    "litellm #19764": Invoice(
        {
            "prompt_tokens": 17,
            "completion_tokens": 592,
            "prompt_tokens_details": {"text_tokens": 17, "audio_tokens": 0},
            "completion_tokens_details": {"text_tokens": 110, "audio_tokens": 482},
        },
        GPT_AUDIO,
        "0.0397025",
    ),
    # xAI's own bill was 49,100,000 ticks, of which a dollar has 10^10. 29 x 2 + 2,432 x 0.50 + 606 x 6
    # = 58 + 1,216 + 3,636
    "litellm pull request #37407": Invoice(
        {
            "input_tokens": 2461,
            "input_tokens_details": {"audio_tokens": None, "cached_tokens": 2432, "text_tokens": None},
            "output_tokens": 606,
        },
        GROK_46,
        "0.004910",
    ),
    # Reported as 0.047080. 10 x 5.50 + 66,360 x 0.55 + 32,435 x 6.875 + 5,120 x 27.50
    # = 55 + 36,498 + 222,990.625 + 140,800
    "litellm #11364": Invoice(
        {
            "total_tokens": 103925,
            "prompt_tokens": 98805,
            "completion_tokens": 5120,
            "prompt_tokens_details": {"cached_tokens": 66360, "cache_creation_tokens": 32435, "text_tokens": None},
            "cache_read_input_tokens": 66360,
            "completion_tokens_details": {"reasoning_tokens": 1710},
            "cache_creation_input_tokens": 32435,
        },
        CLAUDE_OPUS_45_EU,
        "0.400343625",
    ),
    # All writes were charged as if kept for five minutes: 6.25. 600,000 x 6.25 + 400,000 x 10
    "pi #5738": Invoice(
        {
            "input_tokens": 0,
            "output_tokens": 0,
            "cache_creation_input_tokens": 1_000_000,
            "cache_creation": {"ephemeral_5m_input_tokens": 600_000, "ephemeral_1h_input_tokens": 400_000},
        },
        CLAUDE_OPUS_48,
        "7.75",
    ),
    # Cached tokens were charged at both rates: 0.0137. 3,914 x 0.50 + 16,298 x 0.05 + 931 x 3 = 1,957 + 814.9 + 2,793
    "pi #2148": Invoice(
        {
            "promptTokenCount": 20212,
            "cachedContentTokenCount": 16298,
            "candidatesTokenCount": 931,
            "totalTokenCount": 21143,
        },
        GEMINI_3_FLASH,
        "0.0055649",
    ),
}


@pytest.mark.parametrize("source", INVOICES)
def test_an_invoice_comes_out_right(source: str) -> None:
    said, rates, usd = INVOICES[source]

    usage = usage_of(said)

    assert usage is not None
    assert rates.cost(usage) == Decimal(usd)


async def test_a_streamed_answer_costs_what_the_whole_one_costs() -> None:
    """LiteLLM #9812's answer, which Anthropic counts in two events of the stream."""
    usage = anthropic_usage(INVOICES["litellm #9812"].said)
    prices = PriceTable({"claude-3-7-sonnet": CLAUDE_37_SONNET})
    assert isinstance(usage, Usage)
    async with (
        FaultServer(Reply(text="Hello", usage=usage)) as server,
        Engine.open("anthropic:claude-3-7-sonnet", base_url=server.url, api_key="none") as engine,
    ):
        pipeline = Pipeline("Hi", engine, prices=prices)
        whole = await pipeline.arun()
        stream = pipeline.astream()
        async for _ in stream:
            pass

    assert whole.cost_usd == stream.result.cost_usd == Decimal("0.054399")
