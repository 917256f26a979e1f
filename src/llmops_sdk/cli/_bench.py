"""`llmops guard bench`: what guards cost here, and how good they are on data."""

from __future__ import annotations

import inspect
import json
import statistics
import time
from pathlib import Path

from llmops_sdk.cli._named_guards import make_guards
from llmops_sdk.guards import Guard, evaluate
from llmops_sdk.loops import run_sync

__all__ = ["bench"]

_PROSE = (
    "The committee met on Tuesday to go over the plans for the new library, and most of the members agreed that the "
    "reading room should face the garden. Costs were estimated by two firms; the lower offer came from a company in "
    "the next town, which had built a school there some years ago. A decision is expected before the end of the month. "
)
_SIZES = (200, 1_000, 100_000)
_SECONDS = 0.3
"""About so long each number is measured."""


def bench(names: str, data: Path | None, *, as_json: bool) -> int:
    """Measure the guards and print the figures."""
    guards = make_guards(names)
    reports = [evaluate(guard, data) for guard in guards] if data is not None else []
    costs = {guard.name: {size: _median_us(guard, size) for size in _SIZES} for guard in guards}
    if as_json:
        shown = {
            "microseconds": {
                name: {str(size): round(us, 1) for size, us in row.items()} for name, row in costs.items()
            },
            "quality": [report.to_dict() for report in reports],
        }
        print(json.dumps(shown, indent=2))
        return 0
    width = max(len("guard"), *map(len, costs))
    print("Median time of a check of prose in which nothing is found, in microseconds, by characters")
    print(f"{'guard':<{width}} " + " ".join(f"{size:>10,}" for size in _SIZES))
    for name, row in costs.items():
        print(f"{name:<{width}} " + " ".join(f"{row[size]:>10,.0f}" for size in _SIZES))
    for report in reports:
        print(f"\n{report}")
    return 0


def _median_us(guard: Guard, size: int) -> float:
    text = (_PROSE * (size // len(_PROSE) + 1))[:size]
    taken: list[float] = []
    waits = inspect.iscoroutinefunction(guard.check)
    run_sync(lambda: guard.acheck(text), method="bench()")
    ends = time.perf_counter() + _SECONDS
    while len(taken) < 3 or (time.perf_counter() < ends and len(taken) < 1_000):
        started = time.perf_counter()
        run_sync(lambda: guard.acheck(text), method="bench()") if waits else guard.check(text)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken) * 1e6
