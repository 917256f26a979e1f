"""What is said about adapters before vLLM is started."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmops_sdk.engines._vllm_adapters import Adapters
from llmops_sdk.engines.vllm import VLLM
from llmops_sdk.errors import BadRequestError, ConfigurationError, NotFoundError
from llmops_sdk.messages import Message, Request


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_adapters": 0}, "max_adapters has to be a whole number of at least 1"),
        ({"max_adapters": 2, "max_lora_rank": 24}, "max_lora_rank has to be one of 1, 8, 16"),
        ({"max_lora_rank": 8}, "give `adapters=` or `max_adapters=`"),
        ({"adapters": {"": "lora"}}, "name has to be a text"),
        ({"adapters": {"a": ""}}, "needs the path"),
        ({"adapters": {"a": "lora"}, "task": "embed"}, "takes none"),
        ({"engine_args": {"max_loras": 3}}, "'max_loras' follows from `adapters`"),
        ({"task": "embedding"}, "task has to be one of 'generate', 'embed', 'classify', not 'embedding'"),
    ],
)
def test_an_impossible_option_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        VLLM("./model", **options)


async def test_an_unknown_adapter_is_refused_before_anything_starts() -> None:
    question = Request(messages=(Message.user("Hello"),), adapter="pirat")
    with pytest.raises(NotFoundError, match="did you mean 'pirate'"):
        await VLLM("./model", adapters={"pirate": "./pirate"}).agenerate(question)
    with pytest.raises(BadRequestError, match=r"opened without adapters, .* `adapters=\{'pirat': PATH\}`"):
        await VLLM("./model").agenerate(question)
    with pytest.raises(ConfigurationError, match="max_adapters=N"):
        await VLLM("./model").aload_adapter("pirate", "./pirate")


def adapters(paths: dict[str, Path], **options: Any) -> Adapters:
    return Adapters(paths, **{"most": None, "max_rank": None, "engine": "vllm", "model": "tiny", **options})


def test_vllm_gets_one_slot_more_on_a_cpu(tmp_path: Path, write_lora: Callable[..., Path]) -> None:
    paths = {name: write_lora(tmp_path / name, rank=rank) for name, rank in (("a", 4), ("b", 9))}
    on_cpu = adapters(paths).engine_arguments(None, on_cpu=True)
    assert on_cpu == {"enable_lora": True, "max_loras": 3, "max_cpu_loras": 3, "max_lora_rank": 16}
    on_gpu = adapters(paths, most=1, max_rank=64).engine_arguments(None, on_cpu=False)
    assert on_gpu == {"enable_lora": True, "max_loras": 1, "max_cpu_loras": 1, "max_lora_rank": 64}
    assert adapters({}).engine_arguments(None, on_cpu=True) == {}


def test_an_adapter_of_another_base_is_refused_before_vllm_starts(
    tmp_path: Path, write_lora: Callable[..., Path]
) -> None:
    lora = write_lora(tmp_path / "lora")
    base = tmp_path / "base"
    base.mkdir()
    (base / "model.safetensors").write_bytes((lora / "adapter_model.safetensors").read_bytes())
    with pytest.raises(ConfigurationError, match="which this base model does not have"):
        adapters({"pirate": lora}).engine_arguments(base, on_cpu=True)


def test_records_are_there_before_the_start() -> None:
    engine = VLLM("./model", adapters={"pirate": "./pirate"})
    record = engine.adapters["pirate"]
    assert (record.path, record.rank, record.loaded) == ("./pirate", 0, False)
