"""What it costs to choose an engine: each strategy's first pick, and the filters, among 3, 100 and 1,000 engines.

    python benchmarks/strategies.py [--out benchmarks/results/strategies.md]

Engines differ in load and latency, half of them are busy. Times are CPU time, the median of several rounds.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

from llmops_sdk.calls import Call
from llmops_sdk.costs import PriceTable
from llmops_sdk.engines import Scripted
from llmops_sdk.messages import Request
from llmops_sdk.protocols import Capabilities
from llmops_sdk.routers import (
    Cost,
    Latency,
    LeastBusy,
    Leg,
    PrefixAffinity,
    Priority,
    RoundRobin,
    Strategy,
    Weighted,
)
from llmops_sdk.routers._choosing.filters import Filters

COUNTS = (3, 100, 1_000)
ROUNDS = 7
SECONDS = 0.02
TEXT = "You are helpful. " * 20
PRICES = PriceTable({f"model-{i}": {"input": str(i + 1), "output": "2"} for i in range(3)})
STRATEGIES: dict[str, tuple[Callable[[], Strategy], bool]] = {
    "`priority`": (Priority, False),
    "`round_robin`": (RoundRobin, False),
    "`weighted`": (Weighted, False),
    "`least_busy`": (LeastBusy, False),
    "`latency`": (lambda: Latency(seed=1), False),
    "`cost`, 3 models": (Cost, False),
    "`prefix_affinity`, a prefix that is known": (PrefixAffinity, False),
    "`prefix_affinity`, a new prefix each time": (PrefixAffinity, True),
}


def legs(count: int) -> tuple[Leg, ...]:
    draw = random.Random(1)
    made = []
    for i in range(count):
        can = Capabilities(tools=i % 2 == 0, context_window=8192)
        leg = Leg(Scripted("a", name=f"e{i}", model=f"model-{i % 3}", capabilities=can), weight=1 + i % 5)
        leg.in_flight = draw.randrange(8)
        leg.pace.answered(draw.random())
        made.append(leg)
    return tuple(made)


def ns(work: Callable[[], Any]) -> float:
    """Nanoseconds of CPU for one `work()`."""
    times = 1
    while timed(work, times) < SECONDS:
        times *= 2
    return statistics.median(timed(work, times) / times * 1e9 for _ in range(ROUNDS))


def timed(work: Callable[[], Any], times: int) -> float:
    gc.collect()
    started = time.process_time()
    for _ in range(times):
        work()
    return time.process_time() - started


def first_pick(strategy: Strategy, among: tuple[Leg, ...], requests: Iterator[Request]) -> Callable[[], Leg]:
    return lambda: next(iter(strategy.order(among, next(requests))))


def asked(new: bool) -> Iterator[Request]:
    call = Call(prices=PRICES)
    # More than are kept, where they are to be new.
    return itertools.cycle([Request.of(TEXT + str(i)).bound_to(call) for i in range(20_000 if new else 1)])


def report() -> Iterator[str]:
    yield "# What it costs to choose an engine\n"
    yield (
        f"{date.today()}; {os.cpu_count()} cores, no GPU; Python {platform.python_version()}; load average of the "
        f"machine when it began: {os.getloadavg()[0]:.1f}. Nanoseconds of CPU, medians of {ROUNDS} rounds.\n"
    )
    yield "| the first pick of | " + " | ".join(f"{count:,} engines" for count in COUNTS) + " |"
    yield "|---|" + "---:|" * len(COUNTS)
    all_legs = {count: legs(count) for count in COUNTS}
    for name, (make, new) in STRATEGIES.items():
        cells = [f"{ns(first_pick(make(), among, asked(new))):,.0f}" for among in all_legs.values()]
        yield f"| {name} | {' | '.join(cells)} |"
    yield "\n| filters | " + " | ".join(f"{count:,} engines" for count in COUNTS) + " |"
    yield "|---|" + "---:|" * len(COUNTS)
    tools = Request(messages=Request.of(TEXT).messages, tools=({"type": "function"},))
    for name, request in (("a plain request", Request.of(TEXT)), ("a request with tools", tools)):
        cells = []
        for among in all_legs.values():
            filters, call = Filters(among), Call()
            cells.append(f"{ns(lambda f=filters, r=request, c=call: f(r, c)):,.0f}")
        yield f"| {name} | {' | '.join(cells)} |"
    yield "\nMade by `python benchmarks/strategies.py`."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="Markdown file to write as well")
    options = parser.parse_args()
    text = "\n".join(report())
    print(text)
    if options.out is not None:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
