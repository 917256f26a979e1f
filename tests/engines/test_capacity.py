"""Plans: arithmetic that can be done by hand, and laws that every plan obeys."""

from __future__ import annotations

import io
import itertools
import json
import re
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from llmops_sdk.costs import Price
from llmops_sdk.engines import Plan, plan
from llmops_sdk.engines.vllm import VLLM
from llmops_sdk.errors import ConfigurationError, MissingDependencyError, NotFoundError

KNOWN = json.loads(Path(__file__).with_name("checkpoint_configs.json").read_text())
LLAMA = KNOWN["Llama-3.1-8B"]["config"]
GIB = 2**30


def planned(name, **options) -> Plan:
    return plan(KNOWN[name]["config"], **{"hardware": "H100-80GB", **options})


def test_a_dense_model_is_planned_as_by_hand():
    made = planned("Llama-3.1-8B", concurrency=32)
    assert made.weights == made.storage == 2 * made.parameters
    assert made.kv_per_token == 32 * 2 * 8 * 128 * 2
    assert made.kv_per_request == made.kv_per_token * 8192
    assert made.kv_cache_tokens // 16 * 16 == made.kv_cache_tokens
    assert made.max_requests == made.kv_cache_tokens // 8192
    assert made.kv_cache_per_device // made.kv_per_token - made.kv_cache_tokens < 16
    assert made.fits
    assert made.verdict.startswith("fits: 32 requests of 8,192 tokens on 1 x H100-80GB-SXM")
    # One alone: the weights (without the table of embeddings) and its KV cache go through 3,350 GB/s.
    read = made.weights - 2 * 128256 * 4096 + made.kv_per_token * (8192 - 512 / 2)
    assert made.decode_tokens_per_s_alone == pytest.approx(3350e9 / read, rel=1e-3)
    # A prompt: two operations for each weight and token, at 989 TFLOPS, and those of the attention.
    per_token = 2 * (made.parameters - 2 * 128256 * 4096) + 2 * 32 * 32 * 256 * 7681 / 2
    assert made.prefill_tokens_per_s == pytest.approx(989e12 / per_token, rel=1e-3)
    assert made.load_s == made.storage / 2e9


def test_blocks_are_whole():
    made = planned("Llama-3.1-8B", context=17)
    assert made.kv_per_request == 32 * made.kv_per_token
    assert made.max_requests == made.kv_cache_tokens // 32


def test_prompts_take_their_time_from_the_answers():
    made = planned("Llama-3.1-8B", context=8192, answer_tokens=16, concurrency=32)
    answers = made.prefill_tokens_per_s * 16 / (8192 - 16)
    assert 0.9 * answers < made.output_tokens_per_s < answers < made.decode_tokens_per_s / 10


def test_layers_with_a_window_keep_no_more_than_it():
    short, long = planned("Mistral-7B-v0.1", context=4096), planned("Mistral-7B-v0.1", context=32768)
    assert short.kv_per_request == long.kv_per_request
    mixed = planned("gpt-oss-20b", context=8192)
    assert mixed.kv_per_request == mixed.kv_per_token // 24 * (12 * 8192 + 12 * 128)


def test_compressed_attention_is_kept_whole_on_each_device():
    made = planned("DeepSeek-V3", hardware="H200 x 8", concurrency=1)
    assert made.tensor_parallel == 8
    assert made.kv_per_token == 61 * 576 * 2
    assert made.kv_cache_tokens == made.kv_cache_per_device // (made.kv_per_token * 16) * 16


def test_quantised_parts_are_smaller_and_the_others_are_not():
    # The published gpt-oss-20b checkpoint has 13.76 GB: experts at 4.25 bits, all else at 16.
    assert planned("gpt-oss-20b").weights == pytest.approx(13.76e9, rel=0.01)
    # DeepSeek-V3 without its draft layer: experts and projections at 8 bits.
    assert planned("DeepSeek-V3", hardware="H200 x 8").weights == pytest.approx(673e9, rel=0.01)
    made = planned("Llama-3.1-8B", quantisation="int4")
    assert made.storage == planned("Llama-3.1-8B").storage  # the files are not quantised yet
    assert made.weights == pytest.approx(2 * 2 * 128256 * 4096 + (8.03e9 - 2 * 128256 * 4096) * 4.15625 / 8, rel=0.01)


def test_of_experts_those_are_read_that_tokens_are_sent_to():
    alone = planned("Mixtral-8x7B", hardware="H100 x 4", concurrency=1, context=64)
    # Two of eight experts: not more than the 12.9 billion parameters that a token needs.
    assert alone.decode_tokens_per_s_alone >= 3350e9 * alone.tensor_parallel / (2 * alone.active_parameters)
    many = planned("Mixtral-8x7B", hardware="H100 x 4", concurrency=256, context=64)
    step = 256 / many.decode_tokens_per_s
    assert step >= 0.99 * (many.weights - 2 * 2 * 32000 * 4096) / (3350e9 * many.tensor_parallel)


