"""What tests of several rooms need: a real Redis, on a free port, in memory only; vocabularies; runs of every kind."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmops_sdk.engines._orphans import EndWithMe

PROGRAMS = ("redis-server", "valkey-server")


class RedisServer:
    """A server that a test may stop, kill and start again, on the same port."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._watch: EndWithMe | None = None
        self.port = _free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> RedisServer:
        program = next(filter(None, map(shutil.which, PROGRAMS)), None)
        if program is None:
            pytest.skip("needs the program redis-server (or valkey-server): `apt-get install redis-server`")
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)]
        self._process = subprocess.Popen([program, *options, *self._options], stdout=subprocess.DEVNULL)
        self._watch = EndWithMe([self._process.pid])  # also where the tests themselves are killed
        end = time.monotonic() + 20
        while self.said(b"PING\r\n") != b"+PONG\r\n":
            if self._process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise RuntimeError("the Redis server did not start")
            time.sleep(0.02)
        return self

    def said(self, command: bytes) -> bytes:
        """What it answers; nothing where it does not listen."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(command)
                return connection.recv(10_000)
        except OSError:
            return b""

    def halt(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
        if self._watch is not None:
            self._watch.cancel()
        self._process = self._watch = None


def _free_port() -> int:
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port < 55_000:  # a node of a cluster also listens 10,000 higher
            return port


def _running(folder: Path, *options: str) -> Iterator[RedisServer]:
    server = RedisServer(folder, *options)
    try:
        yield server.start()
    finally:
        server.kill()


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of the test's own."""
    yield from _running(tmp_path)


@pytest.fixture(scope="session")
def _shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    yield from _running(tmp_path_factory.mktemp("redis"))


@pytest.fixture
def redis_url(_shared_redis: RedisServer) -> str:
    """The URL of an empty Redis."""
    _shared_redis.said(b"FLUSHALL\r\n")
    _shared_redis.said(b"SCRIPT FLUSH\r\n")
    return _shared_redis.url


@pytest.fixture
def redis_cluster_url(tmp_path: Path) -> Iterator[str]:
    """The URL of a cluster of one node, which refuses whatever spans two slots."""
    for server in _running(tmp_path, "--cluster-enabled", "yes"):
        for first in range(0, 16_384, 1_024):
            slots = b" ".join(b"%d" % slot for slot in range(first, first + 1_024))
            assert server.said(b"CLUSTER ADDSLOTS " + slots + b"\r\n") == b"+OK\r\n"
        end = time.monotonic() + 20
        while b"cluster_state:ok" not in server.said(b"CLUSTER INFO\r\n"):
            assert time.monotonic() < end
            time.sleep(0.02)
        yield server.url


@pytest.fixture
def vocabularies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of tiktoken that holds the vocabularies which come with LiteLLM, and nothing else."""
    import litellm

    from llmops_sdk.tokens._vocabularies import is_at_hand

    source = Path(litellm.__file__).parent / "litellm_core_utils" / "tokenizers"
    for file in source.iterdir():
        if file.is_file() and not file.suffix:
            shutil.copy(file, tmp_path)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    is_at_hand.cache_clear()
    yield tmp_path
    is_at_hand.cache_clear()


@pytest.fixture(scope="session")
def git_prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one prompt, at the tag `7`."""
    root = tmp_path_factory.mktemp("application")
    file = root / "prompts" / "support" / "answer.prompt.md"
    file.parent.mkdir(parents=True)
    file.write_text(
        "---\nparameters: {temperature: 0, max_tokens: 48}\nvariables:\n  question: str\n---\n"
        "[system]\nYou are a support agent.\n\n[user]\n{{ question }}\n"
    )
    settings = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    who = ["-c", "user.name=Ada Lovelace", "-c", "user.email=ada@example.org"]
    for arguments in (["init", "-q", "-b", "main"], ["add", "-A"], [*who, "commit", "-q", "-m", "First"], ["tag", "7"]):
        subprocess.run(["git", *arguments], cwd=root, env=settings, check=True)
    return root


