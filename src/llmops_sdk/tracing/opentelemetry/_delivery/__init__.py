"""What carries spans away, and tells the truth about it.

OpenTelemetry's own `BatchSpanProcessor` drops without a count, does not look at what an exporter answers, waits in
`force_flush` for as long as an exporter likes, and is bounded by spans alone. Encoding, HTTP and its retries are those
of OpenTelemetry's exporter (`otlp.py`); what waits, for how long, and what has become of it is ours (`processor.py`).
"""

from __future__ import annotations

from llmops_sdk.tracing.opentelemetry._delivery.carriers import Carrier, Exporting
from llmops_sdk.tracing.opentelemetry._delivery.counts import SpanCounts
from llmops_sdk.tracing.opentelemetry._delivery.leaving import at_exit, at_sigterm, forget
from llmops_sdk.tracing.opentelemetry._delivery.processor import Delivery

__all__ = ["Carrier", "Delivery", "Exporting", "SpanCounts", "at_exit", "at_sigterm", "forget"]
