"""Sizes from configs, held against what the makers of the models publish."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmops_sdk.engines._architecture import read_architecture, read_quantisation
from llmops_sdk.errors import ConfigurationError

KNOWN = json.loads(Path(__file__).with_name("checkpoint_configs.json").read_text())
DENSE = KNOWN["Llama-3.1-8B"]["config"]


def kv_numbers(config):
    return sum(layer.kv_values for layer in read_architecture(config, "model").layers)


@pytest.mark.parametrize("name", KNOWN)
def test_parameters_are_those_that_the_makers_publish(name):
    known = KNOWN[name]
    assert read_architecture(known["config"], name).parameters == pytest.approx(known["parameters"], rel=0.002)


@pytest.mark.parametrize("name", [name for name, known in KNOWN.items() if known["active"]])
def test_so_are_those_that_a_token_needs(name):
    # Published with two digits: 37 and 3.3 billion are 37.55 and 3.35.
    architecture = read_architecture(KNOWN[name]["config"], name)
    not_counted = architecture.embedding if name == "gpt-oss-20b" else 0  # its makers leave the embeddings out
    assert architecture.active_parameters - not_counted == pytest.approx(KNOWN[name]["active"], rel=0.02)


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("Llama-3.1-8B", 32 * 2 * 8 * 128),
        ("Phi-3-mini-4k", 32 * 2 * 32 * 96),  # as many KV heads as query heads
        ("DeepSeek-V3", 61 * (512 + 64)),  # one compressed vector for all heads
        ("Gemma-3-27B", 62 * 2 * 16 * 128),
    ],
)
def test_the_kv_cache_of_a_token_is_that_of_the_paper(name, numbers):
    assert kv_numbers(KNOWN[name]["config"]) == numbers


def test_one_kv_head_for_all_queries_is_counted_once():
    assert kv_numbers({**DENSE, "num_key_value_heads": 1}) == 32 * 2 * 128
    assert kv_numbers({**DENSE, "multi_query": True}) == 32 * 2 * 128


@pytest.mark.parametrize(
    ("name", "windows"),
    [
        ("Mistral-7B-v0.1", [4096] * 32),
        ("Mixtral-8x7B", [None] * 32),
        ("Gemma-2-9B", [4096, None] * 21),
        ("Gemma-3-27B", ([1024] * 5 + [None]) * 10 + [1024] * 2),
        ("gpt-oss-20b", [128, None] * 12),
        ("Qwen2.5-7B", [None] * 28),  # use_sliding_window is false
    ],
)
def test_each_layer_has_its_own_window(name, windows):
    assert [layer.window for layer in read_architecture(KNOWN[name]["config"], name).layers] == windows


def test_the_first_layers_of_deepseek_have_no_experts():
    layers = read_architecture(KNOWN["DeepSeek-V3"]["config"], "model").layers
    assert [layer.experts for layer in layers[:5]] == [0, 0, 0, 256, 256]


@pytest.mark.parametrize(
    "field", ["hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size", "intermediate_size"]
)
def test_a_missing_field_is_named(field):
    config = {name: value for name, value in DENSE.items() if name != field}
    with pytest.raises(ConfigurationError, match=f"my-model lacks `{field}`"):
        read_architecture(config, "my-model")


@pytest.mark.parametrize("value", [0, -1, "4096", 1.5, True, [1]])
def test_an_impossible_number_is_named(value):
    with pytest.raises(ConfigurationError, match="`hidden_size` has to be a whole number"):
        read_architecture({**DENSE, "hidden_size": value}, "model")


def test_an_unknown_family_is_read_as_a_llama_and_says_so():
    architecture = read_architecture({**DENSE, "model_type": "new_thing"}, "model")
    assert architecture.parameters == read_architecture(DENSE, "model").parameters
    assert any("'new_thing' is not known" in text for text in architecture.assumptions)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"layer_types": ["linear_attention", "full_attention"] * 16}, "linear_attention"),
        ({"layer_types": ["full_attention"]}, "1 `layer_types` for 32 layers"),
        ({"mamba_d_state": 16}, "mamba_d_state"),
        ({"num_attention_heads": 30}, "`head_dim`"),
        ({"torch_dtype": "int3"}, "int3"),
        ({"num_local_experts": 2, "num_experts_per_tok": 3}, "3 of 2 experts"),
    ],
    ids=str,
)
def test_what_cannot_be_planned_is_refused(fields, says):
    with pytest.raises(ConfigurationError, match=says):
        read_architecture({**DENSE, **fields}, "model")


@pytest.mark.parametrize(
    ("config", "name", "bits"),
    [
        ({"quant_method": "fp8"}, "fp8", 8),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8", 8 + 32 / 128**2),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, "awq", 4.15625),
        ({"quant_method": "gptq", "bits": 8, "group_size": -1}, "gptq", 8),
        ({"quant_method": "mxfp4"}, "mxfp4", 4.25),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "nvfp4", 4.5),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"g": {"weights": {"num_bits": 4, "type": "int", "group_size": 128}}},
            },
            "int4",
            4.15625,
        ),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes 4 bit", 4.5),
    ],
    ids=str,
)
def test_quantised_checkpoints_are_recognised(config, name, bits):
    found = read_quantisation({**DENSE, "quantization_config": config}, "model")
    assert (found.name, found.bits) == (name, bits)


def test_an_unknown_quantisation_is_refused():
    with pytest.raises(ConfigurationError, match="'crystal' is not known"[1:-1].replace("' is", "'.* is")):
        read_quantisation({"quantization_config": {"quant_method": "crystal"}}, "model")


def test_parts_that_are_not_quantised_are_seen():
    found = read_quantisation(KNOWN["gpt-oss-20b"]["config"], "model")
    assert (found.attention, found.dense) == (False, True)
