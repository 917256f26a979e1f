from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import subprocess
import sys
import zipfile
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import llmops_sdk.costs
from llmops_sdk.costs import Price, PriceTable, price_of
from llmops_sdk.costs._table import BuiltIn
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.messages import Usage

_TOKENS = st.integers(0, 10**9)
_AMOUNTS = st.decimals(0, 1000, places=12)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    plain, cached, written, output = (draw(_TOKENS) for _ in range(4))
    return Usage(
        input_tokens=plain + cached + written,
        cached_input_tokens=cached,
        cache_write_tokens=written,
        output_tokens=output,
        reasoning_tokens=draw(st.integers(0, output)),
    )


@given(usage=usages(), amounts=st.tuples(*[_AMOUNTS] * 4))
def test_the_parts_of_a_usage_add_up_to_its_cost_exactly(
    usage: Usage, amounts: tuple[Decimal, Decimal, Decimal, Decimal]
) -> None:
    plain_rate, output_rate, cached_rate, write_rate = amounts
    price = Price(input=plain_rate, output=output_rate, cached_input=cached_rate, cache_write=write_rate)
    plain = usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens
    parts = [
        Usage(input_tokens=plain),
        Usage(input_tokens=usage.cached_input_tokens, cached_input_tokens=usage.cached_input_tokens),
        Usage(input_tokens=usage.cache_write_tokens, cache_write_tokens=usage.cache_write_tokens),
        Usage(output_tokens=usage.output_tokens, reasoning_tokens=usage.reasoning_tokens),
    ]

    costs = [price.cost(part) for part in parts]

    exact = sum(
        (
            Fraction(tokens) * Fraction(rate) / 1_000_000
            for tokens, rate in (
                (plain, plain_rate),
                (usage.cached_input_tokens, cached_rate),
                (usage.cache_write_tokens, write_rate),
                (usage.output_tokens, output_rate),
            )
        ),
        Fraction(0),
    )
    assert Fraction(price.cost(usage)) == sum(map(Fraction, costs)) == exact


def test_an_invoice() -> None:
    usage = Usage(
        input_tokens=10_000,
        cached_input_tokens=6_000,
        cache_write_tokens=1_000,
        output_tokens=500,
        reasoning_tokens=400,
    )
    price = Price(input=Decimal(3), output=Decimal(15), cached_input=Decimal("0.30"), cache_write=Decimal("3.75"))

    # 3,000 x 3 + 6,000 x 0.30 + 1,000 x 3.75 + 500 x 15, per million
    assert price.cost(usage) == Decimal("0.02205")


def test_cache_tokens_without_a_price_of_their_own_cost_what_input_costs() -> None:
    usage = Usage(input_tokens=1_000_000, cached_input_tokens=400_000, cache_write_tokens=100_000)

    assert Price(input=Decimal(2), output=Decimal(8)).cost(usage) == 2


def test_an_amount_of_zero_is_a_price() -> None:
    free = Price(input=Decimal(0), output=Decimal(0), cached_input=Decimal(0))

    assert free.cost(Usage(input_tokens=5, cached_input_tokens=5)) == 0


def test_the_applications_decimal_context_rounds_nothing() -> None:
    price = Price(input=Decimal("1.23456789"), output=Decimal(0))

    with decimal.localcontext(decimal.Context(prec=3)):
        exact = price.cost(Usage(input_tokens=123_457))
    assert Fraction(exact) == Fraction("1.23456789") * 123_457 / 1_000_000


@pytest.mark.parametrize(
    "usage",
    [
        Usage(input_tokens=10, output_tokens=1, estimated=True),
        Usage(input_tokens=10, cached_input_tokens=11),
        Usage(input_tokens=10, cached_input_tokens=6, cache_write_tokens=5),
        Usage(input_tokens=10, service_tier="flex"),
    ],
)
def test_what_cannot_be_known_stays_unknown(usage: Usage) -> None:
    assert Price(input=Decimal(1), output=Decimal(1)).cost(usage) is None


def test_beyond_its_limit_a_price_is_another_or_unknown() -> None:
    dear = Price(input=Decimal(4), output=Decimal(0))
    price = Price(input=Decimal(2), output=Decimal(0), up_to_input_tokens=100, beyond=dear)
    at, over = Usage(input_tokens=100), Usage(input_tokens=101)

    assert (price.cost(at), price.cost(over)) == (Decimal("0.0002"), Decimal("0.000404"))
    assert dataclasses.replace(price, beyond=None).cost(over) is None


