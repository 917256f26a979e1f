"""A small collector on loopback, spans without a pipeline, and programs to run apart."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

_PACKAGES = Path(__file__).parents[3] / "src"


class Collector:
    """Takes spans by OTLP over HTTP, as well or as badly as it is told.

    `answers` is asked for each request: a status, `"hang"` (no answer until the end) or `"cut"` (the socket is closed).
    """

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.resources: list[dict[str, str]] = []
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.answers: Callable[[], int | str] = lambda: 200
        self.body = b""
        self.pause_s = 0.0
        self.over = threading.Event()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                collector.take(self, self.rfile.read(int(self.headers["content-length"])))

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *_: object) -> None:  # killed clients are what these tests are made of
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def take(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        self.requests.append((request.path, {name.lower(): value for name, value in request.headers.items()}))
        answer = self.answers()
        if self.pause_s:
            self.over.wait(self.pause_s)
        if answer == "hang":
            self.over.wait()
        if isinstance(answer, str):
            request.close_connection = True
            return
        if answer == 200:
            for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                attributes = of_resource.resource.attributes
                self.resources.append({one.key: one.value.string_value for one in attributes})
                for of_scope in of_resource.scope_spans:
                    self.spans += of_scope.spans
        request.send_response(answer)
        request.send_header("content-type", "application/x-protobuf")
        request.send_header("content-length", str(len(self.body)))
        if answer in {429, 503}:
            request.send_header("retry-after", "0")
        request.end_headers()
        request.wfile.write(self.body)

    @property
    def ids(self) -> list[bytes]:
        return [span.span_id for span in self.spans]

    def tags(self, name: str) -> set[str]:
        """Values of a tag, among the runs that have arrived."""
        wanted = f"llmops.tag.{name}"
        return {one.value.string_value for span in list(self.spans) for one in span.attributes if one.key == wanted}

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra `otlp` is not installed")
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture
def until() -> Callable[[Callable[[], Any]], None]:
    """Waits until something is so, and fails when it is not after twenty seconds."""

    def wait(so: Callable[[], Any]) -> None:
        end = time.monotonic() + 20
        while not so():
            assert time.monotonic() < end, "it did not come about"
            time.sleep(0.005)

    return wait


class Child:
    """A program that the nursery has begun, as `subprocess.Popen` shows one."""

    def __init__(self, nursery: socket.socket, arguments: list[str]) -> None:
        self._nursery = nursery
        self.returncode: int | None = None
        (out, its_out), (error, its_error) = os.pipe(), os.pipe()
        socket.send_fds(nursery, [json.dumps(arguments).encode()], [its_out, its_error])
        os.close(its_out)
        os.close(its_error)
        self.stdout, self.stderr = os.fdopen(out, encoding="utf-8"), os.fdopen(error, encoding="utf-8")
        self.pid = json.loads(nursery.recv(100))

    def poll(self) -> int | None:
        if self.returncode is None:
            self._nursery.send(json.dumps(self.pid).encode())
            self.returncode = json.loads(self._nursery.recv(100))
        return self.returncode

    def wait(self, timeout_s: float) -> int:
        end = time.monotonic() + timeout_s
        while self.poll() is None:
            assert time.monotonic() < end, "it has not ended"
            time.sleep(0.005)
        assert self.returncode is not None
        return self.returncode

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        if self.poll() is None:
            self.kill()
            self.wait(20)
        self.stdout.close()
        self.stderr.close()


@pytest.fixture(scope="session")
def nursery() -> Iterator[socket.socket]:
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("nursery.py")), str(there.fileno())],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(_PACKAGES), *sys.path])},
        pass_fds=[there.fileno()],
    )
    there.close()
    yield here
    here.close()
    assert process.wait(20) == 0


@pytest.fixture
def begin(tmp_path: Path, nursery: socket.socket) -> Iterator[Callable[..., Child]]:
    """Begins a Python program in a process of its own; ended with the test, whatever happens."""
    begun: list[Child] = []

    def begin(program: str, *arguments: str) -> Child:
        file = tmp_path / f"program{len(begun)}.py"
        file.write_text(program)
        begun.append(Child(nursery, [str(file), *arguments]))
        return begun[-1]

    yield begin
    for child in begun:
        child.close()
