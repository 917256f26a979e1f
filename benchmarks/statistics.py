"""Whether the statistics keep what they promise: false alarms, coverage, power, stops at any time; and what they cost.

python benchmarks/statistics.py [--runs 2000] [--out FILE]
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

sys.path.pop(0)  # this file's name is that of a module that numpy imports

import numpy as np

from llmops_sdk.evaluation.statistics import ConfidenceSequence, compare

Data = tuple[np.ndarray, np.ndarray, "np.ndarray | None"]

SHAPES = ("normal", "log-normal", "one-sided", "pass or fail", "rare", "clusters", "unequal clusters", "repeats")
BOUNDED = ("pass or fail", "rare")


def drawn(shape: str, n: int, effect: float, dice: np.random.Generator) -> Data:
    """Scores of `n` cases whose true difference is `effect`."""
    if shape == "log-normal":
        return dice.lognormal(size=n), dice.lognormal(size=n) + effect, None
    if shape == "one-sided":
        return np.zeros(n), dice.exponential(size=n) - 1 + effect, None
    if shape in BOUNDED:
        churn, luck = 0.1 if shape == "pass or fail" else 0.02, dice.uniform(size=n)
        base, new = np.ones(n), np.ones(n)
        new[luck < churn] = 0
        base[(luck >= churn) & (luck < 2 * churn + effect)] = 0
        return base, new, None
    if shape == "repeats":
        return dice.normal(size=(n, 3)), dice.normal(effect, 0.5, (n, 1)) + dice.normal(size=(n, 3)), None
    if "clusters" in shape:
        number = max(n // 5, 2)
        sizes = np.full(number, 5) if shape == "clusters" else np.maximum(dice.lognormal(1.2, 0.9, number), 1)
        group = np.repeat(np.arange(number), sizes.astype(int))
        shared = dice.normal(effect, 1, number)[group]
        return dice.normal(size=len(group)), shared + dice.normal(size=len(group)), group
    return dice.normal(size=n), dice.normal(effect, 1, n), None


def compared(shape: str, n: int, effect: float, dice: np.random.Generator, runs: int) -> Iterator:
    for _ in range(runs):
        base, new, group = drawn(shape, n, effect, dice)
        yield compare(base, new, clusters=group, bounds=(0, 1) if shape in BOUNDED else (-np.inf, np.inf))


def level(runs: int) -> list[str]:
    dice, rows = np.random.default_rng(1), []
    for shape in SHAPES:
        cells = []
        for n in (25, 100, 500):
            found = list(compared(shape, n, 0.0, dice, runs))
            alarms = np.mean([one.verdict in ("better", "worse") for one in found])
            cells.append(f"{alarms:.1%} / {np.mean([one.low <= 0 <= one.high for one in found]):.1%}")
        rows.append(f"| {shape} | {' | '.join(cells)} |")
    return rows


def power(runs: int) -> list[str]:
    dice, rows = np.random.default_rng(2), []
    for shape in SHAPES:
        cells = []
        for n in (50, 200):
            effect = float(np.median([one.detectable for one in compared(shape, n, 0.0, dice, 100)]))
            cells.append(f"{np.mean([one.verdict == 'better' for one in compared(shape, n, effect, dice, runs)]):.1%}")
        pilot = [one for one in compared(shape, 100, effect, dice, 100) if one.needed]
        # What is needed for the true effect: that of the pilots whose estimate is nearest to it.
        needed = int(
            np.median([one.needed for one in sorted(pilot, key=lambda one: abs(one.difference - effect))[:15]])
        )
        found = np.mean([one.verdict == "better" for one in compared(shape, needed, effect, dice, runs)])
        rows.append(f"| {shape} | {' | '.join(cells)} | {found:.1%} ({needed}) |")
    return rows


def stops(runs: int, length: int = 500) -> list[str]:
    dice, rows = np.random.default_rng(3), []
    for shape in ("normal", "log-normal", "pass or fail", "rare", "unequal clusters"):
        low, high = (-1.0, 1.0) if shape in BOUNDED else (-np.inf, np.inf)
        cells = []
        for effect in (0.0, 0.1 if shape in BOUNDED else 0.5):
            ends = []
            for _ in range(runs if effect == 0 else max(runs // 5, 1)):
                base, new, group = drawn(shape, length * (5 if "clusters" in shape else 1), effect, dice)
                values = new - base
                if group is not None:
                    values = np.bincount(group, values) / np.bincount(group)
                sequence = ConfidenceSequence(low=low, high=high)
                ends.append(np.inf)
                for number, value in enumerate(values):
                    sequence.observe(float(value))
                    if sequence.p_value() <= 0.05:
                        ends[-1] = number + 1
                        break
            cells.append(f"{np.mean(np.isfinite(ends)):.1%}" + (f" | {np.median(ends):.0f}" if effect else ""))
        rows.append(f"| {shape} | {' | '.join(cells)} |")
    return rows


def cost(cases: int = 10_000, metrics: int = 20) -> list[str]:
    dice, rows = np.random.default_rng(4), []
    for name, group in (("no clusters", None), ("400 clusters", np.arange(cases) % 400)):
        scores = [(dice.normal(size=cases), dice.normal(size=cases)) for _ in range(metrics)]
        began = time.process_time()
        for base, new in scores:
            compare(base, new, clusters=group)
        arrays = time.process_time() - began
        by_case = [tuple(dict(enumerate(one.tolist())) for one in pair) for pair in scores]
        belongs = None if group is None else dict(enumerate(group.tolist()))
        began = time.process_time()
        for base, new in by_case:
            compare(base, new, clusters=belongs)
        rows.append(f"| {name} | {arrays:.2f} s | {time.process_time() - began:.2f} s |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2_000)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "statistics.md")
    options = parser.parse_args()
    parts = {"level": level(options.runs), "power": power(options.runs), "stops": stops(options.runs), "cost": cost()}
    lines = {name: "\n".join(rows) for name, rows in parts.items()}
    page = f"""# What the statistics keep of their promises

{date.today()}; {os.cpu_count()} cores; Python {platform.python_version()}; {options.runs:,} simulated experiments for
each number.

Two pipelines that do the same: false alarms (promised: at most 5 %) / coverage of the interval (promised: 95 %).

| scores | 25 cases | 100 cases | 500 cases |
|---|---|---|---|
{lines["level"]}

A true difference as large as `detectable` says, and as many cases as `needed` says (in brackets): how often it is found
(promised: 80 %).

| scores | 50 cases | 200 cases | `needed` |
|---|---|---|---|
{lines["power"]}

Looked at after every observation, 500 of them: runs that stop where the two do the same (promised: at most 5 %), runs
that stop where one is better (by 0.1 where scores are bounded, else by 0.5), and their median length.

| scores | false stops | right stops | observations |
|---|---|---|---|
{lines["stops"]}

CPU for 10,000 cases and 20 metrics:

| | arrays | mappings |
|---|---|---|
{lines["cost"]}

Made by `python benchmarks/statistics.py`.
"""
    print(page)
    options.out.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
