"""Metrics that know the trace of their run: from a slow bucket people get to a run that was slow (exemplars)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

from opentelemetry.context import Context, attach, detach
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from llmops_sdk.calls import Call

__all__ = ["in_trace"]

_W3C: Final = TraceContextTextMapPropagator()


@contextlib.contextmanager
def in_trace(call: Call) -> Iterator[None]:
    """What is recorded inside belongs to the run's trace, if it has one; OpenTelemetry's SDK picks its exemplars."""
    carrier = {} if call.traceparent is None else {"traceparent": call.traceparent}
    token = attach(_W3C.extract(carrier, context=Context()))
    try:
        yield
    finally:
        detach(token)
