"""OpenTelemetry: spans and metrics from the record of a run, and their delivery.

Importing this package needs `opentelemetry-api`. Whatever SDK, sampler and exporter the application has set up is used.
"""

from __future__ import annotations

from llmops_sdk.errors import MissingDependencyError

try:
    import opentelemetry.trace  # noqa: F401
except ImportError as exc:
    raise MissingDependencyError("tracing with OpenTelemetry", package="opentelemetry-api", extra="otlp") from exc

from llmops_sdk.tracing.opentelemetry._delivery import SpanCounts
from llmops_sdk.tracing.opentelemetry._hook import OpenTelemetry
from llmops_sdk.tracing.opentelemetry._metrics import Metrics
from llmops_sdk.tracing.opentelemetry._setup import Tracing, setup

__all__ = ["Metrics", "OpenTelemetry", "SpanCounts", "Tracing", "setup"]