@pytest.mark.parametrize("amount", [0.1, True, None, "much", "NaN", "Infinity", "-1", Decimal(-1), [1]])
def test_money_that_is_not_exact_is_refused(amount: object) -> None:
    with pytest.raises(ConfigurationError, match="`input` has to be"):
        PriceTable({"m": {"input": amount, "output": "1"}})


@pytest.mark.parametrize("given", [3, {"input": "1"}, {"input": "1", "output": "2", "cached": "3"}])
def test_a_price_with_the_wrong_fields_is_refused(given: object) -> None:
    with pytest.raises(ConfigurationError, match="the price of 'm' has to be"):
        PriceTable({"m": given})  # type: ignore[dict-item]


def test_a_model_is_found_by_its_name_and_without_its_date() -> None:
    table = PriceTable({"m": {"input": 1, "output": 1}, "m-2025-01-01": {"input": 2, "output": 2}})

    assert table.price("m-2025-01-01").input == 2
    assert table.price("m-2026-02-03") is table.price("m-20260203") is table.price("m")
    for unknown in ("M", "m-mini", "m-2025-01", "m-2025-01-01-x", "x/m", "", "m-2025-01-02-2025-01-01"):
        assert table.price(unknown) is None
        assert table.cost(unknown, Usage(input_tokens=1)) is None


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> PriceTable:
    """The built-in table as it is without LiteLLM."""
    built_in = BuiltIn(None)
    monkeypatch.setattr(BuiltIn, "loaded", staticmethod(lambda: built_in))
    return PriceTable.default().with_prices({})


def test_own_prices_come_first_and_leave_the_table_as_it_was() -> None:
    table = PriceTable.default()
    own = table.with_prices(
        {"gpt-5-mini": {"input": "9", "output": "9"}, "embedded": Price(input=Decimal(0), output=Decimal(0))}
    )
    usage = Usage(input_tokens=1_000_000)

    assert (own.cost("gpt-5-mini", usage), table.cost("gpt-5-mini", usage)) == (9, Decimal("0.25"))
    assert (own.cost("embedded", usage), table.cost("embedded", usage)) == (0, None)
    assert own.cost("gpt-5", usage) == table.cost("gpt-5", usage)


def test_local_models_have_no_price() -> None:
    for model in ("HuggingFaceTB/SmolLM2-135M-Instruct", "smollm2-135m-instruct", "scripted"):
        assert price_of(model, Usage(input_tokens=10, output_tokens=10)) is None


def test_the_small_table_is_dated_and_says_its_source(small: PriceTable) -> None:
    for model in small.models():
        price = small.price(model)
        assert price.as_of == dt.date(2026, 11, 24)
        assert price.source == "litellm 1.106.2 price file"
        assert price.cached_input is None or price.cached_input <= price.input
        assert price.cache_write is None or price.cache_write >= price.input
        assert (price.up_to_input_tokens is None) == (price.beyond is None)


def test_built_in_prices(small: PriceTable) -> None:
    usage = Usage(input_tokens=1_000, cached_input_tokens=400, output_tokens=100)

    # 600 x 0.25 + 400 x 0.025 + 100 x 2, per million
    assert price_of("gpt-5-mini-2025-08-07", usage) == Decimal("0.00036")
    assert price_of("openai/gpt-5-mini", usage) == Decimal("0.00036")
    assert small.cost("azure/gpt-5-mini", usage) is None
    # 600 x 2 + 400 x 0.10 + 100 x 10
    assert price_of("claude-sonnet-5-5", usage) == Decimal("0.00224")
    assert price_of("gpt-4o-2024-05-13", usage) == Decimal("0.0065")  # dearer than the gpt-4o of today


def test_the_default_table_is_read_once() -> None:
    assert PriceTable.default() is PriceTable.default()


def test_the_table_is_read_from_a_zip_file(tmp_path: Path) -> None:
    package = Path(llmops_sdk.costs.__file__).parents[1]
    archive = tmp_path / "application.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        for file in [*package.glob("*.py"), *(package / "costs").rglob("*"), *(package / "calls").rglob("*")]:
            if file.is_file():
                zipped.write(file, Path("llmops_sdk") / file.relative_to(package))
    code = (
        f"import sys; sys.path.insert(0, {str(archive)!r}); import llmops_sdk.costs as costs; "
        "assert '.zip' in costs.__file__, costs.__file__; print(costs.PriceTable.default())"
    )

    found = subprocess.run([sys.executable, "-I", "-c", code], check=True, capture_output=True, text=True)

    assert found.stdout.startswith("<PriceTable ")
