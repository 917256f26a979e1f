"""Every class of tokens at its own rate; what nobody said has no cost."""

from __future__ import annotations

import pickle
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_sdk.costs import Price, PriceTable
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.messages import TokenClasses, Usage

_TOKENS = st.lists(st.integers(0, 10**9), min_size=9, max_size=9)
_AMOUNTS = st.lists(st.decimals(0, 1000, places=12), min_size=9, max_size=9)


def usage_of_classes(classes: TokenClasses) -> Usage:
    c = classes
    return Usage(
        input_tokens=c.input + c.cached_input + c.cache_write + c.cache_write_1h + c.audio_input + c.cached_audio,
        output_tokens=c.output + c.reasoning + c.audio_output,
        cached_input_tokens=c.cached_input + c.cached_audio,
        cache_write_tokens=c.cache_write + c.cache_write_1h,
        reasoning_tokens=c.reasoning,
        cache_write_1h_tokens=c.cache_write_1h,
        audio_input_tokens=c.audio_input,
        cached_audio_tokens=c.cached_audio,
        audio_output_tokens=c.audio_output,
    )


@given(_TOKENS, _TOKENS)
def test_classes_of_a_sum_are_the_sums_of_the_classes(one: list[int], other: list[int]) -> None:
    first, second = (usage_of_classes(TokenClasses(*counts)) for counts in (one, other))
    assert first.classes() == TokenClasses(*one)
    assert (first + second).classes() == TokenClasses(*map(sum, zip(one, other, strict=True)))


@given(tokens=_TOKENS, amounts=_AMOUNTS)
def test_each_token_is_paid_once_at_the_rate_of_its_class(tokens: list[int], amounts: list[Decimal]) -> None:
    price = Price(**dict(zip(TokenClasses._fields, amounts, strict=True)))

    exact = sum(Fraction(count) * Fraction(rate) for count, rate in zip(tokens, amounts, strict=True)) / 1_000_000

    assert Fraction(price.cost(usage_of_classes(TokenClasses(*tokens)))) == exact


@pytest.mark.parametrize(
    ("given", "like"),
    [
        ("cached_input", "input"),
        ("cache_write", "input"),
        ("cache_write_1h", "input"),
        ("audio_input", "input"),
        ("cached_audio", "input"),
        ("reasoning", "output"),
        ("audio_output", "output"),
    ],
)
def test_a_class_without_an_amount_costs_what_the_plain_token_costs(given: str, like: str) -> None:
    price = Price(input=Decimal(2), output=Decimal(8))

    usage = usage_of_classes(TokenClasses(**{**dict.fromkeys(TokenClasses._fields, 0), given: 1_000_000}))

    assert price.cost(usage) == getattr(price, like)


def test_what_cannot_be_told_from_the_other_amounts_has_no_cost() -> None:
    price = Price(
        input=Decimal(2),
        output=Decimal(8),
        cache_write=Decimal("2.5"),
        audio_input=Decimal(4),
        unknown=("reasoning",),
    )
    none = dict.fromkeys(TokenClasses._fields, 0)

    for name in ("cache_write_1h", "cached_audio", "reasoning"):
        assert price.cost(usage_of_classes(TokenClasses(**{**none, name: 1, "input": 5}))) is None
    assert price.cost(usage_of_classes(TokenClasses(**{**none, "cached_input": 10**6}))) == 2
    with pytest.raises(ConfigurationError, match="`unknown` holds 'thoughts'"):
        Price(input=Decimal(2), output=Decimal(8), unknown=("thoughts",))


def test_a_tier_has_prices_of_its_own_and_an_unknown_one_has_none() -> None:
    table = PriceTable(
        {
            "m": {
                "input": "2",
                "output": "8",
                "service_tiers": {"flex": {"input": "1", "output": "4", "up_to_input_tokens": 100}},
            }
        }
    )

    assert table.cost("m", Usage(input_tokens=100)) == Decimal("0.0002")
    assert table.cost("m", Usage(input_tokens=100, service_tier="flex")) == Decimal("0.0001")
    assert table.cost("m", Usage(input_tokens=101, service_tier="flex")) is None
    assert table.cost("m", Usage(input_tokens=100, service_tier="priority")) is None
    again = pickle.loads(pickle.dumps(table))
    assert again.cost("m", Usage(input_tokens=100, service_tier="flex")) == Decimal("0.0001")
