"""What differs between what a lock says and what is found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

__all__ = ["Difference", "differences"]


class Difference(NamedTuple):
    """One thing that is not as the lock says.

    Attributes:
        what: Where it stands in the lock, `"prompts.support/answer@prod.hash"`.
        locked: What the lock says, as text; `None` where it says nothing.
        found: What was found; `None` where there is nothing.
    """

    what: str
    locked: str | None
    found: str | None

    def __str__(self) -> str:
        said = "nothing" if self.locked is None else self.locked
        return f"{self.what}: the lock says {said}, found is {'nothing' if self.found is None else self.found}"


def differences(locked: Mapping[str, Any], found: Mapping[str, Any], where: str = "") -> Iterator[Difference]:
    """What differs, in the order of the lock; what is only found comes last."""
    for name in (*locked, *(name for name in found if name not in locked)):
        ours, theirs = locked.get(name), found.get(name)
        if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
            yield from differences(ours, theirs, f"{where}{name}.")
        elif ours != theirs:
            yield Difference(f"{where}{name}", _text(ours), _text(theirs))


def _text(value: Any) -> str | None:
    if isinstance(value, Mapping):
        return next((str(value[name]) for name in ("hash", "source", "kind") if name in value), ", ".join(value))
    if isinstance(value, list):
        return " | ".join(map(str, value))
    return None if value is None else str(value)
