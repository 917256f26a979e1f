"""The real vLLM keeps the contract of engines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from llmops_sdk.engines import Engine
from llmops_sdk.engines.vllm import VLLM
from llmops_sdk.messages import Message, Request
from llmops_sdk.testing import EngineContract

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("default"),  # importing torch and vLLM warns of their own parts
]


def opened() -> VLLM:
    engine = Engine.open("embedded:", cpu_threads=1, kv_cache_gib=0.25)
    assert isinstance(engine, VLLM)
    return engine


@pytest.fixture(scope="module")
def shared(one_vllm: object, model_cache: Path) -> Iterator[VLLM]:
    engine = opened()
    engine.start()
    yield engine
    engine.close()


class TestVLLM(EngineContract):
    holds_resources = True
    patience_s = 200.0

    @pytest.fixture(autouse=True)
    def _shared(self, shared: VLLM) -> None:
        self.shared = shared

    def shared_engine(self) -> VLLM:
        return self.shared

    def make_engine(self) -> VLLM:
        return opened()

    def make_request(self) -> Request:
        # Greedily, as the embedded model answers by default, vLLM gives one answer only.
        return Request(messages=(Message.user("Say hello."),), max_tokens=16, temperature=0.5, seed=1)

    def make_failing_engine(self) -> VLLM:
        return VLLM("./no-such-folder")

    def make_bad_request(self) -> Request:
        return Request(messages=(Message.user("Hello"),), temperature=-1.0)

    def under_way(self) -> int:
        core = self.shared._core
        return 0 if core is None else int(core.get_num_unfinished_requests())
