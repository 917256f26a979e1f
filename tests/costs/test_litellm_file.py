"""LiteLLM's price file: what is read from it, and what is left unknown."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from llmops_sdk.costs import Price, PriceTable
from llmops_sdk.costs._litellm_file import LiteLLMFile
from llmops_sdk.costs._table import BuiltIn
from llmops_sdk.messages import Usage

FILE = """{
  "sample_spec": {"input_cost_per_token": 0.0, "litellm_provider": "one of", "mode": "one of: chat"},
  "gpt-x": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e-07,
    "output_cost_per_token": 4e-07, "cache_read_input_token_cost": 2.5e-08,
    "input_cost_per_token_flex": 5e-08, "output_cost_per_token_flex": 2e-07,
    "input_cost_per_token_batches": 5e-08, "output_cost_per_token_batches": 2e-07,
    "cache_read_input_token_cost_batches": 1.25e-08, "search_context_cost_per_query": {"low": 0.01}},
  "ft:gpt-x": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 6e-07,
    "output_cost_per_token": 8e-07},
  "azure/gpt-x": {"litellm_provider": "azure", "mode": "chat", "input_cost_per_token": 3e-07,
    "output_cost_per_token": 4e-07},
  "claude-x": {"litellm_provider": "anthropic", "mode": "chat", "input_cost_per_token": 3e-06,
    "output_cost_per_token": 1.5e-05, "cache_creation_input_token_cost": 3.75e-06,
    "cache_creation_input_token_cost_above_1hr": 6e-06, "cache_read_input_token_cost": 3e-07,
    "provider_specific_entry": {"us": 1.1}},
  "anthropic.claude-x-v1:0": {"litellm_provider": "bedrock_converse", "mode": "chat", "input_cost_per_token": 3e-06,
    "output_cost_per_token": 1.5e-05},
  "us.anthropic.claude-x-v1:0": {"litellm_provider": "bedrock_converse", "mode": "chat",
    "input_cost_per_token": 3.3e-06, "output_cost_per_token": 1.65e-05},
  "gemini/long": {"litellm_provider": "gemini", "mode": "chat", "input_cost_per_token": 1.25e-06,
    "output_cost_per_token": 1e-05, "cache_read_input_token_cost": 1.25e-07, "input_cost_per_audio_token": 2e-06,
    "output_cost_per_reasoning_token": 1e-05, "input_cost_per_token_above_200k_tokens": 2.5e-06,
    "output_cost_per_token_above_200k_tokens": 1.5e-05, "cache_read_input_token_cost_above_200k_tokens": 2.5e-07},
  "long": {"litellm_provider": "vertex_ai-language-models", "mode": "chat", "input_cost_per_token": 9e-06,
    "output_cost_per_token": 9e-06},
  "dashscope/steps": {"litellm_provider": "dashscope", "mode": "chat", "tiered_pricing": [
    {"range": [0, 256000.0], "input_cost_per_token": 5e-08, "output_cost_per_token": 4e-07},
    {"range": [256000.0, 1000000.0], "input_cost_per_token": 2.5e-07, "output_cost_per_token": 2e-06}]},
  "embed": {"litellm_provider": "openai", "mode": "embedding", "input_cost_per_token": 2e-08,
    "output_cost_per_token": 0.0},
  "free": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 0, "output_cost_per_token": 0.0},
  "half": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e-06, "output_cost_per_token": 0.0},
  "by-the-second": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e-06,
    "output_cost_per_token": 1e-06, "input_cost_per_second": 0.0001},
  "sonar": {"litellm_provider": "perplexity", "mode": "chat", "input_cost_per_token": 1e-06,
    "output_cost_per_token": 1e-06, "search_context_cost_per_query": {"low": 0.005}},
  "painter": {"litellm_provider": "openai", "mode": "image_generation", "input_cost_per_token": 1e-06,
    "output_cost_per_token": 1e-06}
}"""


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PriceTable]:
    path = tmp_path / "prices.json"
    path.write_text(FILE)
    built_in = BuiltIn(LiteLLMFile(path, "9.9.9"))
    monkeypatch.setattr(BuiltIn, "loaded", staticmethod(lambda: built_in))
    return PriceTable.default().with_prices({})


def _price(table: PriceTable, model: str, provider: str | None = None) -> Price:
    price = table.price(model, provider=provider)
    assert price is not None
    return price


def test_amounts_are_read_exactly_and_say_where_they_are_from(table: PriceTable) -> None:
    price = _price(table, "gpt-x")

    assert (price.input, price.output, price.cached_input) == (Decimal("0.1"), Decimal("0.4"), Decimal("0.025"))
    assert price.source == "litellm 9.9.9 model_prices_and_context_window"
    assert price.as_of is None


def test_the_provider_decides_whose_price_it_is(table: PriceTable) -> None:
    assert _price(table, "gpt-x", "openai").input == Decimal("0.1")
    assert _price(table, "gpt-x", "azure.ai.openai").input == _price(table, "azure/gpt-x").input == Decimal("0.3")
    assert _price(table, "long", "gcp.gemini").input == Decimal("1.25")
    assert _price(table, "long", "gcp.vertex_ai").input == 9
    for elsewhere in ("groq", "mistral_ai", "vllm", "in_process", "openai_compatible", "our-own-gateway"):
        assert table.price("gpt-x", provider=elsewhere) is None
    own = table.with_prices({"gpt-x": {"input": "7", "output": "7"}})
    assert all(_price(own, "gpt-x", who).input == 7 for who in (None, "openai", "vllm", "our-own-gateway"))
    asked = table.with_prices({"our-deployment": {"input": "7", "output": "7"}})
    assert asked.price("gpt-x", asked="our-deployment", provider="openai").input == 7  # type: ignore[union-attr]


def test_a_region_of_bedrock_has_its_own_price(table: PriceTable) -> None:
    assert _price(table, "anthropic.claude-x-v1:0", "aws.bedrock").input == 3
    assert _price(table, "converse/us.anthropic.claude-x-v1:0", "aws.bedrock").input == Decimal("3.3")
    assert table.price("eu.anthropic.claude-x-v1:0", provider="aws.bedrock") is None


def test_names_are_found_with_provider_date_and_fine_tuning(table: PriceTable) -> None:
    price = table.price("gpt-x")

    for name in ("openai/gpt-x", "gpt-x-2026-01-02"):
        assert table.price(name, provider="openai") == price
    assert _price(table, "ft:gpt-x:our-team::id", "openai").input == Decimal("0.6")
    assert table.price("deployment-7", asked="gpt-x", provider="openai") == price
    assert table.price("gpt-x", asked="claude-x", provider="openai") == price


def test_an_hour_and_five_minutes_in_the_cache_are_different_prices(table: PriceTable) -> None:
    five = Usage(input_tokens=1_000_000, cache_write_tokens=1_000_000)
    hour = Usage(input_tokens=1_000_000, cache_write_tokens=1_000_000, cache_write_1h_tokens=1_000_000)

    assert table.cost("claude-x", five) == Decimal("3.75")
    assert table.cost("claude-x", hour) == 6
    assert table.cost("claude-x", Usage(input_tokens=1_000_000, service_tier="us")) == Decimal("3.3")


def test_beyond_a_threshold_every_token_costs_the_other_price(table: PriceTable) -> None:
    usage = Usage(input_tokens=200_001, cached_input_tokens=1, output_tokens=1)

    assert table.cost("gemini/long", usage) == (200_000 * Decimal("2.5") + Decimal("0.25") + 15) / 1_000_000
    assert table.cost("dashscope/steps", Usage(input_tokens=256_000)) == Decimal("0.0128")
    assert table.cost("dashscope/steps", Usage(input_tokens=300_000)) == Decimal("0.075")


def test_a_class_that_only_the_standard_price_has_is_unknown_elsewhere(table: PriceTable) -> None:
    loud = Usage(input_tokens=100, audio_input_tokens=100)

    assert table.cost("gemini/long", loud) == Decimal("0.0002")
    assert table.cost("gemini/long", Usage(input_tokens=200_001, audio_input_tokens=100)) is None
    assert table.cost("gpt-x", Usage(input_tokens=100, service_tier="flex")) == Decimal("0.000005")
    assert table.cost("gpt-x", Usage(input_tokens=100, cached_input_tokens=1, service_tier="flex")) is None
    assert table.cost("gpt-x", Usage(input_tokens=100, cached_input_tokens=100, service_tier="batch")) is not None
    assert table.cost("gpt-x", Usage(input_tokens=100, service_tier="priority")) is None


@pytest.mark.parametrize("model", ["sample_spec", "free", "by-the-second", "sonar", "painter"])
def test_what_is_no_price_of_tokens_is_none(table: PriceTable, model: str) -> None:
    assert table.cost(model, Usage(input_tokens=10)) is None


def test_a_zero_beside_other_amounts_is_unknown_except_for_embeddings(table: PriceTable) -> None:
    assert table.cost("half", Usage(input_tokens=1_000_000)) == 1
    assert table.cost("half", Usage(input_tokens=1, output_tokens=1)) is None
    assert table.cost("embed", Usage(input_tokens=1_000_000)) == Decimal("0.02")


def test_the_small_table_fills_in_what_litellm_does_not_know(table: PriceTable) -> None:
    assert _price(table, "gpt-5-mini", "openai").source == "litellm 1.106.2 price file"
    assert "claude-x" in table.models()
    assert "openai/gpt-5-mini" in table.models()


def test_tables_travel_without_the_built_in_prices(table: PriceTable) -> None:
    own = table.with_prices({"m": {"input": "1", "output": "2"}})

    assert len(pickle.dumps(own)) < 2_000
    again = pickle.loads(pickle.dumps(own))
    assert again.price("m") == own.price("m")
    assert again.price("gpt-x") == own.price("gpt-x")
    assert pickle.loads(pickle.dumps(PriceTable.default())) is PriceTable.default()


def test_names_from_outside_do_not_fill_the_memory(table: PriceTable) -> None:
    for number in range(25_000):
        table.price(f"made-up-{number}", provider="openai")

    assert len(table._found) <= 10_000


def test_the_installed_file_is_found_without_importing_litellm(tmp_path: Path) -> None:
    package = tmp_path / "litellm"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "model_prices_and_context_window_backup.json").write_text(FILE)
    metadata = tmp_path / "litellm-9.9.9.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: litellm\nVersion: 9.9.9\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.modules.pop('litellm', None); "
        "from llmops_sdk.costs import PriceTable; table = PriceTable.default(); "
        "assert table.price('gpt-x', provider='vllm') is None; "
        "from llmops_sdk.costs._table import BuiltIn; assert BuiltIn.loaded.cache_info().currsize == 0; "
        "print(table.price('gpt-x', provider='openai').source, 'litellm' in sys.modules)"
    )

    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert found.stdout == "litellm 9.9.9 model_prices_and_context_window False\n"


def test_every_entry_of_the_installed_file_is_read() -> None:
    file = LiteLLMFile.installed()
    if file is None:
        pytest.skip("LiteLLM is not installed")
    small = BuiltIn(None)

    assert sum(file.price(None, model) is not None for model in file.models()) > 2_000
    for provider, model in small._small:
        theirs, ours = file.price(provider, model), small.price(provider, model)
        if provider is not None and theirs is not None and file.source.startswith("litellm 1.106.2 "):
            assert (theirs.input, theirs.output, theirs.cached_input) == (ours.input, ours.output, ours.cached_input)  # type: ignore[union-attr]
