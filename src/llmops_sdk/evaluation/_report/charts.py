"""The pictures of a report, as SVG in the page's own colours."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmops_sdk.evaluation._experiment.words import difference, level, moments, money, share
from llmops_sdk.evaluation._report.texts import escape

if TYPE_CHECKING:
    from llmops_sdk.evaluation._experiment.contrasts import Contrast
    from llmops_sdk.evaluation.statistics import Comparison

__all__ = ["Point", "curves", "forest", "histogram", "pareto", "slug"]

_WIDTH = 560
_COLOURS = 8
_CURVE = 120
"""Points of a curve."""
_BINS = 20
_TAIL = 10
"""Times the median, from which the largest score makes an axis logarithmic."""


def slug(contrast: Contrast) -> str:
    """The class of a verdict."""
    found = contrast.comparison
    return "cannot" if found is None or found.verdict == "cannot tell" else found.verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axis:
    """From values to places in a picture, linear or logarithmic."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def at(self, value: float) -> float:
        low, high, here = self.low, self.high, min(max(value, self.low), self.high)
        if self.logarithmic:
            low, high, here = math.log(low), math.log(high), math.log(here)
        return self.start + (self.end - self.start) * (here - low) / (high - low)

    def value(self, place: float) -> float:
        """What stands at a place."""
        part = (place - self.start) / (self.end - self.start)
        if self.logarithmic:
            return math.exp(math.log(self.low) + part * math.log(self.high / self.low))
        return self.low + (self.high - self.low) * part

    def ticks(self) -> list[float]:
        """Some round values on it."""
        if self.logarithmic:
            powers = range(math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9) + 1)
            found = [10.0**power for power in powers]
            return found if len(found) > 1 else [self.low, math.sqrt(self.low * self.high), self.high]
        step = _round((self.high - self.low) / 4)
        first = math.ceil(self.low / step - 1e-9)
        return [number * step for number in range(first, math.floor(self.high / step + 1e-9) + 1)]


def _round(value: float) -> float:
    """Up to a step that reads well."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= value * 0.999)


def _wide(low: float, high: float) -> tuple[float, float]:
    """With some room at both ends, and never empty."""
    room = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    return low - room, high + room


def _svg(height: float, label: str, inside: str) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height:.0f}" role="img" aria-label="{escape(label)}">{inside}</svg>'


def forest(contrasts: Sequence[Contrast], *, arms: bool) -> str:
    """Differences with their intervals, a row each: shares on one axis, everything else on a scale of its own.

    Args:
        contrasts: Those with a comparison.
        arms: Whether rows have to say which pipeline they are of.
    """
    shares = all(share(one.bounds, one.unit) for one in contrasts)
    left, right, top, row = 176, _WIDTH - 128, 8, 26
    ends = [[one.low, one.high, one.difference] for one in _compared(contrasts)]
    common = max((abs(value) for row_ends in ends for value in row_ends if math.isfinite(value)), default=0.0) or 1.0
    bottom = top + row * len(contrasts)
    parts = []
    if shares:
        axis = _Axis(low=-common * 1.06, high=common * 1.06, start=left, end=right)
        parts += [
            f'<line class="grid" x1="{axis.at(one):.1f}" x2="{axis.at(one):.1f}" y1="{top}" y2="{bottom}"/>'
            f'<text x="{axis.at(one):.1f}" y="{bottom + 14}" text-anchor="middle">{_points(one)}</text>'
            for one in axis.ticks()
        ]
    middle = (left + right) / 2
    parts.append(f'<line class="zero" x1="{middle}" x2="{middle}" y1="{top}" y2="{bottom}"/>')
    for number, contrast in enumerate(contrasts):
        found = contrast.comparison
        if found is None:
            continue
        finite = [
            abs(one) for one in (found.low, found.high, found.difference, found.margin or 0) if math.isfinite(one)
        ]
        reach = common if shares else max(finite) or 1.0
        axis = _Axis(low=-reach * 1.06, high=reach * 1.06, start=left, end=right)
        y, mark = top + row * (number + 0.5), f"{slug(contrast)}-mark"
        if found.margin is not None:
            start, end = axis.at(-found.margin), axis.at(found.margin)
            parts.append(f'<rect class="margin" x="{start:.1f}" y="{y - 9}" width="{end - start:.1f}" height="18"/>')
        name = contrast.score if not arms else f"{contrast.new}: {contrast.score}"
        said = difference(found.difference, contrast.bounds, contrast.unit)
        parts.append(
            f"<g><title>{escape(str(contrast))}</title>"
            f'<text class="name" x="{left - 10}" y="{y + 4}" text-anchor="end">{escape(_short(name, 27))}</text>'
            f'<line class="reach {mark}" x1="{axis.at(found.low):.1f}" x2="{axis.at(found.high):.1f}" y1="{y}" '
            f'y2="{y}"/>'
            f'<circle class="{mark}" cx="{axis.at(found.difference):.1f}" cy="{y}" r="4.5"/>'
            f'<text class="name" x="{right + 10}" y="{y + 4}">{escape(_short(said, 19))}</text></g>'
        )
    unit = "points" if shares else "each score on its own scale"
    parts.append(f'<text x="{_WIDTH - 4}" y="{bottom + 14}" text-anchor="end">{unit}</text>')
    label = "differences with their intervals: " + "; ".join(map(str, contrasts))
    return _svg(bottom + 20, label, "".join(parts))


def _points(value: float) -> str:
    return f"{value * 100:+.3g}" if abs(value) > 1e-9 else "0"


def _compared(contrasts: Sequence[Contrast]) -> list[Comparison]:
    return [one.comparison for one in contrasts if one.comparison is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One pipeline in the plane of cost and quality."""

    arm: str
    number: int
    cost: float
    quality: float
    low: float
    high: float


