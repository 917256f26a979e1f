"""Another table in the place of a router's, while runs are under way: nothing is dropped, nothing is forgotten."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from llmops_sdk import loops
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.routers._table import Table

__all__ = ["Match", "Reloaded", "Retired"]

log = logging.getLogger("llmops_sdk")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reloaded:
    """What a reload did, by names of engines.

    Attributes:
        kept: As they were, with their connections and all that was learnt of them.
        changed: The same, but for their weight, tags, limits or capabilities; or routers of which something changed.
        added: New ones.
        removed: Those that are asked no more; each is closed after the last run that began before.
    """

    kept: tuple[str, ...]
    changed: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def anything(self) -> bool:
        """Whether any engine is not as it was."""
        return bool(self.changed or self.added or self.removed)


class Match:
    """Which engines of a new table are those of the old one.

    An engine is the same when it has the same name and was made in the same way: of the same class, with the same
    arguments (key, options and all). A router among them is the same when it has the same name, and is reloaded itself.

    Attributes:
        legs: Leg of the new table -> leg of the old one that stays in its place.
        added: Legs of the new table that are in no old one's place.
        removed: Legs of the old table in whose place there is none.
    """

    def __init__(self, old: Table, new: Table) -> None:
        before = {leg.name: leg for leg in old.legs}
        same = [leg for leg in new.legs if leg.name in before and _stays(before[leg.name].engine, leg.engine)]
        self.legs = {leg: before.pop(leg.name) for leg in same}
        self.added = tuple(leg for leg in new.legs if leg not in self.legs)
        self.removed = tuple(before.values())

    def settle(self) -> Reloaded:
        """Have the legs that stay go by what the new ones were told."""
        changed: list[str] = []
        kept: list[str] = []
        for leg, stays in self.legs.items():
            is_changed = leg.options() != stays.options()
            stays.take_options(leg)
            if leg.engine is not stays.engine and _routes(leg.engine):
                is_changed |= stays.engine._take_over(leg.engine).anything
            (changed if is_changed else kept).append(leg.name)
        return Reloaded(
            kept=tuple(kept),
            changed=tuple(changed),
            added=tuple(leg.name for leg in self.added),
            removed=tuple(leg.name for leg in self.removed),
        )


def made_alike(old: Any, new: Any) -> bool:
    """Whether two objects were made in the same way: equal, or of one class and with the same that they pickle."""
    if old is new or old == new:
        return True
    if type(old) is not type(new):
        return False
    if isinstance(old, Mapping):
        return old.keys() == new.keys() and all(made_alike(value, new[name]) for name, value in old.items())
    if isinstance(old, list | tuple):
        return len(old) == len(new) and all(map(made_alike, old, new))
    reduce: Any = type(old).__reduce__
    if reduce is object.__reduce__:
        return False
    try:
        return made_alike(old.__reduce__(), new.__reduce__())
    except ConfigurationError:  # what cannot travel does not tell how it was made
        return False


def _stays(old: Any, new: Any) -> bool:
    return (type(old) is type(new) and _routes(old)) or made_alike(old, new)


def _routes(engine: Any) -> bool:
    return bool(getattr(engine, "routes", False)) and hasattr(engine, "_take_over")


class Retired:
    """Engines (and stores of limits) that a router asks no more, until the runs that may ask them have ended.

    They are closed on the SDK's own loop: that of the last run may end with it.
    """

    def __init__(self, current: Callable[[], Table]) -> None:
        self._current = current
        self._lock = threading.Lock()
        self._tables: list[Table] = []
        self._parts: dict[int, Any] = {}
        self._closing: set[concurrent.futures.Future[None]] = set()

    def take(self, table: Table) -> None:
        """`table` is not the router's any more."""
        with self._lock:
            self._tables.append(table)
            self._parts |= _parts(table)
        table.runs.when_over = self._let_go
        self._let_go()

    def _let_go(self) -> None:
        with self._lock:
            self._tables = [table for table in self._tables if table.runs]
            needed = {number for table in (*self._tables, self._current()) for number in _parts(table)}
            over = [part for number, part in self._parts.items() if number not in needed]
            # What is in the router's own table again is its own to close.
            kept = self._parts.keys() & needed - _parts(self._current()).keys()
            self._parts = {number: self._parts[number] for number in kept}
            for part in over:
                closing = asyncio.run_coroutine_threadsafe(_close(part), loops.sdk_loop())
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)

    async def aclose(self) -> None:
        """Close all that are left, whoever may still ask them."""
        with self._lock:
            parts, self._parts, self._tables = self._parts, {}, []
        for part in parts.values():
            await _close(part)
        for closing in tuple(self._closing):
            await asyncio.wrap_future(closing)


def _parts(table: Table) -> dict[int, Any]:
    return {id(part): part for part in table.closed_with_it}


async def _close(part: Any) -> None:
    close = getattr(part, "aclose", None)
    try:
        if close is not None:
            await close()
    except Exception:
        log.exception("%r, which its router had removed, could not be closed", part)
