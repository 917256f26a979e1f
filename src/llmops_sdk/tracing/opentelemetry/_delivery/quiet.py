"""What the log says of a delivery that fails: one line a minute, with the last reason."""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from llmops_sdk.tracing.opentelemetry._delivery.counts import SpanCounts

__all__ = ["Trouble"]

log = logging.getLogger("llmops_sdk")

_PAUSE_S: Final = 60.0
_LOUD: Final = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.proto.common._internal",
    "opentelemetry.exporter.otlp.common.http",
)
"""Loggers that write a line for each batch, each retry and each attribute that they cannot encode."""


class Trouble(logging.Filter):
    """Reports at most once a minute, and keeps the exporter's own lines out of the log, which may quote a span's texts.

    Only lines of the thread that delivers are kept out: an exporter of the application's own may go on talking.
    """

    def __init__(self) -> None:
        super().__init__()
        self.begin()

    def begin(self) -> None:
        """Nobody delivers, nothing was told so far."""
        self.end()
        self._thread: int | None = None
        self._told = SpanCounts()
        self._reason = ""
        self._next = time.monotonic()

    def listen(self) -> None:
        """The calling thread delivers from now on."""
        self._thread = threading.get_ident()
        for name in _LOUD:
            logging.getLogger(name).addFilter(self)

    def end(self) -> None:
        """Nothing is delivered any more."""
        for name in _LOUD:
            logging.getLogger(name).removeFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line is to be written."""
        return record.thread != self._thread

    def tell(self, counts: SpanCounts, reason: str, *, last: bool = False) -> None:
        """Say what has been lost since the last time, if something was and a minute has passed, or at the end."""
        rejected, dropped = counts.rejected - self._told.rejected, counts.dropped - self._told.dropped
        self._reason = reason or self._reason
        if not (rejected or dropped) or (time.monotonic() < self._next and not last):
            return
        self._next = time.monotonic() + _PAUSE_S
        self._told = counts
        log.warning(
            "of the spans that have ended lately %d were rejected and %d dropped (%s); %d delivered so far, %d waiting",
            rejected,
            dropped,
            self._reason or ("no room, or no time" if dropped else "the exporter gives no reason"),
            counts.delivered,
            counts.waiting,
        )
        self._reason = ""