def pareto(points: Sequence[Point], score: str, bounds: tuple[float, float], unit: str, *, higher: bool) -> str:
    """Cost of a run against a score; the dashed line joins those that no other is better than in both."""
    height, left, bottom = 230, 64, 34
    finite = [one for point in points for one in (point.low, point.high, point.quality) if math.isfinite(one)]
    low, high = _wide(min(finite), max(finite))
    most = max(point.cost for point in points)
    x = _Axis(low=0.0, high=most * 1.12 or 1.0, start=left, end=_WIDTH - 14)
    y = _Axis(low=low, high=high, start=height - bottom, end=12)
    front = _front(points, higher=higher)
    line = " ".join(f"{x.at(one.cost):.1f},{y.at(one.quality):.1f}" for one in front)
    parts = [_grid(x, y, height - bottom, lambda value: level(value, bounds, unit), money)]
    parts.append(f'<polyline class="front" points="{line}"/>')
    said: list[tuple[float, float]] = []
    for one in sorted(points, key=lambda one: y.at(one.quality)):
        px, py = x.at(one.cost), y.at(one.quality)
        best = " (on the Pareto front)" if one in front else ""
        end = px > _WIDTH * 0.75
        line_y = max([py - 7, *(other + 13 for place, other in said if abs(place - px) < 160 and other > py - 20)])
        said.append((px, line_y))
        parts.append(
            f"<g><title>{escape(one.arm)}: {escape(level(one.quality, bounds, unit))} at {money(one.cost)} a run{best}"
            "</title>"
            f'<line class="reach s{one.number % _COLOURS}" x1="{px:.1f}" x2="{px:.1f}" y1="{y.at(one.low):.1f}" '
            f'y2="{y.at(one.high):.1f}"/>'
            f'<circle class="f{one.number % _COLOURS}" cx="{px:.1f}" cy="{py:.1f}" r="5.5"/>'
            f'<text class="name" x="{px + (-10 if end else 10):.1f}" y="{line_y:.1f}"'
            f"{' text-anchor=' + chr(34) + 'end' + chr(34) if end else ''}>{escape(_short(one.arm, 24))}</text></g>"
        )
    parts.append(f'<text x="{_WIDTH - 14}" y="{height - 4}" text-anchor="end">US dollars a run</text>')
    return _svg(height, f"{score} against the cost of a run", "".join(parts))


def _front(points: Sequence[Point], *, higher: bool) -> list[Point]:
    """Those that no other beats in cost and quality, cheapest first."""

    def good(one: Point) -> float:
        return one.quality if higher else -one.quality

    front: list[Point] = []
    for one in sorted(points, key=lambda one: (one.cost, -good(one))):
        if not front or good(one) > good(front[-1]):
            front.append(one)
    return front


