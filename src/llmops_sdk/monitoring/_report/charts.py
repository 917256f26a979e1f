"""The pictures of a report, as SVG in the page's own colours."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from llmops_sdk.monitoring._report.reading import Course, Report
from llmops_sdk.monitoring._report.words import day, level, moment

__all__ = ["bars", "course", "outcomes"]

_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 560, 62, 10, 14, 22
_MOST_ALARMS = 50
"""Of one signal, the last ones."""
_KINDS = ("ok", "blocked", "cancelled", "error")


class _Plane:
    """Where moments and values lie in a picture."""

    def __init__(self, report: Report, height: int, most: float, least: float = 0.0) -> None:
        self.report = report
        self.height = height
        self.least, self.most = least, most if most > least else least + 1

    def x(self, at: float) -> float:
        end = self.report.since + self.report.width_s * len(self.report.buckets)
        share = (at - self.report.since) / (end - self.report.since)
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * min(max(share, 0.0), 1.0)

    def y(self, value: float) -> float:
        share = (value - self.least) / (self.most - self.least)
        return _TOP + (self.height - _TOP - _BOTTOM) * (1 - min(max(share, 0.0), 1.0))

    def middle(self, number: int) -> float:
        return self.x(self.report.since + (number + 0.5) * self.report.width_s)

    def drawn(self, inside: str, label: str, shown: Callable[[float], str]) -> str:
        """With its axes."""
        lines = "".join(
            f'<line class=grid x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{self.y(value):.1f}" y2="{self.y(value):.1f}"/>'
            f'<text x="{_LEFT - 6}" y="{self.y(value) + 4:.1f}" text-anchor="end">{escape(shown(value))}</text>'
            for value in (self.least, (self.least + self.most) / 2, self.most)
        )
        count = len(self.report.buckets)
        step = max(1, count // 6)
        times = "".join(
            f'<text x="{self.x(bucket.at):.1f}" y="{self.height - 5}">{day(bucket.at, self.report.width_s)}</text>'
            for bucket in self.report.buckets[: max(1, count - step // 2) : step]
        )
        return (
            f'<svg viewBox="0 0 {_WIDTH} {self.height}" role="img" aria-label="{escape(label)}">'
            f"{lines}{times}{inside}</svg>"
        )


def course(report: Report, signal: Course) -> str:
    """A signal over the time: a line, its band, and its alarms."""
    levels = {number: signal.level(sample) for number, sample in sorted(signal.buckets.items())}
    bands = {number: signal.band(sample) for number, sample in sorted(signal.buckets.items())}
    most = max((*levels.values(), *(high for _, high in bands.values())))
    least = min((*levels.values(), *(low for low, _ in bands.values())))
    least = 0.0 if least >= 0 else least
    plane = _Plane(report, 150, _round_up(most) if least == 0 else most, least)

    def shown(value: float) -> str:
        return level(value, signal.name, signal.kind)

    parts = []
    for stretch in _stretches(list(levels)):
        there = [f"{plane.middle(n):.1f},{plane.y(bands[n][1]):.1f}" for n in stretch]
        back = [f"{plane.middle(n):.1f},{plane.y(bands[n][0]):.1f}" for n in reversed(stretch)]
        line = " ".join(f"{plane.middle(n):.1f},{plane.y(levels[n]):.1f}" for n in stretch)
        parts.append(
            f'<polygon class=band points="{" ".join((*there, *back))}"/><polyline class=line points="{line}"/>'
        )
    parts += [
        f'<circle class=point cx="{plane.middle(number):.1f}" cy="{plane.y(value):.1f}" r="2.4"><title>'
        f"{escape(moment(report.buckets[number].at))}: {escape(shown(value))} "
        f"({signal.buckets[number].count:,} runs)</title></circle>"
        for number, value in levels.items()
    ]
    for alarm in signal.alarms[-_MOST_ALARMS:]:
        since, at = plane.x(alarm.since), plane.x(alarm.at)
        bottom = plane.height - _BOTTOM
        parts.append(
            f'<rect class=since x="{since:.1f}" y="{_TOP}" width="{max(at - since, 1):.1f}" height="{bottom - _TOP}"/>'
            f'<line class=alarm x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{bottom}"/>'
            f'<circle class=mark cx="{at:.1f}" cy="{_TOP}" r="4.5"><title>{escape(alarm.message)}</title></circle>'
        )
    return plane.drawn("".join(parts), f"{signal.name} over the time", shown)


def outcomes(report: Report) -> str:
    """How many runs ended how."""
    plane = _Plane(report, 170, _round_up(max(bucket.runs for bucket in report.buckets)))
    width = plane.x(report.since + report.width_s) - plane.x(report.since)
    parts = []
    for bucket in report.buckets:
        below = 0
        for kind in _KINDS:
            if count := bucket.outcomes[kind]:
                top = plane.y(below + count)
                parts.append(
                    f'<rect class="{kind}" x="{plane.x(bucket.at) + 0.5:.1f}" y="{top:.1f}" '
                    f'width="{max(width - 1, 0.6):.1f}" height="{plane.y(below) - top:.1f}"><title>'
                    f"{escape(moment(bucket.at))}: {count:,} {kind}</title></rect>"
                )
                below += count
    return plane.drawn("".join(parts), "runs by how they ended", "{:,.0f}".format)


def bars(report: Report, values: Sequence[tuple[float, float]], label: str, shown: Callable[[float], str]) -> str:
    """Bars from one moment to the next: `(moment, value)`."""
    plane = _Plane(report, 150, _round_up(max(value for _, value in values)))
    ends = [*(at for at, _ in values[1:]), report.since + report.width_s * len(report.buckets)]
    parts = []
    for (at, value), end in zip(values, ends, strict=True):
        left, top = plane.x(at), plane.y(value)
        parts.append(
            f'<rect class=bar x="{left + 0.5:.1f}" y="{top:.1f}" width="{max(plane.x(end) - left - 1, 0.6):.1f}" '
            f'height="{plane.y(0) - top:.1f}"><title>{escape(moment(at))}: {escape(shown(value))}</title></rect>'
        )
    return plane.drawn("".join(parts), label, shown)


def _stretches(numbers: list[int]) -> list[list[int]]:
    """Those that follow each other: a line is not drawn over a time without runs."""
    stretches: list[list[int]] = []
    for number in numbers:
        if stretches and stretches[-1][-1] == number - 1:
            stretches[-1].append(number)
        else:
            stretches.append([number])
    return stretches


def _round_up(value: float) -> float:
    """To a figure that reads well."""
    if not value > 0 or not math.isfinite(value):
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * power >= value * 0.999)
