"""Metrics of OpenTelemetry from the record of runs."""

from __future__ import annotations

from llmops_sdk.tracing.opentelemetry._metrics.hook import Metrics

__all__ = ["Metrics"]
