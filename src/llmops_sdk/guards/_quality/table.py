"""An evaluation as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmops_sdk.guards._quality.scores import Interval, Share

if TYPE_CHECKING:
    from llmops_sdk.guards._quality.evaluation import Evaluation

__all__ = ["HEADINGS", "interval", "parts", "share", "summary", "table"]


def share(value: Share) -> str:
    """`0.912 [0.887, 0.932] of 674`."""
    if value.value is None:
        return "-"
    low, high = value.interval
    return f"{value.value:.3f} [{low:.3f}, {high:.3f}] of {value.of:,}"


def interval(value: Interval | None) -> str:
    """`0.950 [0.940, 0.960]`."""
    return "-" if value is None else f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]"


def summary(report: Evaluation) -> list[tuple[str, str]]:
    """The figures of all data."""
    return [
        ("recall", share(report.recall)),
        ("false alarms", share(report.false_alarms)),
        ("false alarms on hard benign", share(report.hard_benign)),
        ("precision", share(report.precision)),
        ("AUC", interval(report.auc)),
        (
            f"recall at {report.max_fpr:.2%} false alarms",
            f"{share(report.recall_at_max_fpr)}, threshold over {report.threshold_at_max_fpr:.4g}",
        ),
        ("time of a text", f"{_time(report.seconds_median)}, 95 of 100 within {_time(report.seconds_p95)}"),
    ]


HEADINGS = ("source", "recall", "at {max_fpr:.2%} false alarms", "false alarms", "AUC")


def parts(report: Evaluation) -> list[tuple[str, ...]]:
    """The figures of each source."""
    return [
        (one.name, share(one.recall), share(one.recall_at_max_fpr), share(one.false_alarms), interval(one.auc))
        for one in report.by_source
    ]


def table(report: Evaluation) -> str:
    """All of it."""
    at = "no threshold" if report.threshold is None else f"threshold {report.threshold:g}"
    lines = [f"{report.guard}: {report.rows:,} texts, {at}; intervals of {report.confidence:.0%}", ""]
    lines += _aligned(summary(report))
    if len(report.by_source) > 1:
        headings = tuple(one.format(max_fpr=report.max_fpr) for one in HEADINGS)
        lines += ["", *_aligned([headings, *parts(report)])]
    return "\n".join(lines)


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:,.0f} µs" if seconds < 1e-3 else f"{seconds * 1e3:,.1f} ms"
