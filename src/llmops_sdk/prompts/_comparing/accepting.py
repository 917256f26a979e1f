"""Whether a variable takes all values that it took: of JSON, and of Python beyond it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from llmops_sdk.prompts._comparing._schemas import Gap, gaps
from llmops_sdk.prompts._types.formats import TEMPORAL
from llmops_sdk.prompts._variables import Variable, value_schema

__all__ = ["type_gaps"]


def type_gaps(old: Variable, new: Variable) -> Iterator[Gap]:
    """What the old declaration takes and the new one may refuse."""
    before, after = value_schema(old), value_schema(new)
    if after is None:
        if old.type != new.type:
            yield Gap("", f"may be any {old.type}", certain=before is not None and old.schema is None)
        return
    if before is None:
        yield Gap("", f"may be any {old.type}", certain=False)
        return
    if new.type == "any" and not after:
        return
    found = gaps(before, after)
    yield from found
    if found:
        return
    if old.annotation is not None and old.annotation != new.annotation:
        yield Gap("", f"may be whatever {old.annotation!r} takes", certain=False)
    elif new.annotation is not None and old.annotation != new.annotation:
        yield Gap("", f"may be what {new.annotation!r} refuses", certain=False)
    elif old.type in ("date", "datetime") and new.type not in (old.type, "any"):
        yield Gap("", f"may be a {old.type} of Python", certain=True)
    elif kept := set(_beyond_json(before, ())) - set(_beyond_json(after, ())):
        yield Gap("", f"may be {min(kept)[1]}", certain=False)


def _beyond_json(schema: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Places where a schema takes what is no value of its JSON type: a date of Python, a float that is whole."""
    if isinstance(schema, Mapping):
        if schema.get("format") in TEMPORAL:
            yield path, f"a {schema['format']} of Python"
        for key, value in schema.items():
            yield from _beyond_json(value, (*path, str(key)))
    elif isinstance(schema, list | tuple):
        for number, value in enumerate(schema):
            yield from _beyond_json(value, (*path, str(number)))
    elif isinstance(schema, float) and schema.is_integer():
        yield path, f"{schema!r}, a float"
