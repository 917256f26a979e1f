"""`llmops dashboard`: the dashboard for Grafana."""

from __future__ import annotations

import json

from llmops_sdk.cli._arguments import Commands
from llmops_sdk.tracing import grafana_dashboard

__all__ = ["add_dashboard"]


def add_dashboard(rooms: Commands) -> None:
    """Add `llmops dashboard`."""
    command = rooms.add_parser(
        "dashboard",
        description="Print the dashboard for Grafana: for the metrics of `tracing.Metrics`, as JSON that it imports.",
    )
    command.set_defaults(run=lambda given: _dashboard())


def _dashboard() -> int:
    print(json.dumps(grafana_dashboard(), indent=2))
    return 0
