"""The record of a run as JSON: stable, versioned, without what was said."""

from __future__ import annotations

from llmops_sdk.calls._json.record import VERSION, event_json, record_json, record_schema
from llmops_sdk.calls._json.values import said

__all__ = ["VERSION", "event_json", "record_json", "record_schema", "said"]
