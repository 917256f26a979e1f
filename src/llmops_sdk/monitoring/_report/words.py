"""How a report says moments, money and signals."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from llmops_sdk.monitoring._alarms import figure
from llmops_sdk.monitoring._report.reading import Report

__all__ = ["day", "headline", "level", "moment", "money", "spent"]

_DAY_S = 86_400


def moment(at: float) -> str:
    """`2026-11-30 14:05`, in UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"


def day(at: float, width_s: float) -> str:
    """For an axis: the day, and the time of day if stretches are short."""
    when = datetime.fromtimestamp(at, UTC)
    return f"{when:%H:%M}" if width_s < 1_800 else f"{when:%d %b %H:%M}" if width_s < 3 * 3_600 else f"{when:%d %b}"


def money(usd: Decimal | float) -> str:
    """`$1,234.50`, and small sums with as many digits as they need."""
    return f"${usd:,.2f}" if usd >= Decimal("0.1") or not usd else f"${usd:.2g}"


def spent(usd: Decimal, unpriced: int) -> str:
    """What runs have cost, when of `unpriced` of them nobody knows.

    >>> spent(Decimal("1.5"), 0), spent(Decimal("1.5"), 3), spent(Decimal(0), 3)
    ('$1.50', '≥ $1.50', 'unknown')
    """
    return money(usd) if not unpriced else f"≥ {money(usd)}" if usd else "unknown"


def level(value: float, name: str, kind: str) -> str:
    """A value of a signal, with the unit that its name tells."""
    if name.endswith("_usd"):
        return money(value)
    return figure(value, "%" if kind == "rate" else "s" if name.endswith("_s") else "")


def headline(report: Report) -> str:
    """The verdict in a sentence."""
    if not report.runs:
        return "No runs were observed."
    if not report.alarms:
        return "No alarm: no signal that was watched changed."
    signals = sorted({alarm.signal for alarm in report.alarms})
    count = len(report.alarms)
    return f"{count} alarm{'s' * (count > 1)}: {', '.join(signals)} changed."
