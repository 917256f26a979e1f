"""Do the intervals of corrected scores cover the truth? Simulated judges with known errors.

Run it: `python benchmarks/judges.py [simulations]`. Each line is one setting, simulated anew so many times (2,000 by
default): labels are drawn, then an experiment, and the corrected rate and difference are compared with the truth.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy import stats

from llmops_sdk.evaluation.statistics import corrected_difference, corrected_mean, labelled, prediction_powered


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
        cluster: Cases of a cluster.
    """

    se: float
    sp: float
    labels: int
    cases: int
    base: float
    new: float
    cluster: int = 1


SETTINGS = [
    Setting(se=0.9, sp=0.9, labels=100, cases=1_200, base=0.6, new=0.7),
    Setting(se=0.95, sp=0.8, labels=60, cases=1_200, base=0.8, new=0.9),
    Setting(se=0.8, sp=0.7, labels=200, cases=1_200, base=0.3, new=0.5),
    Setting(se=0.6, sp=0.55, labels=100, cases=1_200, base=0.5, new=0.7),
    Setting(se=0.55, sp=0.5, labels=200, cases=1_200, base=0.4, new=0.6),
    Setting(se=0.8, sp=0.8, labels=100, cases=50, base=0.2, new=0.1),
    Setting(se=0.9, sp=0.9, labels=100, cases=400, base=0.6, new=0.7, cluster=5),
    Setting(se=0.99, sp=0.99, labels=50, cases=100, base=0.5, new=0.8),
    Setting(se=0.7, sp=0.7, labels=100, cases=100, base=0.5, new=0.5),
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


def once(one: Setting, seed: int) -> dict[str, float]:
    """One experiment; whether the intervals cover, their width, and what was refused."""
    random = np.random.default_rng(seed)
    people = random.random(one.labels) < 0.5
    labels = labelled(people.astype(float), judged(people, one, random).astype(float))
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


def summed(rows: list[dict[str, float]]) -> str:
    """The means of a setting."""
    names = ("difference", "rate", "powered", "width", "powered_width", "wide")
    refused = sum(row.get("refused", 0.0) for row in rows)
    kept = [row for row in rows if "refused" not in row]
    means = {name: np.mean([row[name] for row in kept]) for name in names if kept and name in kept[0]}
    return "  ".join(f"{name} {value:.3f}" for name, value in means.items()) + f"  refused {refused / len(rows):.3f}"


def main() -> None:
    """All settings."""
    simulations = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    started = time.perf_counter()
    with ProcessPoolExecutor(2) as pool:
        for one in SETTINGS:
            rows = list(pool.map(once, [one] * simulations, range(simulations), chunksize=50))
            print(one, "\n   ", summed(rows), flush=True)
    print("grades\n   ", summed([graded(seed) for seed in range(simulations)]))
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
