"""An evaluation as HTML: the tables, the curve and the scores as plots; nothing is loaded."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from llmops_sdk.guards._quality.table import HEADINGS, parts, summary

if TYPE_CHECKING:
    from llmops_sdk.guards._quality.evaluation import Evaluation

__all__ = ["fragment", "page"]

_STYLE = (
    ".llmops-scores{font:13px/1.45 system-ui,sans-serif;margin:.4em 0}"
    ".llmops-scores table{border-collapse:collapse;margin:.6em 0}"
    ".llmops-scores th{font-weight:500;opacity:.6;text-align:left;padding:.12em .6em .12em 0;border:0}"
    ".llmops-scores td{padding:.12em .6em .12em 0;text-align:left;border:0;font-variant-numeric:tabular-nums}"
    ".llmops-scores svg{margin:.4em 1.2em .4em 0}"
    ".llmops-scores text{font:11px system-ui,sans-serif;fill:currentColor}"
)
_SIZE, _LEFT, _BOTTOM, _TOP = 240, 36, 34, 10
_MOST_POINTS = 400
_FOUND, _BENIGN = "#d33c3c", "#2b8fb8"


def page(report: Evaluation) -> str:
    """A page of its own."""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(report.guard)}</title>'
        f"<body>{fragment(report)}</body></html>\n"
    )


def fragment(report: Evaluation) -> str:
    """For a notebook."""
    at = "no threshold" if report.threshold is None else f"threshold {report.threshold:g}"
    figures = "".join(f"<tr><th>{escape(name)}<td>{escape(value)}" for name, value in summary(report))
    headings = "".join(f"<th>{escape(one.format(max_fpr=report.max_fpr))}" for one in HEADINGS)
    sources = "".join("<tr>" + "".join(f"<td>{escape(cell)}" for cell in row) for row in parts(report))
    return (
        f"<style>{_STYLE}</style><div class=llmops-scores><b>{escape(report.guard)}</b>: {report.rows:,} texts, {at}; "
        f"intervals of {report.confidence:.0%}<table>{figures}</table>{_curve(report)}{_scores(report)}"
        f"<table><tr>{headings}{sources}</table></div>"
    )


def _x(share: float) -> float:
    return _LEFT + (_SIZE - _LEFT - 8) * share


def _y(share: float) -> float:
    return _TOP + (_SIZE - _TOP - _BOTTOM) * (1 - share)


def _axes(name: str, below: str) -> str:
    ticks = "".join(
        f'<text x="{_x(at):.1f}" y="{_SIZE - _BOTTOM + 15}" text-anchor="middle">{at:g}</text>' for at in (0, 0.5, 1)
    )
    width, height = _x(1) - _x(0), _y(0) - _y(1)
    return (
        f'<svg width="{_SIZE}" height="{_SIZE}" role="img" aria-label="{name}">'
        f'<rect x="{_LEFT}" y="{_TOP}" width="{width:.1f}" height="{height:.1f}" fill="none" stroke="currentColor" '
        f'opacity=".25"/>{ticks}<text x="{_LEFT}" y="{_SIZE - 4}">{below}</text>'
    )


def _curve(report: Evaluation) -> str:
    """Recall against false alarms, and where the guard works now."""
    if not report.roc:
        return ""
    step = -(-len(report.roc) // _MOST_POINTS)
    points = [*report.roc[::step], report.roc[-1]]
    line = " ".join(f"{_x(across):.1f},{_y(up):.1f}" for across, up in points)
    ticks = "".join(f'<text x="{_LEFT - 5}" y="{_y(at) + 4:.1f}" text-anchor="end">{at:g}</text>' for at in (0, 0.5, 1))
    across, up = report.false_alarms.value or 0.0, report.recall.value or 0.0
    return (
        _axes("recall by false alarms", "false alarms; recall upwards")
        + ticks
        + f'<polyline points="{line}" fill="none" stroke="{_FOUND}" stroke-width="2"/>'
        + f'<circle cx="{_x(across):.1f}" cy="{_y(up):.1f}" r="4" fill="{_FOUND}"><title>the threshold</title></circle>'
        + "</svg>"
    )


def _scores(report: Evaluation) -> str:
    """How many texts of each label have which score; each label's bars by its own largest."""
    drawn = []
    for bars, colour in zip(report.histogram, (_BENIGN, _FOUND), strict=True):
        most = max(bars)
        width = 1 / len(bars)
        for number, count in enumerate(bars):
            if count:
                top = _y(count / most)
                drawn.append(
                    f'<rect x="{_x(number * width):.1f}" y="{top:.1f}" width="{_x(width) - _x(0):.1f}" '
                    f'height="{_y(0) - top:.1f}" fill="{colour}" opacity=".5"><title>{count:,}</title></rect>'
                )
    mark = ""
    if report.threshold is not None:
        at = _x(report.threshold)
        mark = (
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{_y(0):.1f}" stroke="currentColor" '
            'stroke-dasharray="3 3"/>'
        )
    below = f'score: <tspan fill="{_BENIGN}">benign</tspan>, <tspan fill="{_FOUND}">to be found</tspan>'
    return _axes("texts by score", below) + "".join(drawn) + mark + "</svg>"
