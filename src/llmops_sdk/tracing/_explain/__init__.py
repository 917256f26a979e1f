"""`explain(call)`: where the milliseconds and the money of a run went."""

from __future__ import annotations

from llmops_sdk.tracing._explain.explanation import Explanation
from llmops_sdk.tracing._explain.reading import explain
from llmops_sdk.tracing._explain.steps import Step, Tone

__all__ = ["Explanation", "Step", "Tone", "explain"]
