"""Running: every pipeline on every case, each answer paid once and kept as soon as it is there."""

from __future__ import annotations

from llmops_sdk.evaluation._running.evaluating import aevaluate, evaluate

__all__ = ["aevaluate", "evaluate"]
