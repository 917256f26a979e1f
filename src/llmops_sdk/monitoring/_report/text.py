"""A report in a few lines."""

from __future__ import annotations

from llmops_sdk.monitoring._alarms import figure
from llmops_sdk.monitoring._report.reading import Report
from llmops_sdk.monitoring._report.words import headline, level, moment, spent

__all__ = ["text"]


def text(report: Report) -> str:
    """The verdict, the alarms, the figures and the signals."""
    lines = [f"{moment(report.since)} to {moment(report.until)} UTC: {headline(report)}"]
    lines += [f"  {moment(alarm.at)}  {_plain(alarm.message)}" for alarm in report.alarms]
    if not report.runs:
        return "\n".join(lines)
    ended = ", ".join(f"{count:,} {_plain(name)}" for name, count in report.outcomes.most_common())
    p50, p95, p99 = (figure(report.seconds.quantile(share), "s") for share in (0.5, 0.95, 0.99))
    cost = spent(report.cost_usd, report.unpriced)
    lines += [
        "",
        f"{report.runs:,} runs: {ended}",
        f"time {p50} in the median, 95 of 100 within {p95}, 99 within {p99}; cost {cost}",
        "",
    ]
    rows = [
        (_plain(one.name), level(one.level(one.whole), one.name, one.kind), f"{one.whole.count:,} runs")
        for one in report.courses
    ]
    rows += [(_plain(one.name), f"{one.scores.mean:.3f}", f"{one.scores.count:,} scores") for one in report.scored]
    width = max((len(name) for name, _, _ in rows), default=0)
    lines += [f"{name:<{width}}  {level:>12}  {count}" for name, level, count in rows]
    return "\n".join(lines)


def _plain(name: str) -> str:
    """Nothing that would steer a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)
