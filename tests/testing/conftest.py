import contextlib
import importlib.metadata
import socket
from pathlib import Path

import pytest

import llmops_sdk


class RawClient:
    """Speaks HTTP/1.1 byte by byte, so that nothing is hidden by a client's own repairs."""

    def __init__(self, server):
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=5)

    def send(self, data):
        self.socket.sendall(data)

    def ask(self, body=b'{"model":"m","messages":[]}', *, path="/v1/chat/completions", headers=b""):
        head = b"POST %b HTTP/1.1\r\nHost: here\r\n%bContent-Length: %d\r\n\r\n"
        self.send(head % (path.encode(), headers, len(body)) + body)

    def read_to_end(self):
        received = bytearray()
        with contextlib.suppress(ConnectionResetError):
            while data := self.socket.recv(65536):
                received += data
        return bytes(received)

    def read_answer(self):
        """One answer with a Content-Length, as (status, body)."""
        received = b""
        while b"\r\n\r\n" not in received:
            received += self.socket.recv(1)
        head = received.decode().lower()
        length = int(head.partition("content-length:")[2].split()[0])
        body = b""
        while len(body) < length:
            body += self.socket.recv(length - len(body))
        return int(head.split()[1]), body

    def close(self):
        self.socket.close()


@pytest.fixture
def connect():
    """`connect(server)`: a raw connection that is closed after the test."""
    with contextlib.ExitStack() as stack:
        yield lambda server: stack.enter_context(contextlib.closing(RawClient(server)))


@pytest.fixture
def run_pytest(pytester, monkeypatch):
    """`run_pytest(*arguments, **sources)`: runs a suite of its own that has the plugin, in a process of its own."""
    monkeypatch.setenv("PYTHONPATH", str(Path(llmops_sdk.__file__).parents[1]))
    installed = importlib.metadata.entry_points(group="pytest11", name="llmops_sdk")
    plugin = () if installed else ("-p", "llmops_sdk.testing.plugin")

    def run(*arguments, **sources):
        if sources:
            pytester.makepyfile(**sources)
        return pytester.runpytest_subprocess(*plugin, "-p", "no:cacheprovider", "-p", "no:randomly", *arguments)

    return run
