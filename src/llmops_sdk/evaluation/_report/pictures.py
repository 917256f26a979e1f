"""The section of pictures: differences, cost against quality, times, and how scores are spread."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from llmops_sdk.evaluation._experiment.words import share
from llmops_sdk.evaluation._report.charts import Point, curves, forest, histogram, pareto
from llmops_sdk.evaluation._report.texts import escape

if TYPE_CHECKING:
    from llmops_sdk.evaluation._experiment.columns import Columns
    from llmops_sdk.evaluation._experiment.experiment import Experiment

__all__ = ["pictures"]

_MOST_ROWS, _MOST_SCORES = 40, 12
"""Pictures stay such that can be read, however many metrics there are; the tables have them all."""


def pictures(experiment: Experiment, columns: Columns) -> str:
    """The section; empty where there is nothing to draw."""
    drawn = [*_forests(experiment), *_fronts(experiment), *_times(columns), *_spreads(experiment, columns)]
    figures = "".join(
        f"<figure><figcaption>{title}<small>{note}</small></figcaption>{picture}</figure>"
        for title, note, picture in drawn
    )
    if not figures:
        return ""
    return (
        '<section aria-labelledby="pictures"><h2 id="pictures">Pictures</h2>'
        f'<p class="note">{_legend(list(columns.runs))}</p><div class="pictures">{figures}</div></section>'
    )


def _legend(labels: list[str]) -> str:
    return " ".join(
        f'<span><i class="arm a{number % 8}" aria-hidden="true"></i>{escape(label)}</span> '
        for number, label in enumerate(labels)
    )


def _forests(experiment: Experiment) -> Iterator[tuple[str, str, str]]:
    compared = [one for one in experiment.contrasts if one.comparison is not None]
    several = len({one.new for one in compared}) > 1
    for shares in (True, False):
        rows = [one for one in compared if share(one.bounds, one.unit) is shares]
        left_out = len(rows) - _MOST_ROWS
        if rows:
            title = f"Difference from {escape(experiment.base)}" + ("" if shares else ", other scores")
            note = f"with {experiment.analysis.level * 100:g} % intervals"
            note += "; the band is the margin" if any(one.comparison and one.comparison.margin for one in rows) else ""
            note += f"; {left_out:,} more in the list above" if left_out > 0 else ""
            yield title, note, forest(rows[:_MOST_ROWS], arms=several)


def _fronts(experiment: Experiment) -> Iterator[tuple[str, str, str]]:
    costs = {
        one.arm: float(one.known_usd) / (one.cells - one.unpriced)
        for one in experiment.arms
        if one.cells > one.unpriced
    }
    if len(costs) < 2 or not any(costs.values()):
        return
    unknown = [one.arm for one in experiment.arms if one.arm not in costs]
    partly = [one.arm for one in experiment.arms if one.unpriced and one.arm in costs]
    for name in experiment.score_names[:_MOST_SCORES]:
        bounds, unit = experiment.scale(name)
        if unit == "USD":
            continue  # cost against cost says nothing
        summaries = {one.arm: one for one in experiment.scores(name) if one.scores}
        points = [
            Point(arm=arm, number=number, cost=costs[arm], quality=found.mean, low=_or(found.low, found.mean),
                  high=_or(found.high, found.mean))
            for number, arm in enumerate(one.arm for one in experiment.arms)
            if arm in costs and (found := summaries.get(arm)) is not None
        ]  # fmt: skip
        if len(points) < 2:
            continue
        note = "mean cost of a run; dashed: no other is better in both"
        note += f"; the price of {escape(', '.join(unknown))} is not known" if unknown else ""
        note += f"; of {escape(', '.join(partly))} only a part" if partly else ""
        higher = experiment.higher_is_better(name)
        yield f"{escape(name)} against cost", note, pareto(points, name, bounds, unit, higher=higher)


def _times(columns: Columns) -> Iterator[tuple[str, str, str]]:
    found = [(label, number, sorted(runs.seconds)) for number, (label, runs) in enumerate(columns.runs.items())]
    found = [one for one in found if one[2]]
    if found:
        yield (
            "Time of a run",
            "share of the runs that took at most so long; runs that failed are not among them",
            curves(found),
        )


def _spreads(experiment: Experiment, columns: Columns) -> Iterator[tuple[str, str, str]]:
    for name in experiment.score_names[:_MOST_SCORES]:
        bounds, unit = experiment.scale(name)
        found = [
            (label, number, values)
            for number, label in enumerate(columns.runs)
            if (values := columns.scores(name, label).values())
        ]
        if found and any(value not in (0.0, 1.0) for _, _, values in found for value in values):
            yield escape(name), "distribution of the scores", histogram(found, name, bounds, unit)


def _or(value: float, other: float) -> float:
    return value if math.isfinite(value) else other
