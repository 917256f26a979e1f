"""The properties that a schema names, wherever they stand in a value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from llmops_sdk.prompts._comparing._schemas.values import CannotTellError, listed, mapped, resolved

__all__ = ["Named", "properties_of"]

_DEEPEST = 50
_MOST_STEPS = 20_000
"""Most schemas that are read: a few that name each other twice make millions of paths."""


class Named(NamedTuple):
    """A property that is named: its schema, and whether that refuses properties which it does not name itself."""

    schema: object
    closed: bool


def properties_of(schema: Mapping[str, Any]) -> dict[str, Named]:
    """The named properties of all objects, by path, outer ones first.

    Raises:
        CannotTellError: They are too many.

    Example:
        >>> list(properties_of({"properties": {"items": {"items": {"properties": {"price": {"type": "number"}}}}}}))
        ['items', 'items[].price']
    """
    steps = iter(range(_MOST_STEPS))
    found = sorted(_walk(schema, schema, "", frozenset(), 0, steps), key=lambda pair: pair[0].count("."))
    if next(steps, None) is None:
        raise CannotTellError("it names too many properties")
    return dict(found)


def _walk(
    schema: object, root: Mapping[str, Any], path: str, refs: frozenset[str], depth: int, steps: Iterator[int]
) -> Iterator[tuple[str, Named]]:
    if not isinstance(schema, Mapping) or depth > _DEEPEST or next(steps, None) is None:
        return
    try:
        if "$ref" in schema and (ref := str(schema["$ref"])) not in refs:
            yield from _walk(resolved(ref, root), root, path, refs | {ref}, depth + 1, steps)
        for key in ("allOf", "anyOf", "oneOf"):
            for one in listed(schema, key):
                yield from _walk(one, root, path, refs, depth + 1, steps)
        if isinstance(schema.get("items"), Mapping):
            yield from _walk(schema["items"], root, f"{path}[]", refs, depth + 1, steps)
        for name, one in mapped(schema, "properties").items():
            at = f"{path}.{name}".removeprefix(".")
            closed = isinstance(one, Mapping) and one.get("additionalProperties") is False
            yield at, Named(one, closed)
            yield from _walk(one, root, at, refs, depth + 1, steps)
    except CannotTellError:
        return  # what is wrong in it is told where the schemas are compared
