"""`explain(call)`: where the milliseconds and the money of a run went."""

from __future__ import annotations

from llmops_sdk.tracing._explain.explanation import Explanation, Step, Tone, explain

__all__ = ["Explanation", "Step", "Tone", "explain"]
