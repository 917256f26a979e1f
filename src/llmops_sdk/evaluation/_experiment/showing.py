"""An experiment in a terminal and in a notebook: the verdicts first."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

from llmops_sdk.evaluation._experiment.tables import STYLE, Table
from llmops_sdk.evaluation._experiment.words import level, moments, spent

if TYPE_CHECKING:
    from rich.console import RenderableType

    from llmops_sdk.evaluation._experiment.contrasts import Contrast
    from llmops_sdk.evaluation._experiment.experiment import Experiment

__all__ = ["fragment", "renderables", "text"]

_MARKS = {"better": ("▲", "green"), "worse": ("▼", "red"), "equivalent": ("=", "cyan"), "cannot tell": ("?", "yellow")}
_COLOURS = {"green": "#2e9e5b", "red": "#d33c3c", "cyan": "#2b8fb8", "yellow": "#b07f00"}


def text(experiment: Experiment) -> str:
    """The verdicts, and what the runs took."""
    lines = [str(one) for one in experiment.contrasts]
    if not lines:
        lines = [line for name in experiment.score_names for line in str(experiment.scores(name)).split("\n")]
    if not lines:
        lines = [str(_overview(experiment)), "no metric was given, so nothing is compared"]
    return "\n".join([*lines, *experiment.warnings, *experiment.judges])


def renderables(experiment: Experiment) -> Iterator[RenderableType]:
    """For rich."""
    from rich.text import Text  # noqa: PLC0415  (rich calls this, so it is there)

    for contrast in experiment.contrasts:
        mark, colour = _mark(contrast)
        yield Text.assemble((f"{mark} ", f"bold {colour}"), str(contrast))
    for one in experiment.warnings:
        yield Text(one, style="yellow")
    yield _overview(experiment)
    for one in experiment.judges:
        yield Text(one, style="dim")


def fragment(experiment: Experiment) -> str:
    """For a notebook."""
    lines = []
    for contrast in experiment.contrasts:
        mark, colour = _mark(contrast)
        lines.append(f'<div><b style="color:{_COLOURS[colour]}">{mark}</b> {escape(str(contrast))}</div>')
    lines += [f'<div style="color:{_COLOURS["yellow"]}">{escape(one)}</div>' for one in experiment.warnings]
    table = _overview(experiment).fragment()
    judges = "".join(f"<div>{escape(one)}</div>" for one in experiment.judges)
    return f"<style>{STYLE}</style><div class=llmops-table>{''.join(lines)}{table}{judges}</div>"


def _mark(contrast: Contrast) -> tuple[str, str]:
    return _MARKS["cannot tell" if contrast.comparison is None else contrast.comparison.verdict]


def _overview(experiment: Experiment) -> Table:
    """A row for each pipeline: its means, and what it took."""
    names = experiment.score_names
    means = {
        (one.arm, name): level(one.mean, *experiment.scale(name)) for name in names for one in experiment.scores(name)
    }
    rows = [
        [
            one.arm,
            *(means.get((one.arm, name), "-") for name in names),
            f"{one.failed:,} of {one.cells:,}",
            f"{one.blocked:,}",
            moments(one.p50_s),
            moments(one.p95_s),
            spent(one.known_usd, one.unpriced, one.cells),
        ]
        for one in experiment.arms
    ]
    return Table(experiment.title, ["pipeline", *names, "failed", "blocked", "median", "95 of 100", "cost"], rows)