def curves(seconds: Sequence[tuple[str, int, Sequence[float]]]) -> str:
    """Which share of the runs took at most so long; time is logarithmic.

    Args:
        seconds: Label, number and sorted times of each pipeline.
    """
    height, left, bottom = 230, 50, 34
    low = min(max(times[0], 1e-6) for _, _, times in seconds)
    high = max(times[-1] for _, _, times in seconds)
    x = _Axis(low=low * 0.9, high=max(high, low) * 1.1, start=left, end=_WIDTH - 14, logarithmic=True)
    y = _Axis(low=0.0, high=1.0, start=height - bottom, end=12)
    parts = [_grid(x, y, height - bottom, lambda value: f"{value:.0%}", moments)]
    for label, number, times in seconds:
        places = sorted({round(step * (len(times) - 1) / _CURVE) for step in range(_CURVE + 1)})
        line = " ".join(f"{x.at(max(times[place], low)):.1f},{y.at((place + 1) / len(times)):.1f}" for place in places)
        start = f"{x.at(max(times[0], low)):.1f},{y.at(0.0):.1f}"
        parts.append(
            f'<polyline class="curve s{number % _COLOURS}" points="{start} {line}"><title>{escape(label)}</title>'
            "</polyline>"
        )
    return _svg(height, "share of the runs that took at most so long", "".join(parts))


def histogram(
    values: Sequence[tuple[str, int, Sequence[float]]], score: str, bounds: tuple[float, float], unit: str
) -> str:
    """How often scores were what: bars of the pipelines beside each other in each bin."""
    height, left, bottom = 200, 50, 34
    found = [one for _, _, given in values for one in given]
    low, high = min(found), max(found)
    if not high > low:
        low, high = _wide(low, high)
    # A long tail, as that of times, would press everything else into the first bin.
    tail = low > 0 and high > _TAIL * sorted(found)[len(found) // 2]
    x = _Axis(low=low, high=high, start=left, end=_WIDTH - 14, logarithmic=tail)
    slot = (x.end - x.start) / _BINS
    shares = []
    for _, _, given in values:
        counts = [0] * _BINS
        for one in given:
            counts[min(int((x.at(one) - x.start) / slot), _BINS - 1)] += 1
        shares.append([count / len(given) for count in counts])
    y = _Axis(low=0.0, high=max(map(max, shares)) * 1.05, start=height - bottom, end=12)
    parts = [_grid(x, y, height - bottom, lambda value: f"{value:.0%}", lambda value: level(value, bounds, unit))]
    width = max((slot - 2) / len(values), 0.8)
    for place, ((label, number, _), parted) in enumerate(zip(values, shares, strict=True)):
        for one, count in enumerate(parted):
            if count:
                start, end = x.value(x.start + slot * one), x.value(x.start + slot * (one + 1))
                parts.append(
                    f'<rect class="f{number % _COLOURS}" x="{x.start + slot * one + 1 + width * place:.1f}" '
                    f'y="{y.at(count):.1f}" width="{width:.1f}" height="{y.at(0) - y.at(count):.1f}"><title>'
                    f"{escape(label)}: {count:.1%} from {escape(level(start, bounds, unit))} to "
                    f"{escape(level(end, bounds, unit))}</title></rect>"
                )
    return _svg(height, f"distribution of {score}", "".join(parts))


def _grid(x: _Axis, y: _Axis, bottom: float, left: Callable[[float], str], below: Callable[[float], str]) -> str:
    rows = "".join(
        f'<line class="grid" x1="{x.start}" x2="{x.end}" y1="{y.at(one):.1f}" y2="{y.at(one):.1f}"/>'
        f'<text x="{x.start - 6}" y="{y.at(one) + 4:.1f}" text-anchor="end">{escape(left(one))}</text>'
        for one in y.ticks()
    )
    columns = "".join(
        f'<text x="{x.at(one):.1f}" y="{bottom + 15}" text-anchor="{_anchor(x.at(one))}">{escape(below(one))}</text>'
        for one in x.ticks()
    )
    return rows + columns


def _anchor(place: float) -> str:
    """So that what stands there does not reach beyond the picture."""
    return "end" if place > _WIDTH - 40 else "middle"


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
