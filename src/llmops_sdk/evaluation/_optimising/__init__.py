"""Optimising: better instructions and examples for a prompt, searched on some cases and judged on others."""

from __future__ import annotations

from llmops_sdk.evaluation._optimising.optimising import aoptimise, optimise
from llmops_sdk.evaluation._optimising.outcome import Candidate, Optimisation

__all__ = ["Candidate", "Optimisation", "aoptimise", "optimise"]
