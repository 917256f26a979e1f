"""Sends spans to a collector with OpenTelemetry's exporter for OTLP over HTTP, and watches what really goes over.

The exporter says SUCCESS for a redirection and for a batch that was taken in part, and FAILURE without a reason for
what it cannot encode. So an adapter of `requests` looks at each answer.

Needs the extra `otlp`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

from llmops_sdk.errors import MissingDependencyError

try:
    import requests
    from google.protobuf.message import DecodeError
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
    from requests.adapters import HTTPAdapter
except ImportError as exc:
    raise MissingDependencyError(
        "sending spans to an endpoint", package="opentelemetry-exporter-otlp-proto-http", extra="otlp"
    ) from exc

__all__ = ["Otlp"]

_TOO_LARGE = 413


class _Wire(HTTPAdapter):  # type: ignore[misc, unused-ignore]  # where the extra is not installed
    """Sees each request of a batch, and keeps the last answer."""

    def __init__(self) -> None:
        super().__init__()
        self.begin()

    def begin(self) -> None:
        """A new batch follows."""
        self.tried = False
        self.answer: requests.Response | None = None
        self.error = "nothing of it can be encoded"

    def send(self, *arguments: Any, **options: Any) -> requests.Response:
        """Send a request; the answer of an earlier try counts no more."""
        self.tried, self.answer = True, None
        try:
            self.answer = super().send(*arguments, **options)
        except Exception as exc:
            self.error = type(exc).__name__
            raise
        return self.answer


class Otlp:
    """Carries by OTLP over HTTP.

    A batch of which nothing was sent, since something in it cannot be encoded, and one that is too large for the
    collector, is halved until what is left of it is the span that is at fault: the others arrive.
    """

    def __init__(
        self, endpoint: str | None, headers: Mapping[str, str] | None = None, timeout_s: float | None = None
    ) -> None:
        self._wire = _Wire()
        session = requests.Session()
        session.mount("http://", self._wire)
        session.mount("https://", self._wire)
        self._exporter = OTLPSpanExporter(
            endpoint=endpoint,
            headers=None if headers is None else dict(headers),
            timeout=timeout_s,  # type: ignore[arg-type, unused-ignore]  # whole seconds in old releases
            session=session,
        )
        self.reason = ""

    def carry(self, spans: Sequence[ReadableSpan]) -> int:
        """Send `spans`, in parts where it has to be."""
        self.reason = ""
        arrived, parts = 0, [spans]
        while parts:
            part = parts.pop()
            taken = self._export(part)
            if taken is None and len(part) > 1:
                middle = len(part) // 2
                parts += [part[middle:], part[:middle]]
            else:
                arrived += taken or 0
        return arrived

    def close(self) -> None:
        """End a retry that is going on, and close the connections."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call, unused-ignore]  # where it is installed

    def _export(self, spans: Sequence[ReadableSpan]) -> int | None:
        """How many arrived; `None` where a smaller batch may do better."""
        self._wire.begin()
        with contextlib.suppress(Exception):  # old releases raise what new ones log
            self._exporter.export(spans)
        answer = self._wire.answer
        if answer is None:
            self.reason = self._wire.error
            return 0 if self._wire.tried else None
        if not 200 <= answer.status_code < 300:
            self.reason = f"HTTP {answer.status_code}"
            return None if answer.status_code == _TOO_LARGE else 0
        return len(spans) - min(self._refused(answer), len(spans))

    def _refused(self, answer: requests.Response) -> int:
        """How many spans the collector has left out of a batch that it took."""
        if not answer.headers.get("content-type", "").startswith("application/x-protobuf"):
            return 0
        try:
            partly = ExportTraceServiceResponse.FromString(answer.content).partial_success
        except (DecodeError, requests.RequestException):
            return 0  # it said that it took them
        if partly.rejected_spans > 0:
            self.reason = "the collector took the batch in part"  # its words may quote a span's texts
        return max(int(partly.rejected_spans), 0)
