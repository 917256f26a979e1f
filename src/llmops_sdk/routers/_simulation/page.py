"""A simulation as HTML and SVG: bars for each policy, beside the oracle where there is one; nothing is loaded."""

from __future__ import annotations

import math
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from llmops_sdk.routers._simulation.table import HEADINGS, cells

if TYPE_CHECKING:
    from llmops_sdk.routers._simulation.result import Outcome, Simulation

__all__ = ["fragment", "page", "svg"]

_STYLE = (
    ".llmops-simulation{font:13px/1.45 system-ui,sans-serif;margin:.4em 0}"
    ".llmops-simulation table{border-collapse:collapse;margin:.6em 0}"
    ".llmops-simulation th{font-weight:500;opacity:.6;text-align:right;padding:.12em .6em;border:0}"
    ".llmops-simulation td{padding:.12em .6em;text-align:right;border:0;font-variant-numeric:tabular-nums}"
    ".llmops-simulation th:first-child,.llmops-simulation td:first-child{text-align:left}"
)
_WIDTH, _ROW, _GAP = 760, 17, 34
_MEDIAN, _TAIL, _OTHER = "#2b8fb8", "#c99700", "#2e9e5b"


class _Plot(NamedTuple):
    title: str
    bars: tuple[tuple[str, Callable[[Outcome], float]], ...]
    unit: Callable[[float], str]


_PLOTS = (
    _Plot("seconds to the whole answer", ((_MEDIAN, lambda r: r.p50_s), (_TAIL, lambda r: r.p99_s)), "{:.2f} s".format),
    _Plot(
        "seconds to the first token",
        ((_MEDIAN, lambda r: r.first_token_p50_s), (_TAIL, lambda r: r.first_token_p99_s)),
        "{:.2f} s".format,
    ),
    _Plot("requests of the busiest engine / mean", ((_OTHER, lambda r: r.imbalance),), "{:.2f}".format),
    _Plot("tokens of prompts found in a prefix cache", ((_OTHER, lambda r: r.prefix_hit_rate),), "{:.0%}".format),
    _Plot("requests without an answer", ((_OTHER, lambda r: r.failed / r.sent),), "{:.2%}".format),
)


def page(simulation: Simulation) -> str:
    """A page of its own."""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(simulation.title)}</title>'
        f"<body>{fragment(simulation)}</body></html>\n"
    )


def fragment(simulation: Simulation) -> str:
    """For a notebook."""
    headings = "".join(f"<th>{escape(heading)}" for heading in HEADINGS)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}" for cell in cells(outcome)) for outcome in simulation.outcomes
    )
    return (
        f"<style>{_STYLE}</style><div class=llmops-simulation><b>{escape(simulation.title)}</b>"
        f"<table><tr>{headings}{rows}</table>{svg(simulation)}</div>"
    )


def svg(simulation: Simulation) -> str:
    """The plots, one below the other; those that have nothing to show are left out."""
    drawn, top = [], 8.0
    for plot in _PLOTS:
        values = [measure(one) for one in simulation.outcomes for _, measure in plot.bars]
        most = max((value for value in values if math.isfinite(value)), default=0.0)
        if most > 0:
            drawn.append(_draw(plot, simulation.outcomes, most, top))
            top += 14 + _ROW * len(values) + _GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{top:.0f}" role="img" '
        f'aria-label="{escape(simulation.title)}" font-family="system-ui,sans-serif" font-size="12" '
        f'fill="#7d8590">{"".join(drawn)}</svg>'
    )


def _draw(plot: _Plot, outcomes: tuple[Outcome, ...], most: float, top: float) -> str:
    both = len(plot.bars) == 2
    legend = f': <tspan fill="{_MEDIAN}">median</tspan>, <tspan fill="{_TAIL}">p99</tspan>' if both else ""
    names = min(max(len(one.policy) for one in outcomes) * 7 + 14, _WIDTH // 3)
    parts = [f'<text x="0" y="{top + 10:.0f}" font-weight="600">{plot.title}{legend}</text>']
    y = top + 18
    for one in outcomes:
        parts.append(f'<text x="{names - 8}" y="{y + 12:.0f}" text-anchor="end">{escape(one.policy)}</text>')
        for colour, measure in plot.bars:
            value = measure(one)
            width = (_WIDTH - names - 80) * value / most if math.isfinite(value) else 0.0
            said = plot.unit(value) if math.isfinite(value) else "no answer"
            parts.append(
                f'<rect x="{names}" y="{y + 2:.0f}" width="{width:.1f}" height="{_ROW - 4}" fill="{colour}"/>'
                f'<text x="{names + width + 6:.1f}" y="{y + 12:.0f}">{said}</text>'
            )
            y += _ROW
    return "".join(parts)
