"""What has become of the spans of this process."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SpanCounts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanCounts:
    """Spans of this process, each in one place: `made == delivered + rejected + dropped + waiting` at any moment.

    A forked child begins at zero.

    Attributes:
        made: Sampled spans that have ended.
        delivered: Taken by the collector, in its own words.
        rejected: Refused by the collector, or not answered within the exporter's time; the log has the reason.
        dropped: Never sent: there was no room, or the process ended first.
        waiting: Not sent yet, or under way.
    """

    made: int = 0
    delivered: int = 0
    rejected: int = 0
    dropped: int = 0
    waiting: int = 0
