"""A simulation as a table."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmops_sdk.routers._simulation.result import Outcome

__all__ = ["HEADINGS", "cells"]

HEADINGS = ("policy", "failed", "p50", "p99", "first token p50", "p99", "attempts", "hedges", "429s", "wasted tokens",
            "prefix hits", "max/mean", "spread", "USD")  # fmt: skip


def cells(row: Outcome) -> list[str]:
    """A row of the table."""
    return [
        row.policy,
        f"{row.failed:,}",
        *(_time(one) for one in (row.p50_s, row.p99_s, row.first_token_p50_s, row.first_token_p99_s)),
        "-" if math.isnan(row.attempts_per_answer) else f"{row.attempts_per_answer:.3f}",
        f"{row.hedges:,}",
        f"{row.too_many:,}",
        f"{row.wasted_tokens:,}",
        f"{row.prefix_hit_rate:.1%}",
        f"{row.imbalance:.2f}",
        f"{row.spread:.2f}",
        "unknown" if row.cost_usd is None else f"{row.cost_usd:.2f}",
    ]


def _time(seconds: float) -> str:
    if math.isnan(seconds):
        return "-"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
