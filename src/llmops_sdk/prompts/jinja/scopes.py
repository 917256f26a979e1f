"""What the analysis of a template notes: where a text may come from, and which names are visible where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

__all__ = ["NOTHING", "Found", "RefusedError", "Scope", "labels_in", "open_again", "settled", "unsettled_in"]

Found: TypeAlias = frozenset[str]
"""Variables, or paths in them (`"customer.name"`), that a text may come from.

One that is *settled* is marked: it stands in its fence already, or is a mere number. What is done to it opens it again.
"""

NOTHING: Final[Found] = frozenset()

_SETTLED = "^"  # no name begins so


def settled(found: Found) -> Found:
    """The same, and nothing of it needs a fence."""
    return frozenset(one if one[0] == _SETTLED else _SETTLED + one for one in found)


def open_again(found: Found) -> Found:
    """The same, and all of it needs the fence that its variable has."""
    return frozenset(one.removeprefix(_SETTLED) for one in found)


def unsettled_in(found: Found) -> Found:
    """What may still need a fence."""
    return frozenset(one for one in found if one[0] != _SETTLED)


def labels_in(found: Found) -> tuple[str, ...]:
    """All of it, sorted, without marks."""
    return tuple(sorted(open_again(found)))


class RefusedError(Exception):
    """A template does what none may; `unit` (`None`: the text itself) and `line` say where."""

    def __init__(self, problem: str, unit: str | None, line: int, *, variable: str | None = None) -> None:
        super().__init__(problem)
        self.unit = unit
        self.line = line
        self.variable = variable


class Scope:
    """Names that are visible at one place.

    Attributes:
        key: What tells it from the others, however often it is visited.
        names: Names that are set in it: `True` where they hide what is around, as a loop's do.
    """

    def __init__(self, key: int, around: Scope | None, names: Mapping[str, bool] | None = None) -> None:
        self.key = key
        self.around = around
        self.names = dict(names or {})

    def visible(self, name: str) -> Iterator[tuple[int, bool]]:
        """Keys of the scopes in which a name is set, from the inside, and whether it hides those around."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                yield scope.key, scope.names[name]
            scope = scope.around
