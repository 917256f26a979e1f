"""How often the detectors of drift raise false alarms, and how long they take to notice a change.

Nothing here is measured against a clock but the last line; all seeds are fixed, so the figures come out the same again.

    python benchmarks/drift.py [--days 2000] [--repeats 40] [--out benchmarks/results/drift.md]

"False alarms": runs in which nothing changes, of signals with every shape that monitoring meets, by detectors that are
allowed 0.1 false alarms a day. "Delays": the same number of times a change after a reference of some length.
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

from llmops_sdk.monitoring import Detector, expected_delay

DAY_S = 86_400.0
RATE = 0.1
PER_DAY = 500
Source = Callable[[random.Random], float]


def rate(share: float) -> Source:
    return lambda chance: float(chance.random() < share)


def skewed(scale: float = 1.0, sigma: float = 0.6) -> Source:
    return lambda chance: scale * chance.lognormvariate(0, sigma)


def normal(mean: float = 0.0) -> Source:
    return lambda chance: chance.gauss(mean, 1)


def mostly_zero(chance: random.Random) -> float:
    return chance.expovariate(1) if chance.random() < 0.01 else 0.0


SIGNALS: list[tuple[str, Any, Source]] = [
    ("rate of 0.2 %", "rate", rate(0.002)),
    ("rate of 2 %", "rate", rate(0.02)),
    ("rate of 30 %", "rate", rate(0.3)),
    ("rate of 97 %", "rate", rate(0.97)),
    ("log-normal, sigma 1", "value", skewed(sigma=1.0)),
    ("Pareto, infinite variance", "value", lambda chance: chance.paretovariate(1.1)),
    ("scores 1 to 5", "value", lambda chance: float(chance.choice((1, 3, 4, 4, 4, 5, 5, 5)))),
    ("0, rarely more", "value", mostly_zero),
]


def correlated(by: float, hold: int = 1) -> Callable[[random.Random], Iterator[float]]:
    """Normal values, each like the one before it; or each `hold` times."""

    def values(chance: random.Random) -> Iterator[float]:
        now = chance.gauss(0, 1)
        while True:
            now = by * now + math.sqrt(1 - by * by) * chance.gauss(0, 1)
            yield from [now] * hold

    return values


def daily(chance: random.Random) -> Iterator[float]:
    """Log-normal values that are twice as large at noon as at midnight."""
    for number in itertools.count():
        turn = 2 * math.pi * number / PER_DAY
        yield chance.lognormvariate(-math.log(2) / 2 * math.cos(turn), 0.6)


def false_alarms(days: int, values: Iterator[float], **options: Any) -> tuple[int, float]:
    """How many there were, and how many in a day."""
    detector, found = Detector(false_alarms_per_day=RATE, **options), 0
    for number, value in enumerate(itertools.islice(values, days * PER_DAY)):
        found += detector.observe(value, number * DAY_S / PER_DAY) is not None
    return found, found / days


def endless(source: Source, chance: random.Random) -> Iterator[float]:
    while True:
        yield source(chance)


CHANGES: list[tuple[str, Any, Source, Source, float, float]] = [
    ("rate 2 % to 4 %", "rate", rate(0.02), rate(0.04), 0.02, 0.04),
    ("rate 2 % to 10 %", "rate", rate(0.02), rate(0.1), 0.02, 0.1),
    ("rate 6 % to 2 %", "rate", rate(0.06), rate(0.02), 0.06, 0.02),
    ("pass rate 97 % to 90 %", "rate", rate(0.97), rate(0.9), 0.97, 0.9),
    ("other language 1 % to 20 %", "rate", rate(0.01), rate(0.2), 0.01, 0.2),
    ("mean + 0.25 sd", "value", normal(), normal(0.25), 0, 0.25),
    ("mean + 0.5 sd", "value", normal(), normal(0.5), 0, 0.5),
    ("mean + 1 sd", "value", normal(), normal(1), 0, 1),
    ("latency x 1.2", "value", skewed(), skewed(1.2), 0, math.log(1.2) / 0.6),
    ("latency x 2", "value", skewed(), skewed(2), 0, math.log(2) / 0.6),
]
REFERENCES = (500, 2_000, 10_000)


def delays(kind: Any, before: Source, after: Source, reference: int, repeats: int, most: int) -> tuple[str, int]:
    """Median and 90th of 100, and how many false alarms there were before the change."""
    found, early = [], 0
    for repeat in range(repeats):
        chance = random.Random(repeat)
        detector = Detector(kind=kind, seed=repeat, false_alarms_per_day=0.01)
        times = (8.64 * number for number in itertools.count())
        early += sum(detector.observe(before(chance), at) is not None for at in itertools.islice(times, reference))
        late = (number for number in range(1, most + 1) if detector.observe(after(chance), next(times)))
        found.append(next(late, math.inf))
    found.sort()
    middle, late = statistics.median_low(found), found[int(0.9 * len(found))]
    missed = sum(map(math.isinf, found))
    said = "not found" if middle == math.inf else f"{middle:,} / {late:,}".replace("inf", "not found")
    return said + (f" ({missed} of {repeats} not found)" if missed else ""), early


def microseconds(kind: Any, source: Source) -> float:
    chance = random.Random(0)
    values = [source(chance) for _ in range(50_000)]
    detector = Detector(kind=kind)
    start = time.process_time()
    for number, value in enumerate(values):
        detector.observe(value, float(number))
    return (time.process_time() - start) / len(values) * 1e6


def report(days: int, repeats: int) -> Iterator[str]:
    yield "# Drift: false alarms and delays\n"
    yield f"`python benchmarks/drift.py`. Measured {date.today()}; Python {sys.version.split()[0]}.\n"
    yield f"## Nothing changes: {days:,} days of {PER_DAY} observations, {RATE} false alarms a day allowed\n"
    yield "| signal | false alarms | in a day |\n|---|---|---|"
    for name, kind, source in SIGNALS:
        found, in_a_day = false_alarms(days, endless(source, random.Random(name)), kind=kind)
        yield f"| {name} | {found} | {in_a_day:.3f} |"
    long = Detector(false_alarms_per_day=RATE, kind="value")
    chance = random.Random(7)
    found = sum(long.observe(chance.lognormvariate(0, 1), number * 0.864) is not None for number in range(1_000_000))
    yield f"| log-normal, one stream of 1,000,000 observations in 10 days | {found} | {found / 10:.3f} |"
    yield "\n## The promise does not hold: observations that depend on each other, or on the hour\n"
    yield "| signal | false alarms | in a day |\n|---|---|---|"
    broken: list[tuple[str, Iterator[float], dict[str, Any]]] = [
        (f"correlation {by} with the one before", correlated(by)(random.Random(3)), {}) for by in (0.1, 0.3, 0.6)
    ]
    broken.append(("each value three times", correlated(0, hold=3)(random.Random(3)), {}))
    broken.append(("twice as large at noon", daily(random.Random(3)), {}))
    broken.append(('twice as large at noon, `season="day"`', daily(random.Random(3)), {"season": "day"}))
    for name, values, options in broken:
        found, in_a_day = false_alarms(days // 4, values, kind="value", **options)
        yield f"| {name} ({days // 4} days) | {found} | {in_a_day:.3f} |"
    yield (
        f"\n## Delays: observations until the alarm, median / 90th of 100 of {repeats} runs; 0.01 false alarms a day "
        "allowed, 10,000 observations a day\n"
    )
    yield "| change | worked out | " + " | ".join(f"reference of {one:,}" for one in REFERENCES) + " |"
    yield "|---|---|" + "---|" * len(REFERENCES)
    early = 0
    for name, kind, before, after, low, high in CHANGES:
        worked_out = expected_delay(kind=kind, before=low, after=high, observations_per_day=10_000)
        cells = []
        for reference in REFERENCES:
            said, false = delays(kind, before, after, reference, repeats, most=int(4 * worked_out))
            cells.append(said)
            early += false
        yield f"| {name} | {worked_out:,.0f} | " + " | ".join(cells) + " |"
    all_days = len(CHANGES) * repeats * sum(REFERENCES) / 10_000
    yield (
        f"\nFalse alarms before the change, in all of these runs: {early} in {all_days:,.0f} days; "
        f"{all_days * 0.01:g} are allowed.\n"
    )
    costs = ", ".join(
        f"{microseconds(kind, source):.1f} us ({kind})" for kind, source in (("rate", rate(0.02)), ("value", skewed()))
    )
    yield f"CPU for an observation: {costs}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=2_000)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    lines = []
    for line in report(arguments.days, arguments.repeats):
        print(line, flush=True)
        lines.append(line)
    if arguments.out:
        arguments.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
