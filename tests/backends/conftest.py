"""A real Phoenix and a real MLflow, started once, and runs of every kind sent to them.

`nox -s tests_backends` makes an environment for each of the two; without these the tests are skipped.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from llmops_sdk.calls import Call
from llmops_sdk.engines._orphans import EndWithMe

ROOT = Path(__file__).parents[2]
_LAUNCH = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it ends with the tests, however those end
os.execv(sys.argv[1], sys.argv[1:])
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = str(Path(__file__).parent)
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.backends)
            item.add_marker(pytest.mark.timeout(300))


class Server:
    """A server in an environment of its own, on a free port of the loopback."""

    program: str
    ready: str

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._watch: EndWithMe | None = None

    def command(self) -> tuple[list[str], dict[str, str]]:
        """What to run, and the environment variables."""
        raise NotImplementedError

    def start(self) -> None:
        arguments, settings = self.command()
        log = self.folder / "server.log"
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _LAUNCH, *arguments],
                cwd=self.folder,
                env={**os.environ, "DO_NOT_TRACK": "true", **settings},
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        end = time.monotonic() + 120
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise RuntimeError(f"{self.program} did not start:\n{log.read_text()[-3000:]}")
            time.sleep(0.2)
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children")
        self._watch = EndWithMe(map(int, children.read_text().split()) if children.exists() else ())

    def _is_ready(self) -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}{self.ready}", timeout=2) as answer:
            return answer.status == 200
        return False

    def stop(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)
        if self._watch is not None:
            self._watch.cancel()

    def ask(self, path: str, given: Mapping[str, Any] | None = None) -> Any:
        """The JSON that it answers with; `None` where there is nothing."""
        body = None if given is None else json.dumps(given).encode()
        request = urllib.request.Request(f"{self.url}{path}", body, {"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404:
                    return None
                raise AssertionError(f"{path}: {error.code} {error.read()[:500]!r}") from None


class Phoenix(Server):
    program, ready = "phoenix", "/readyz"

    def command(self) -> tuple[list[str], dict[str, str]]:
        return [str(_environment(self.program) / "phoenix"), "serve"], {
            "PHOENIX_HOST": "127.0.0.1",
            "PHOENIX_PORT": str(self.port),
            "PHOENIX_GRPC_PORT": "0",
            "PHOENIX_WORKING_DIR": str(self.folder),
            "PHOENIX_SQL_DATABASE_URL": f"sqlite:///{self.folder}/phoenix.db",
            "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
            "PHOENIX_TELEMETRY_ENABLED": "false",
            "PHOENIX_DISABLE_AGENT_ASSISTANT": "true",
        }


class MLflow(Server):
    program, ready = "mlflow", "/health"

    def command(self) -> tuple[list[str], dict[str, str]]:
        store = ["--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db"]
        files = ["--artifacts-destination", str(self.folder / "artifacts")]
        place = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        return [str(_environment(self.program) / "mlflow"), "server", *place, *store, *files], {
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }


def _environment(name: str) -> Path:
    return ROOT / ".nox" / name / "bin"


def _running(server: Server) -> Iterator[Server]:
    if not (_environment(server.program) / server.program).exists():
        pytest.skip(f"needs an environment with {server.program}: `nox -s tests_backends`")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def phoenix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from _running(Phoenix(tmp_path_factory.mktemp("phoenix")))


@pytest.fixture(scope="session")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from _running(MLflow(tmp_path_factory.mktemp("mlflow")))


class Sent:
    """The runs of every kind as they were sent to one server in some dialects: trace ids by kind."""

    def __init__(self, traces: Mapping[str, str], place: str) -> None:
        self.traces = traces
        self.place = place


class Sender:
    """Sends a trace of each kind of run through a real exporter, and fails where a batch is refused."""

    def __init__(self, run_every_kind: Callable[[Any], dict[str, Call]]) -> None:
        self._run = run_every_kind

    def send(self, endpoint: str, place: str, dialects: Sequence[str], headers: Mapping[str, str]) -> Sent:
        exporters = pytest.importorskip("opentelemetry.exporter.otlp.proto.http.trace_exporter")
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

        from llmops_sdk import tracing
        from llmops_sdk.tracing._later import LATER

        results = []
        real = exporters.OTLPSpanExporter(endpoint=endpoint, headers=dict(headers), timeout=20)

        class Checked(SpanExporter):
            def export(self, spans: Any) -> Any:
                results.append(real.export(spans))  # it only logs that a batch was refused
                return results[-1]

            def shutdown(self) -> None:
                real.shutdown()

        resource = Resource.create({"service.name": "support", "openinference.project.name": place})
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(Checked()))
        hook = tracing.OpenTelemetry(provider, dialects=dialects, content=True)
        calls = self._run(hook)
        assert LATER.flush(10)
        provider.shutdown()
        assert results
        assert set(results) == {SpanExportResult.SUCCESS}
        return Sent({kind: trace_of(call) for kind, call in calls.items()}, place)


@pytest.fixture(scope="session")
def sender(run_every_kind: Callable[[Any], dict[str, Call]]) -> Sender:
    return Sender(run_every_kind)


def trace_of(call: Call) -> str:
    """The id of its trace."""
    assert call.traceparent is not None
    return call.traceparent.split("-")[1]
