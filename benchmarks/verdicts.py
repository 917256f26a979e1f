"""Whether the statistics keep what they promise: false alarms, coverage, power, stops at any time; and what they cost.

python benchmarks/verdicts.py [--runs 2000] [--out FILE]
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Iterable, Iterator
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np

from llmops_sdk.evaluation.statistics import ConfidenceSequence, adjusted, compare

Data = tuple[np.ndarray, np.ndarray, "np.ndarray | None"]

SHAPES = (
    "normal", "log-normal", "pass or fail", "rare", "five grades", "repeats", "clusters", "unequal clusters",
    "one huge cluster", "clusters of passes",
)  # fmt: skip
SHIFTED = ("normal", "log-normal", "pass or fail", "repeats", "clusters", "unequal clusters")
LOPSIDED = ("exponential", "exponential clusters", "log-normal less its mean")
"""Not of two pipelines that do the same: differences with a mean of 0 that go one way more often than the other."""
BOUNDED = ("pass or fail", "rare", "five grades", "clusters of passes")


def grouped(shape: str, n: int, dice: np.random.Generator) -> np.ndarray:
    """About `n` cases in clusters."""
    number = max(n // 5, 2)
    if shape == "one huge cluster":
        sizes = np.r_[number, np.full(number, 4)]
    elif shape == "clusters":
        sizes = np.full(number, 5)
    else:
        sizes = np.maximum(dice.lognormal(1.2, 0.9, number), 1).astype(int)
    return np.repeat(np.arange(len(sizes)), sizes)


def drawn(shape: str, n: int, effect: float, dice: np.random.Generator) -> Data:
    """Scores of `n` cases whose true difference is `effect`."""
    if "cluster" in shape:
        group = grouped(shape, n, dice)
        of, size = group.max() + 1, len(group)
        if shape == "clusters of passes":
            passes = [dice.uniform(size=size) < dice.beta(2, 1, of)[group] for _ in range(2)]
            return passes[0] * 1.0, passes[1] * 1.0, group
        if shape == "exponential clusters":
            return np.zeros(size), dice.exponential(size=of)[group] + dice.exponential(size=size) - 2 + effect, group
        return dice.normal(size=size), dice.normal(effect, 1, of)[group] + dice.normal(size=size), group
    if shape == "log-normal":
        return dice.lognormal(size=n), dice.lognormal(size=n) + effect, None
    if shape == "exponential":
        return np.zeros(n), dice.exponential(size=n) - 1 + effect, None
    if shape == "log-normal less its mean":
        return np.zeros(n), dice.lognormal(size=n) - np.exp(0.5) + effect, None
    if shape == "five grades":
        true = dice.integers(1, 6, n)
        grades = [np.clip(true + dice.integers(-1, 2, n), 1, 5) / 5 for _ in range(2)]
        return grades[0], grades[1], None
    if shape in BOUNDED:
        churn, luck = 0.1 if shape == "pass or fail" else 0.02, dice.uniform(size=n)
        base, new = np.ones(n), np.ones(n)
        new[luck < churn] = 0
        base[(luck >= churn) & (luck < 2 * churn + effect)] = 0
        return base, new, None
    if shape == "repeats":
        return dice.normal(size=(n, 3)), dice.normal(effect, 0.5, (n, 1)) + dice.normal(size=(n, 3)), None
    return dice.normal(size=n), dice.normal(effect, 1, n), None


def compared(shape: str, n: int, effect: float, dice: np.random.Generator, runs: int, **options: float) -> Iterator:
    for _ in range(runs):
        base, new, group = drawn(shape, n, effect, dice)
        bounds = (0, 1) if shape in BOUNDED else (-np.inf, np.inf)
        yield compare(base, new, clusters=group, bounds=bounds, **options)


def told(found: Iterable) -> float:
    return float(np.mean([one.verdict in ("better", "worse") for one in found]))


def level(runs: int, shapes: tuple[str, ...] = SHAPES) -> list[str]:
    dice, rows = np.random.default_rng(1), []
    for shape in shapes:
        cells = []
        for n in (50, 100, 200) if "cluster" in shape else (10, 50, 200):
            found = list(compared(shape, n, 0.0, dice, runs))
            cells.append(f"{told(found):.1%} / {np.mean([one.low <= 0 <= one.high for one in found]):.1%}")
        rows.append(f"| {shape} | {' | '.join(cells)} |")
    return rows


def power(runs: int) -> list[str]:
    """`needed` is that of pilots whose estimate is near the truth: of the others it says what their estimate needs."""
    dice, rows = np.random.default_rng(2), []
    for shape in SHIFTED:
        cells = []
        for n in (50, 200):
            # Squares, since it is the variance that is estimated without bias.
            effect = float(np.mean([one.detectable**2 for one in compared(shape, n, 0.0, dice, 200)]) ** 0.5)
            cells.append(f"{told(compared(shape, n, effect, dice, runs)):.1%}")
        pilots = [one for one in compared(shape, 200, effect, dice, 400) if one.needed]
        pilots.sort(key=lambda one: abs(one.difference - effect))
        needed = round(float(np.mean([one.needed for one in pilots[:40]])))
        cells.append(f"{told(compared(shape, needed, effect, dice, runs)):.1%} ({needed})")
        rows.append(f"| {shape} | {' | '.join(cells)} |")
    return rows


def margins(runs: int) -> list[str]:
    """True differences of just the margin: how often they are called equivalent, and a drop of it within it."""
    dice, rows = np.random.default_rng(5), []
    for shape in (*SHIFTED[:2], *SHIFTED[3:], *LOPSIDED):
        cells = []
        for n in (50, 200):
            margin = 3.5 * float(np.median([one.standard_error for one in compared(shape, n, 0.0, dice, 200)]))
            up, down = (list(compared(shape, n, side * margin, dice, runs, margin=margin)) for side in (1, -1))
            wrong = [np.mean([one.verdict == "equivalent" for one in found]) for found in (up, down)]
            within = np.mean([one.drop(margin).verdict == "within" for one in down])
            cells.append(f"{max(wrong):.1%} / {within:.1%}")
        rows.append(f"| {shape} | {' | '.join(cells)} |")
    return rows


def families(runs: int, metrics: int = 10, n: int = 60) -> list[str]:
    """Ten metrics, none of which differs: runs in which any is called better or worse."""
    dice, rows = np.random.default_rng(6), []
    for kind, shared in (("independent", 0.0), ("correlated", 0.7)):
        alarms = {"holm": 0, "none": 0}
        for _ in range(runs):
            common = dice.normal(size=n)
            found = []
            for _ in range(metrics):
                difference = shared**0.5 * common + (1 - shared) ** 0.5 * dice.normal(size=n)
                found.append(compare(np.zeros(n), difference))
            alarms["none"] += told(found) > 0
            corrected = adjusted([one.p_value for one in found])
            alarms["holm"] += told(one.with_p_value(p) for one, p in zip(found, corrected, strict=True)) > 0
        rows.append(f"| {kind} | {alarms['holm'] / runs:.1%} | {alarms['none'] / runs:.1%} |")
    return rows


def stops(runs: int, length: int = 400) -> list[str]:
    dice, rows = np.random.default_rng(3), []
    for shape in ("normal", "log-normal", "pass or fail", "rare", "unequal clusters"):
        low, high = (-1.0, 1.0) if shape in BOUNDED else (-np.inf, np.inf)
        cells = []
        for effect in (0.0, 0.1 if shape in BOUNDED else 0.5):
            ends, fixed = [], []
            for _ in range(runs if effect == 0 else max(runs // 10, 1)):
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
                if effect:
                    once = compare(np.zeros(len(values)), values, bounds=(low, high))
                    fixed.append(once.needed or np.inf)
            cells.append(f"{np.mean(np.isfinite(ends)):.1%}")
        rows.append(f"| {shape} | {' | '.join(cells)} | {np.median(ends):.0f} | {np.median(fixed):.0f} |")
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
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "verdicts.md")
    options = parser.parse_args()
    runs = options.runs
    parts = {
        "level": partial(level, runs),
        "lopsided": partial(level, runs, LOPSIDED),
        "power": partial(power, runs // 2),
        "margins": partial(margins, runs // 2),
        "families": partial(families, runs // 2),
        "stops": partial(stops, runs),
        "cost": cost,
    }
    lines = {}
    for name, part in parts.items():
        lines[name] = "\n".join(part())
        print(lines[name], flush=True)
    page = f"""# What the statistics keep of their promises