def test_the_fewest_devices_that_suffice_are_taken():
    made = planned("Llama-3.1-70B", hardware="H100 x 8", concurrency=16)
    fewer = planned("Llama-3.1-70B", hardware=f"H100 x {made.tensor_parallel - 1}", concurrency=16)
    assert (made.fits, fewer.fits) == (True, False)
    assert made.tensor_parallel in (2, 4, 8)
    assert f"{made.tensor_parallel} x H100-80GB-SXM" in fewer.verdict


def test_heads_are_never_cut():
    for tensor in (3, 5, 6, 7):
        with pytest.raises(ConfigurationError, match="never cut"):
            planned("Llama-3.1-8B", hardware="H100 x 8", tensor_parallel=tensor)
    assert planned("Llama-3.1-8B", hardware="H100 x 8", tensor_parallel=2, pipeline_parallel=3).pipeline_parallel == 3


def test_more_devices_than_kv_heads_keep_copies_of_them():
    narrow = plan({**LLAMA, "num_key_value_heads": 2}, hardware="H100 x 8", tensor_parallel=8)
    two = plan({**LLAMA, "num_key_value_heads": 2}, hardware="H100 x 8", tensor_parallel=2)
    per_token = [made.kv_cache_per_device / made.kv_cache_tokens for made in (narrow, two)]
    assert per_token[0] == pytest.approx(per_token[1], rel=0.01)


def test_what_does_not_fit_says_what_would_help():
    made = planned("Llama-3.1-8B", hardware="T4")
    assert not made.fits
    assert made.max_requests == 0
    assert made.decode_tokens_per_s is None
    assert made.usd_per_million_tokens is None
    assert "needs" in made.verdict
    half = planned("Llama-3.1-8B", concurrency=100)
    assert half.max_requests > 0
    assert f"concurrency={half.max_requests}" in half.verdict
    for advice in ({"concurrency": half.max_requests}, {"kv_cache_dtype": "fp8"}, {"hardware": "H100 x 2"}):
        assert planned("Llama-3.1-8B", **{"concurrency": 100, **advice}).fits, advice


@pytest.mark.parametrize("name", ["Llama-3.1-8B", "Gemma-2-9B", "Mistral-7B-v0.1", "gpt-oss-20b", "Gemma-3-27B"])
def test_a_shorter_context_is_advised_only_where_it_suffices(name):
    made = planned(name, concurrency=300, context=8192 if name != "gpt-oss-20b" else 131072)
    assert not made.fits
    advised = re.search(r"context=([\d,]+)", made.verdict)
    if advised is not None:
        assert planned(name, concurrency=300, context=int(advised[1].replace(",", ""))).fits


def test_prices_are_exact_and_compared():
    gpt = Price(input=Decimal("0.25"), output=Decimal(2))
    made = planned("Llama-3.1-8B", usd_per_hour="3.00", api_prices={"api": gpt}, concurrency=32)
    hourly = made.output_tokens_per_s * 16 * 3600
    assert made.usd_per_hour == Decimal("3.00")
    assert float(made.usd_per_million_tokens) == pytest.approx(3e6 / hourly, rel=1e-3)
    (api,) = made.apis
    assert api.usd_per_million_tokens == Decimal("0.3594")  # 15/16 at 0.25 and 1/16 at 2
    assert api.break_even == pytest.approx(float(made.usd_per_million_tokens) / 0.3594)
    assert len(made.sources) == 1  # the price is not the table's


def test_a_price_that_is_not_known_stays_unknown():
    made = planned("Llama-3.1-8B", hardware="MI300X", api_prices={"api": Price(input=Decimal(1), output=Decimal(1))})
    assert made.usd_per_hour is None
    assert made.usd_per_million_tokens is None
    assert made.apis[0].break_even is None
    assert "not known" in str(made)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"context": 0}, "`context`"),
        ({"context": 8192.0}, "`context`"),
        ({"context": 200_000}, "131,072 tokens"),
        ({"concurrency": 0}, "`concurrency`"),
        ({"answer_tokens": 8192}, "`answer_tokens`"),
        ({"quantisation": "int5"}, "int5"),
        ({"dtype": "bf16"}, "dtype='bf16'"),
        ({"kv_cache_dtype": "int4"}, "kv_cache_dtype"),
        ({"kv_cache_gib": 0}, "kv_cache_gib"),
        ({"gpu_memory_utilization": 1.1}, "gpu_memory_utilization"),
        ({"usd_per_hour": 2.5}, "write '2.50'"),
        ({"usd_per_hour": "much"}, "'much'"),
        ({"api_prices": {"x": None}}, "'x'"),
        ({"hardware": "H101"}, "did you mean"),
    ],
    ids=str,
)
def test_an_impossible_argument_is_named(options, says):
    with pytest.raises(ConfigurationError, match=says):
        planned("Llama-3.1-8B", **options)


