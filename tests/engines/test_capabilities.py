"""What engines say that they can do."""

import pytest

from llmops_sdk.engines import Engine, Scripted
from llmops_sdk.engines._litellm_models import capabilities_in
from llmops_sdk.engines.anthropic import Anthropic
from llmops_sdk.engines.litellm import LiteLLM, _shared
from llmops_sdk.engines.remote import Remote
from llmops_sdk.engines.tensorrt import TensorRT
from llmops_sdk.engines.vllm import VLLM
from llmops_sdk.protocols import Capabilities

UNKNOWN = Capabilities()
SOME = Capabilities(tools=False, context_window=4096)


@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        (Engine(), UNKNOWN),
        (Scripted("a"), UNKNOWN),
        (Scripted("a", capabilities=SOME), SOME),
        (Remote("http://localhost:1/v1", model="m"), UNKNOWN),
        (Remote("http://localhost:1/v1", model="m", capabilities=SOME), SOME),
        (
            Remote("https://api.openai.com/v1", model="m", api_key="x"),
            Capabilities(tools=True, json_schema=True, continues=False),
        ),
        (Remote("https://api.openai.com/v1", model="m", api_key="x", capabilities=SOME), SOME),
        (Anthropic(model="m", api_key="x"), Capabilities(tools=True, images=True)),
        (Anthropic("http://localhost:1", model="m"), UNKNOWN),
        (
            VLLM("model", tool_call_parser="hermes", reasoning_parser="qwen3", max_model_len=2048),
            Capabilities(tools=True, json_schema=True, continues=False, context_window=2048),
        ),
        (VLLM("model"), Capabilities(tools=False, json_schema=True, continues=True)),
        (
            TensorRT("model", max_seq_len=512, guided_decoding_backend=None),
            Capabilities(tools=False, images=False, json_schema=False, continues=False, context_window=512),
        ),
        (
            TensorRT("model"),
            Capabilities(tools=False, images=False, json_schema=True, continues=False),
        ),
    ],
)
def test_engine_says_what_it_can(engine, expected):
    assert engine.capabilities == expected


def test_tensorrt_knows_its_adapters():
    assert "german" not in TensorRT("model").adapters


TABLE = {
    "large": {
        "litellm_provider": "openai",
        "max_input_tokens": 1000,
        "max_output_tokens": 200,
        "supports_function_calling": True,
        "supports_vision": None,
        "supports_response_schema": False,
    },
    "groq/small": {"litellm_provider": "groq", "max_input_tokens": "see the site"},
}


def test_litellm_knows_by_its_own_table():
    known = Capabilities(tools=True, json_schema=False, context_window=1200)
    assert capabilities_in(TABLE, "openai", "large") == known
    assert capabilities_in(TABLE, "azure", "large") == UNKNOWN  # another service's model of that name
    assert capabilities_in(TABLE, "groq", "small") == UNKNOWN
    assert capabilities_in(TABLE, "groq", "none") == UNKNOWN


def test_litellm_is_not_imported_to_know(monkeypatch):
    monkeypatch.setattr(_shared, "library", None)
    engine = LiteLLM("openai/large")
    assert engine.capabilities == UNKNOWN
    monkeypatch.setattr(_shared, "library", type("Library", (), {"model_cost": TABLE}))
    assert engine.capabilities.context_window == 1200
