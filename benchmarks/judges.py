"""Do the intervals of corrected scores cover the truth? Simulated judges with known errors.

`python benchmarks/judges.py [simulations] [--out FILE]`. Each row is one setting, simulated anew so many times (2,000
by default): labels are drawn, then an experiment; the corrected rate and difference are compared with the truth.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path

sys.path.pop(0)  # a file beside this one has the name of a module that numpy imports

import numpy as np
from scipy import stats

from llmops_sdk.evaluation.statistics import (
    Labelled,
    corrected_difference,
    corrected_mean,
    labelled,
    prediction_powered,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A judge, labels, and an experiment.

    Attributes:
        se: Sensitivity.
        sp: Specificity.
        labels: Answers that people have labelled.
        cases: Cases of the experiment.
        base: Rate of passes of the base.
        new: That of the new one.
        passed: Rate of passes among the labels.
        cluster: Cases of a cluster, and labels of one; the judge errs alike on half of a cluster's labels.
    """

    se: float
    sp: float
    labels: int
    cases: int
    base: float
    new: float
    passed: float = 0.5
    cluster: int = 1


SETTINGS = [
    Setting(se=0.9, sp=0.9, labels=100, cases=1_200, base=0.6, new=0.7),
    Setting(se=0.95, sp=0.8, labels=60, cases=1_200, base=0.8, new=0.9),
    Setting(se=0.8, sp=0.7, labels=200, cases=1_200, base=0.3, new=0.5),
    Setting(se=0.6, sp=0.55, labels=100, cases=1_200, base=0.5, new=0.7),
    Setting(se=0.55, sp=0.5, labels=200, cases=1_200, base=0.4, new=0.6),
    Setting(se=0.85, sp=0.75, labels=100, cases=1_200, base=0.05, new=0.1, passed=0.2),
    Setting(se=0.9, sp=0.7, labels=150, cases=600, base=0.9, new=0.95, passed=0.85),
    Setting(se=0.8, sp=0.8, labels=100, cases=50, base=0.2, new=0.1),
    Setting(se=0.99, sp=0.99, labels=50, cases=100, base=0.5, new=0.8),
    Setting(se=0.7, sp=0.7, labels=100, cases=100, base=0.5, new=0.5),
    Setting(se=0.9, sp=0.9, labels=100, cases=400, base=0.6, new=0.7, cluster=5),
    Setting(se=0.85, sp=0.8, labels=200, cases=1_200, base=0.5, new=0.6, passed=0.7, cluster=4),
]
"""Over 1,000 cases the intervals are those of expansions, which take no time; below resamples are drawn."""


