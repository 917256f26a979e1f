"""Takes a batch to where it belongs, and says how much of it has arrived."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

__all__ = ["Carrier", "Exporting", "Make"]


class Carrier(Protocol):
    """Takes batches away, one at a time, from one thread."""

    reason: str
    """Why the last batch did not arrive as a whole; `""` where nobody knows."""

    def carry(self, spans: Sequence[ReadableSpan]) -> int:
        """Send `spans`; return how many have arrived. May block for as long as it retries."""
        ...

    def close(self) -> None:
        """Let go of connections, and give up what is being retried."""
        ...


Make: TypeAlias = Callable[[], Carrier]
"""Makes a carrier: a forked child must not share its parent's connections."""


class Exporting:
    """Carries by any exporter. All that it tells of a batch is whether it has arrived."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self.reason = ""

    def carry(self, spans: Sequence[ReadableSpan]) -> int:
        """Export `spans`."""
        self.reason = ""
        return len(spans) if self._exporter.export(spans) is SpanExportResult.SUCCESS else 0

    def close(self) -> None:
        """Shut the exporter down."""
        self._exporter.shutdown()
