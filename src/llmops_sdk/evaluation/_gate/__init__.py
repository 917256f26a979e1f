"""The gate: a suite, run at versions of its prompts, and whether a candidate is as good as what is in production."""

from __future__ import annotations

from llmops_sdk.evaluation._gate.junit import gate_junit
from llmops_sdk.evaluation._gate.markdown import gate_markdown
from llmops_sdk.evaluation._gate.result import CaseDrop, GateCheck, GateResult
from llmops_sdk.evaluation._gate.suite import Suite

__all__ = ["CaseDrop", "GateCheck", "GateResult", "Suite", "gate_junit", "gate_markdown"]