@pytest.fixture(scope="session")
def run_every_kind(git_prompts: Path) -> Callable[[Any], dict[str, Any]]:
    """Run pipelines with a hook in every way; it gives the call of each kind of run."""
    return lambda hook: _run_every_kind(hook, git_prompts)


def _run_every_kind(hook: Any, prompts: Path) -> dict[str, Any]:
    from llmops_sdk import Document, Pipeline, Prompt, Router, Scripted, Usage, guards
    from llmops_sdk.calls import Evaluated, ToolExecuted
    from llmops_sdk.costs import PriceTable
    from llmops_sdk.errors import LlmopsError, ServerError
    from llmops_sdk.messages import Message, Request, ToolCall
    from llmops_sdk.prompts import PromptRepository

    usage = Usage(input_tokens=1000, output_tokens=500, cached_input_tokens=200, reasoning_tokens=100)
    known = {"model": "gpt-4o-mini", "usage": usage}
    prompt = Prompt.load("support/answer@7", repository=PromptRepository(prompts))
    tags = {"session_id": "chat-1", "user_id": "ada", "tenant": "acme"}
    question = "Mail ada@example.org about order 1042"
    calls: dict[str, Any] = {}

    answer = Scripted("Order 1042 ships tomorrow.", name="cloud", **known)
    line = Pipeline(prompt, guards.PII(), answer, guards.Secrets(), name="support", hooks=[hook])
    calls["plain"] = line.run(question=question, tags=tags).call

    own = PriceTable.default().with_prices({"house-7b": {"input": "1", "output": "4"}})
    house = Scripted("Order 1042 ships tomorrow.", name="house", model="house-7b", usage=usage)
    calls["own prices"] = Pipeline(prompt, house, name="support", hooks=[hook], prices=own).run(question="Where?").call

    streamed = Scripted(["Order ", "1042 ", "ships."], name="cloud", **known)
    with Pipeline(prompt, streamed, guards.Secrets(), name="support", hooks=[hook]).stream(question="Where?") as stream:
        list(stream)
    calls["stream"] = stream.result.call

    called = ToolCall(id="call_1", name="order_status", arguments='{"order": 1042}')
    schema = {"type": "object", "properties": {"order": {"type": "integer"}}}
    tools = ({"type": "function", "function": {"name": "order_status", "parameters": schema}},)
    asked = Request(messages=(Message.user("Where is order 1042?"),), tools=tools)
    line = Pipeline(Scripted(called, "It ships tomorrow.", name="cloud", **known), name="agent", hooks=[hook])
    calls["tool call"] = line.run(asked, tags=tags).call
    more = (Message.assistant(tool_calls=(called,)), Message.tool("shipped", tool_call_id="call_1"))
    calls["tool result"] = line.run(asked.with_messages([*asked.messages, *more]), tags=tags).call

    line = Pipeline(prompt, guards.PII(action="block"), answer, name="support", hooks=[hook])
    calls["blocked"] = line.run(question=question, tags=tags).call

    broken = Scripted(ServerError("broke", engine="broken", status_code=503), name="broken", **known)
    line = Pipeline(prompt, Router([broken, answer]), name="support", hooks=[hook])
    calls["failed over"] = line.run(question="Where?").call

    seen: list[Any] = []
    line = Pipeline(prompt, broken, name="support", hooks=[hook, lambda _event, call: seen.append(call)])
    with pytest.raises(LlmopsError):
        line.run(question="Where?")
    calls["failed"] = seen[-1]

    line = Pipeline(
        Prompt.from_string("Answer from these:\n{{ sources }}\n\n{{ question }}", name="with-sources"),
        Scripted("Two days.", name="cloud", **known),
        name="support",
        hooks=[hook],
    )
    sources = [Document(id="faq-7", text="Parcels take two days."), Document(id="mail-3", text="Returns are free.")]
    calls["documents"] = line.run(sources=sources, question="How long?").call

    judged = calls["judged"] = Pipeline(prompt, answer, name="support", hooks=[hook]).run(question="Where?").call
    now = judged.clock()
    judged.record(Evaluated(now, "relevance", 0.9, "relevant", "It answers the question.", "llm"))
    executed = calls["tool call"]
    executed.record(ToolExecuted(now, executed.clock(), called, "shipped", None))
    return calls