{date.today()}; {os.cpu_count()} cores; Python {platform.python_version()}; {runs:,} simulated experiments for each
number on false alarms and coverage, {runs // 2:,} on margins, power and families. A share of 5 % has a standard error
of {100 * (0.05 * 0.95 / runs) ** 0.5:.1f} points.

Two pipelines that do the same: false alarms (promised: at most 5 %) / coverage of the interval (promised: 95 %).
Clusters: about five cases each, so 10, 20 and 40 of them.

| scores | 10 (clusters: 50) cases | 50 (100) cases | 200 cases |
|---|---|---|---|
{lines["level"]}

Differences whose mean is 0, but which go one way more often than the other, as no two pipelines that do the same:

| differences | 10 (clusters: 50) cases | 50 (100) cases | 200 cases |
|---|---|---|---|
{lines["lopsided"]}

A true difference of just the margin (3.5 standard errors): called equivalent (promised: at most 5 %) / a drop of it
called within it (promised: at most 2.5 %).

| differences | 50 cases | 200 cases |
|---|---|---|
{lines["margins"]}

A true difference as large as `detectable` says, and as many cases as `needed` says (in brackets): how often it is found
(promised: 80 %).

| scores | 50 cases | 200 cases | `needed` |
|---|---|---|---|
{lines["power"]}

Ten metrics, none of which differs: experiments with any false alarm (promised for Holm: at most 5 %).

| metrics | Holm | no correction |
|---|---|---|
{lines["families"]}

Looked at after every observation, 400 of them: runs that stop where the two do the same (promised: at most 5 %), runs
that stop where one is better (by 0.1 where scores are bounded, else by 0.5), their median length, and how many cases a
single look at the end needs.

| scores | false stops | right stops | observations | single look |
|---|---|---|---|---|
{lines["stops"]}

CPU for 10,000 cases and 20 metrics:

| | arrays | mappings |
|---|---|---|
{lines["cost"]}

Made by `python benchmarks/verdicts.py`.
"""
    options.out.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
