"""Our own engines keep the contract that third parties test theirs against."""

import httpx2
import pytest

from llmops_sdk.engines import Cached, Engine, MemoryStore, Scripted, SQLiteStore
from llmops_sdk.messages import Response
from llmops_sdk.routers import Router
from llmops_sdk.testing import EngineContract, FaultServer, Hang, Reply


def answer(asked):
    """Answer with as many texts as were asked for, slowly enough to be cancelled."""
    return Reply(text="Hello dear world", delay_s=0.02, chunk_delay_s=0.01)


class _Served(EngineContract):
    @pytest.fixture(autouse=True)
    def _server(self):
        with FaultServer(answer) as server:
            self.server = server
            yield

    def under_way(self):
        return self.server.answering

    def make_failing_engine(self):
        return Engine.open("http://127.0.0.1:9/v1", model="m")


class TestRemote(_Served):
    holds_resources = True

    def make_engine(self):
        return Engine.open(self.server.url, model="test-model")


class TestAnthropic(_Served):
    holds_resources = True
    supports_n = False

    def make_engine(self):
        return Engine.open("anthropic:test-model", base_url=self.server.url, api_key="test")

    def make_failing_engine(self):
        return Engine.open("anthropic:test-model", base_url="http://127.0.0.1:9", api_key="test")


class TestRouter(_Served):
    holds_resources = True

    def make_engine(self):
        engines = [Engine.open(self.server.url, model="test-model", name=name) for name in ("a", "b")]
        return Router(engines, strategy="priority")


class TestCached(_Served):
    """The first answer comes from the server, the others from the memory."""

    holds_resources = True

    def make_engine(self):
        return Cached(Engine.open(self.server.url, model="test-model"))

    def make_failing_engine(self):
        return Cached(super().make_failing_engine())


class TestCachedWhereNothingFits(TestCached):
    """Every answer comes from the server."""

    def make_engine(self):
        return Cached(Engine.open(self.server.url, model="test-model"), MemoryStore(max_bytes=1))


class TestCachedInAFile(TestCached):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.folder = tmp_path

    def make_engine(self):
        store = SQLiteStore(self.folder / "answers.db", timeout_s=30)
        return Cached(Engine.open(self.server.url, model="test-model"), store)


class TestCachedRouter(TestCached):
    def make_engine(self):
        return Cached(TestRouter.make_engine(self))


class TestScripted(EngineContract):
    def make_engine(self):
        return Scripted("Hello dear world", chunk_delay_s=0.01)


class TestSubclass(EngineContract):
    reports_usage = False

    def make_engine(self):
        class Echo(Engine):
            async def agenerate(self, request):
                whole = await Scripted("Hello dear world", chunk_delay_s=0.01).agenerate(request)
                return Response(choices=whole.choices, engine=self.name)

        return Echo()


def test_own_client_is_left_open():
    # The rest of the contract needs an engine that works on several loops, which httpx2's clients do not.
    with FaultServer(Hang()) as server:
        client = httpx2.AsyncClient()
        engine = Engine.open(server.url, model="m", client=client)
        engine.close()
        assert not client.is_closed
