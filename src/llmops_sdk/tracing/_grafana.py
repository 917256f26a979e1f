"""The dashboard for Grafana that comes with the library."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

__all__ = ["grafana_dashboard"]


def grafana_dashboard() -> dict[str, Any]:
    """The dashboard for the metrics of `Metrics`, as Grafana's own JSON: import it, and choose your Prometheus.

    `llmops dashboard > llmops.json` writes it from a terminal. Its queries are for metrics in the names of Prometheus
    as `opentelemetry-exporter-prometheus` writes them, and for the names of the conventions that are the default.

    Example:
        >>> grafana_dashboard()["title"]
        'LLM operations'
    """
    text = resources.files("llmops_sdk.tracing").joinpath("grafana.json").read_text(encoding="utf-8")
    dashboard: dict[str, Any] = json.loads(text)
    return dashboard