def experiment(one: Setting, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """People's verdicts on base and new, correlated by case and cluster, and the clusters."""
    groups = np.arange(one.cases) // one.cluster
    shared = random.normal(size=groups[-1] + 1)[groups] if one.cluster > 1 else np.zeros(one.cases)
    own = random.normal(size=one.cases)
    mixed = np.where(one.cluster > 1, np.sqrt(0.5) * shared + np.sqrt(0.5) * own, own)
    threshold = np.sqrt(0.5) * mixed + np.sqrt(0.5) * random.normal(size=(2, one.cases))
    cuts = [float(stats.norm.ppf(rate)) for rate in (one.base, one.new)]
    return threshold[0] < cuts[0], threshold[1] < cuts[1], groups


def judged(truth: np.ndarray, one: Setting, random: np.random.Generator) -> np.ndarray:
    """What the judge says."""
    return np.where(truth, random.random(truth.shape) < one.se, random.random(truth.shape) >= one.sp)


def labels_of(one: Setting, random: np.random.Generator) -> Labelled:
    """Labels; in a cluster half of the answers share the judge's luck, so that they say less than so many."""
    people = random.random(one.labels) < one.passed
    groups = np.arange(one.labels) // one.cluster
    luck = np.where(random.random(one.labels) < 0.5, random.random(groups[-1] + 1)[groups], random.random(one.labels))
    if one.cluster == 1:
        return labelled(people.astype(float), judged(people, one, random).astype(float))
    said = np.where(people, luck < one.se, luck >= one.sp)
    return labelled(people.astype(float), said.astype(float), clusters=groups.tolist())


def once(one: Setting, seed: int) -> dict[str, float]:
    """One experiment; whether the intervals cover, their width, and what was refused."""
    random = np.random.default_rng(seed)
    labels = labels_of(one, random)
    if labels.refusal is not None:
        return {"refused": 1.0}
    base, new, groups = experiment(one, random)
    seen = [dict(enumerate(judged(truth, one, random).astype(float))) for truth in (base, new)]
    clusters = dict(enumerate(groups)) if one.cluster > 1 else None
    difference = corrected_difference(seen[0], seen[1], labels, clusters=clusters)
    rate = corrected_mean(seen[1], labels, clusters=clusters)
    found = {
        "difference": float(difference.low <= one.new - one.base <= difference.high),
        "width": difference.high - difference.low,
        "rate": float(rate.low <= one.new <= rate.high),
        "wide": float(difference.wide),
    }
    units = one.cases // one.cluster
    chosen = random.choice(units, min(max(one.labels // one.cluster, 20), units // 2), replace=False)
    few = np.flatnonzero(np.isin(groups, chosen))
    seen_difference = {case: seen[1][case] - seen[0][case] for case in seen[0]}
    true_difference = {int(case): float(new[case]) - float(base[case]) for case in few}
    powered = prediction_powered(seen_difference, true_difference, clusters=clusters, bounds=(-1, 1))
    covered = powered.low <= one.new - one.base <= powered.high
    return found | {"powered": float(covered), "powered_width": powered.high - powered.low}


def graded(seed: int) -> dict[str, float]:
    """A judge of grades, 0 to 1 in steps of 0.25, that is generous, noisy and sees half of the spread."""
    random = np.random.default_rng(seed)

    def of_people(shift: float, size: int) -> np.ndarray:
        return np.clip(np.round(random.normal(2 + shift, 1, size)), 0, 4) / 4

    def of_judge(people: np.ndarray) -> np.ndarray:
        return np.clip(0.3 + 0.5 * people + random.normal(0, 0.1, people.shape), 0, 1)

    people = of_people(0, 80)
    labels = labelled(people, of_judge(people))
    if labels.refusal is not None:
        return {"refused": 1.0}
    cases = [dict(enumerate(of_judge(of_people(shift, 100)))) for shift in (0, 0.5)]
    difference, mean = corrected_difference(cases[0], cases[1], labels), corrected_mean(cases[1], labels)
    truth = [_mean_grade(shift) for shift in (0, 0.5)]
    return {
        "difference": float(difference.low <= truth[1] - truth[0] <= difference.high),
        "width": difference.high - difference.low,
        "rate": float(mean.low <= truth[1] <= mean.high),
        "wide": float(difference.wide),
    }


def _mean_grade(shift: float) -> float:
    at_least = [stats.norm.sf(grade - 0.5, loc=2 + shift) for grade in (1, 2, 3, 4)]
    return float(sum(at_least)) / 4


COLUMNS = ("difference", "rate", "powered", "width", "powered_width", "wide")
HEADS = (
    "sensitivity", "specificity", "labels", "of them passed", "cases", "in clusters of", "base", "new",
    "difference covered", "rate covered", "prediction-powered covered", "mean width", "prediction-powered width",
    "all is possible", "refused",
)  # fmt: skip


def row(setting: list[str], rows: list[dict[str, float]]) -> str:
    """A line of the table: shares and means over the simulations that were not refused."""
    kept = [one for one in rows if "refused" not in one]
    means = [f"{np.mean([one[name] for one in kept]):.3f}" if kept and name in kept[0] else "" for name in COLUMNS]
    return "| " + " | ".join([*setting, *means, f"{1 - len(kept) / len(rows):.3f}"]) + " |"


def lines(simulations: int) -> Iterator[str]:
    """The whole table."""
    yield "# Corrected scores: do the intervals cover?\n"
    yield (
        f"`python benchmarks/judges.py`. Measured {date.today()}; Python {platform.python_version()}, {os.cpu_count()} "
        f"cores. {simulations:,} simulations each, intervals of 95 %.\n"
    )
    yield "| " + " | ".join(HEADS) + " |\n|" + "---|" * len(HEADS)
    with ProcessPoolExecutor(2) as pool:
        for one in SETTINGS:
            rows = list(pool.map(once, [one] * simulations, range(simulations), chunksize=50))
            said = [one.se, one.sp, one.labels, one.passed, one.cases, one.cluster, one.base, one.new]
            yield row([f"{value:,}" for value in said], rows)
        rows = list(pool.map(graded, range(simulations), chunksize=50))
        yield row(["grades", "", "80", "", "100", "1", "0.5", "0.619"], rows)


def main() -> None:
    """All settings."""
    parser = argparse.ArgumentParser()
    parser.add_argument("simulations", nargs="?", type=int, default=2_000)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    started, said = time.perf_counter(), []
    for line in lines(given.simulations):
        said.append(line)
        print(line, flush=True)
    print(f"{time.perf_counter() - started:.0f} s", file=sys.stderr)
    if given.out is not None:
        given.out.write_text("\n".join(said) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
