"""Which cases a report shows one by one, where there are more than it holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmops_sdk.evaluation._experiment.columns import Columns
    from llmops_sdk.evaluation._running.plan import Plan

__all__ = ["chosen"]


def chosen(columns: Columns, plan: Plan, most: int) -> list[int]:
    """Positions of at most `most` cases, in order.

    Up to a quarter are cases that failed, up to a half those whose scores changed most, wins and losses alike, and the
    rest is spread evenly over the data set.
    """
    if columns.cases <= most:
        return list(range(columns.cases))
    failed = sorted({number // plan.repeats for runs in columns.runs.values() for number in runs.failed})
    found = set(_spread(failed, most // 4))
    changes = _changes(columns, plan)
    for position in sorted(changes, key=lambda one: (-changes[one], one)):
        if len(found) >= most // 4 + most // 2:
            break
        found.add(position)
    others = [position for position in range(columns.cases) if position not in found]
    return sorted(found | set(_spread(others, most - len(found))))


def _changes(columns: Columns, plan: Plan) -> dict[int, float]:
    """Position -> its largest change, in units of the largest change of that score."""
    largest: dict[int, float] = {}
    for name, metric in columns.names.items():
        before = columns.scores(name, plan.base).means()
        for label in plan.arms:
            after = columns.scores(name, label).means() if label != plan.base else {}
            moved = {
                position: abs(value - (0.0 if metric.pairwise else before[position]))
                for position, value in after.items()
                if metric.pairwise or position in before
            }
            whole = max(moved.values(), default=0.0)
            for position, size in moved.items():
                if size:
                    largest[position] = max(largest.get(position, 0.0), size / whole)
    return largest


def _spread(positions: list[int], most: int) -> Iterable[int]:
    if len(positions) <= most:
        return positions
    return [positions[number * len(positions) // most] for number in range(most)]
