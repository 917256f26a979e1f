"""A real Redis for tests, on a free port, in a folder of its own."""

import shutil
import signal
import socket
import subprocess
import time

import pytest

PROGRAMS = ("redis-server", "valkey-server")


def _free_port():
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port < 55_000:  # a node of a cluster also listens 10,000 higher
            return port


class RedisServer:
    """A server that a test may stop, kill and start again."""

    def __init__(self, folder, *options):
        self._folder = folder
        self._options = options
        self.port = _free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process = None

    def start(self):
        program = next(found for name in PROGRAMS if (found := shutil.which(name)))
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)]
        self.process = subprocess.Popen([program, *options, *self._options], stdout=subprocess.DEVNULL)
        for _ in range(200):
            if self.process.poll() is not None:
                break
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.02)
        raise RuntimeError("the Redis server did not start")

    def halt(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None


def _require_program():
    if not any(map(shutil.which, PROGRAMS)):
        pytest.skip("needs the program redis-server (or valkey-server): `apt-get install redis-server`")


@pytest.fixture
def redis_server(tmp_path):
    """A server of the test's own."""
    _require_program()
    server = RedisServer(tmp_path).start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def _shared_redis(tmp_path_factory):
    _require_program()
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.kill()


@pytest.fixture
def redis_url(_shared_redis):
    """The URL of an empty Redis."""
    with socket.create_connection(("127.0.0.1", _shared_redis.port)) as connection:
        connection.sendall(b"FLUSHALL\r\nSCRIPT FLUSH\r\n")
        connection.recv(100)
    return _shared_redis.url


@pytest.fixture
def redis_cluster_url(tmp_path):
    """The URL of a cluster of one node, which refuses whatever spans two slots."""
    _require_program()
    server = RedisServer(tmp_path, "--cluster-enabled", "yes")
    try:
        server.start()
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            for first in range(0, 16_384, 1_024):
                slots = b" ".join(b"%d" % slot for slot in range(first, first + 1_024))
                connection.sendall(b"CLUSTER ADDSLOTS " + slots + b"\r\n")
                assert connection.recv(100) == b"+OK\r\n"
            for _ in range(200):
                connection.sendall(b"CLUSTER INFO\r\n")
                if b"cluster_state:ok" in connection.recv(10_000):
                    break
                time.sleep(0.02)
        yield server.url
    finally:
        server.kill()