def test_a_quantised_checkpoint_is_not_quantised_again():
    with pytest.raises(ConfigurationError, match="quantised already"):
        planned("DeepSeek-V3", quantisation="int4")


def test_folders_are_read_from_their_headers(tmp_path):
    config = {**LLAMA, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config |= {"num_key_value_heads": 1, "vocab_size": 10, "torch_dtype": "float32"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    formula = plan(tmp_path, hardware="L4")
    assert formula.counted_from == "formula"
    header = json.dumps({"w": {"dtype": "F32", "shape": [1000], "data_offsets": [0, 4000]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4000))
    made = plan(str(tmp_path), hardware="L4")
    assert (made.parameters, made.counted_from) == (1000, "safetensors headers")
    assert (made.storage, made.weights) == (4000, 2000)  # float32 is loaded as 16 bits
    assert any("1,000 parameters" in text for text in made.assumptions)
    assert plan(str(tmp_path), hardware="L4", dtype="float32").weights == 4000


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(NotFoundError, match="nowhere"):
        plan(tmp_path / "nowhere")
    with pytest.raises(ConfigurationError, match=r"no config\.json"):
        plan(tmp_path)


def test_multimodal_models_say_what_is_not_counted():
    assert any("vision" in text for text in planned("Gemma-3-27B", hardware="B200").assumptions)


@given(
    name=st.sampled_from(sorted(KNOWN)),
    hardware=st.sampled_from(["L4 x 8", "H100 x 8", "B200", "A100 x 3", "T4"]),
    context=st.integers(2, 4096),
    concurrency=st.integers(1, 2000),
)
@settings(max_examples=60, deadline=None)
def test_every_plan_obeys_the_laws(name, hardware, context, concurrency):
    made = planned(name, hardware=hardware, context=context, concurrency=concurrency)
    assert made.fits == (made.max_requests >= concurrency)
    assert made.verdict.startswith("fits" if made.fits else "does not fit")
    used = made.weights_per_device + made.activations_per_device + made.overhead_per_device + made.kv_cache_per_device
    assert made.max_requests == 0 or used <= made.device_memory * 0.92 + 1
    assert made.weights_per_device * made.tensor_parallel * made.pipeline_parallel >= 0.99 * made.weights
    decode = [load.decode_tokens_per_s for load in made.loads]
    for fewer, more in itertools.pairwise(decode):
        assert more >= fewer * (1 - 1e-9)  # more at once are never slower together
    assert all(load.output_tokens_per_s <= load.decode_tokens_per_s * 1.0001 for load in made.loads)
    assert json.loads(json.dumps(made.to_dict()))["max_requests"] == made.max_requests
    assert made.verdict in str(made)
    shorter = planned(name, hardware=hardware, context=max(context // 2, 2), concurrency=concurrency)
    assert shorter.kv_per_request <= made.kv_per_request


def test_a_plan_shows_itself():
    made = planned("Llama-3.1-8B", api_prices={"<api>": Price(input=Decimal(1), output=Decimal(1))})
    for text in ("KV cache of a token", "128.0 KiB", "8.03 B", "at most", "assumed:", "source:"):
        assert text in str(made)
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    console.print(made)
    assert "\x1b[" in console.file.getvalue()
    assert "128.0 KiB" in console.file.getvalue()
    html = made._repr_html_()
    assert "&lt;api&gt;" in html
    assert "<api>" not in html
    drawings = [part.partition("</svg>")[0] + "</svg>" for part in html.split("<svg")[1:]]
    bar, plot = (ElementTree.fromstring("<svg" + drawing) for drawing in drawings)  # well-formed XML
    assert len(bar.findall("rect")) == 9
    assert len(plot.findall("polyline")) == 2


def test_a_plan_becomes_options_of_the_engine():
    options = planned("Llama-3.1-70B", hardware="H100 x 8", concurrency=16).engine_options()
    assert options == {"max_model_len": 8192, "max_num_seqs": 16, "tensor_parallel_size": 4}
    assert VLLM("./model", **options).context_window == 8192


def test_a_name_on_the_hub_needs_the_library_of_the_hub():
    try:
        import huggingface_hub  # noqa: F401
    except ModuleNotFoundError:
        with pytest.raises(MissingDependencyError, match=r"llmops-sdk\[hub\]"):
            plan("someone/some-model", hardware="L4")
