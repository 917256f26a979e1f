"""A real Redis for the tests of every room, on a free port, in memory only."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

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
