"""What a router would do with a request, and why; for people to read."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from llmops_sdk.calls import Call
from llmops_sdk.messages import Request
from llmops_sdk.routers._choosing.arranging import parted, rested_last
from llmops_sdk.routers._choosing.filters import Refusals
from llmops_sdk.routers._strategies import ordered
from llmops_sdk.routers._table import Table

if TYPE_CHECKING:
    from rich.table import Table as RichTable

__all__ = ["Candidate", "Route", "route_of"]


class Candidate(NamedTuple):
    """An engine, and why it stands where it stands, or is refused."""

    engine: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The order in which a router would try its engines, and those that it would not try, with the reasons.

    `print(route)` shows it as lines; a rich console and a notebook as a table.
    """

    order: tuple[Candidate, ...]
    refused: tuple[Candidate, ...] = ()

    def __str__(self) -> str:
        width = max((len(one.engine) for one in (*self.order, *self.refused)), default=0)
        return "\n".join(f"{place:>3}  {engine:{width}}  {reason}" for place, engine, reason in self._rows())

    def __rich__(self) -> RichTable:
        from rich.table import Table as RichTable  # noqa: PLC0415  (only where somebody looks)

        table = RichTable("", "engine", "why")
        for place, engine, reason in self._rows():
            table.add_row(place, engine, reason, style="dim" if place == "-" else "")
        return table

    def _rows(self) -> Iterator[tuple[str, str, str]]:
        for place, (engine, reason) in enumerate(self.order, 1):
            yield str(place), engine, reason
        for engine, reason in self.refused:
            yield "-", engine, f"not asked: {reason}"


def route_of(table: Table, request: Request, call: Call) -> Route:
    """What would be done with `request` now. Nothing is sent, reserved or advanced."""
    now = call.clock()
    able, refused, shut = parted(table, request, call, now)
    if shut and not able:
        nearest = min(shut, key=lambda leg: leg.breaker.ready_at(now))
        able, refused = (nearest,), Refusals(one for one in refused if one.leg is not nearest)
    out = [Candidate(one.leg.name, one.reason) for one in refused]
    if table.gate is not None:
        full = {leg: reason for leg in able if (reason := table.gate.refusal(leg, request, call)) is not None}
        out += [Candidate(leg.name, reason) for leg, reason in full.items()]
        able = tuple(leg for leg in able if leg not in full)
    if not able:
        return Route(order=(), refused=tuple(out))
    strategy = copy.copy(table.strategy)  # whose turn is next stays as it is
    order = tuple(rested_last(ordered(strategy, able, request), now))
    return Route(
        order=tuple(Candidate(leg.name, strategy.reason(leg) + leg.breaker.remark(now)) for leg in order),
        refused=tuple(out),
    )
