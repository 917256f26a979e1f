"""What pydantic finds wrong, in our words: at the place in the data, with what to write."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from llmops_sdk.routers._declaring.problems import Path, Problems, did_you_mean, place_meant

__all__ = ["tell"]

_EXPECTED = {
    "bool_type": "true or false",
    "dataclass_type": "a mapping",
    "date_from_datetime_parsing": "a day such as 2026-01-31",
    "date_type": "a day such as 2026-01-31",
    "decimal_parsing": 'an amount such as "0.25"',
    "decimal_type": 'an amount such as "0.25"',
    "dict_type": "a mapping",
    "finite_number": "a finite number",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "list_type": "a list",
    "mapping_type": "a mapping",
    "model_attributes_type": "a mapping",
    "model_type": "a mapping",
    "string_type": "text",
    "tuple_type": "a list",
}
"""Type of an error -> what has to stand there. https://docs.pydantic.dev/latest/errors/validation_errors/"""
_UNKNOWN = frozenset({"extra_forbidden", "unexpected_keyword_argument"})
_MISSING = frozenset({"missing", "missing_keyword_only_argument"})

_OF_ITS_FORM = frozenset(
    {"value_error", "greater_than", "greater_than_equal", "union_tag_invalid", "union_tag_not_found"}
)
"""What is only found in a value that has the form it should have."""


class _Error(NamedTuple):
    """An error of pydantic; `left` is the part of its location that leads on from where we are."""

    left: tuple[str | int, ...]
    found: Any


def tell(problems: Problems, errors: Sequence[Any], data: Any, schema: Mapping[str, Any]) -> None:
    """Add all of pydantic's `errors` of `data` to `problems`; `schema` is the JSON schema of what it should be."""
    _Telling(problems, schema).told([_Error(error["loc"], error) for error in errors], data, ())


class _Telling:
    def __init__(self, problems: Problems, schema: Mapping[str, Any]) -> None:
        self._problems = problems
        self._schema = schema
        self._data: Any = None

    def told(self, errors: Sequence[_Error], value: Any, path: Path) -> None:
        """Sort the errors of `value`: those of its parts, those of the forms that it could have, and its own."""
        if not path:
            self._data = value
        own: list[Any] = []
        parts: dict[str | int, list[_Error]] = {}
        forms: dict[str | int, list[_Error]] = {}
        for left, found in errors:
            if not left or (len(left) == 1 and found["type"] in _MISSING):
                own.append(found)
            else:
                into = parts if _has(value, left[0]) else forms
                into.setdefault(left[0], []).append(_Error(left[1:], found))
        for part, inner in parts.items():
            self.told(inner, value[part], (*path, part))
        if forms:
            self._tell_form(forms, value, path)
        for found in own:
            self._tell_own(found, value, path)

    def _tell_form(self, forms: dict[str | int, list[_Error]], value: Any, path: Path) -> None:
        """Pydantic says of each form of a union why it is not that; one wants to know of the one that was meant."""
        meant = [
            inner for inner in forms.values() if all(one.left or one.found["type"] in _OF_ITS_FORM for one in inner)
        ]
        if meant:
            self.told(min(meant, key=len), value, path)
            return
        said = dict.fromkeys(_expected(one.found) for inner in forms.values() for one in inner)
        if "a number" in said:
            said.pop("a whole number", None)
        self._problems.add(path, f"has to be {' or '.join(said)}, not {self._shown(value)}{_hint(value, said)}")

    def _tell_own(self, found: Any, value: Any, path: Path) -> None:
        kind, context = found["type"], found.get("ctx", {})
        if kind in _UNKNOWN:
            known = sorted(_names(self._schema, path[:-1], self._data))
            word = str(path[-1])
            other = "; what its kind takes stands under `options`" if "options" in known else "; leave it out"
            hint = did_you_mean(word, known) or other
            self._problems.add(path, f"is not known here{hint} (there are {', '.join(known)})", key=True)
        elif kind in _MISSING:
            self._problems.add(path, f"`{found['loc'][-1]}` is missing")
        elif kind == "union_tag_invalid":
            names = re.findall(r"'([^']*)'", context["expected_tags"])
            hint = did_you_mean(context["tag"], names)
            self._problems.add(path, f"{context['tag']!r} is not known{hint} (there are {', '.join(names)})")
        elif kind == "union_tag_not_found":
            self._problems.add(path, f"has to be a name, or a mapping with a `name`, not {self._shown(value)}")
        elif kind == "too_short":
            if len(value) < context["min_length"]:  # pydantic also says so where all of the items are wrong
                self._problems.add(path, f"has to hold at least {context['min_length']}, not {len(value)}")
        elif kind == "value_error":
            message = str(context["error"])
            self._problems.add((*path, *place_meant(message, value)), message)
        elif isinstance(value, str) and "open" in _names(self._schema, path, self._data):
            self._problems.add(path, f"has to be a mapping: write `open: {self._shown(value)}`")
        else:
            said = _expected(found)
            self._problems.add(path, f"has to be {said}, not {self._shown(value)}{_hint(value, [said])}")

    def _shown(self, value: Any) -> str:
        if isinstance(value, Mapping | list):
            return "a mapping" if isinstance(value, Mapping) else "a list"
        if value is None or isinstance(value, bool):
            return {None: "nothing", True: "true", False: "false"}[value]
        if isinstance(value, str) and self._problems.hides(value):
            return "a key"
        text = repr(value)
        return text if len(text) <= 60 else f"{text[:57]}..."


def _has(value: Any, part: str | int) -> bool:
    if isinstance(value, Mapping):
        return part in value
    return isinstance(value, list) and isinstance(part, int) and part < len(value)


def _expected(found: Any) -> str:
    kind = found["type"]
    if kind == "literal_error":
        return str(found["ctx"]["expected"])
    return _EXPECTED.get(kind) or str(found["msg"]).removeprefix("Input should ").removeprefix("be ")


def _hint(value: Any, said: Any) -> str:
    if isinstance(value, Mapping) and "a list" in said:
        return "; begin each entry with `- `"
    if not isinstance(value, str):
        return "; write it in quotes" if isinstance(value, bool | int | float) and "text" in said else ""
    return did_you_mean(value, re.findall(r"'([^']*)'", " ".join(said)))


def _names(schema: Mapping[str, Any], path: Path, data: Any) -> set[str]:
    """The names that a mapping at `path` may hold."""
    nodes = list(_forms(schema, schema, data))
    for part in path:
        data = data[part]
        nodes = [form for node in nodes for inner in _inner(node, part) for form in _forms(schema, inner, data)]
    return {name for node in nodes for name in node.get("properties", ())}


def _forms(schema: Mapping[str, Any], node: Mapping[str, Any], data: Any) -> Iterator[Mapping[str, Any]]:
    """All that a value can be by `node`: references followed, unions taken apart, forms with another name left out."""
    if "$ref" in node:
        yield from _forms(schema, schema["$defs"][node["$ref"].rpartition("/")[2]], data)
        return
    for inner in (*node.get("anyOf", ()), *node.get("oneOf", ()), *node.get("allOf", ())):
        yield from _forms(schema, inner, data)
    name = node.get("properties", {}).get("name", {})
    if "const" not in name or (isinstance(data, Mapping) and data.get("name") == name["const"]):
        yield node


def _inner(node: Mapping[str, Any], part: str | int) -> Iterator[Mapping[str, Any]]:
    inner = node.get("items") if isinstance(part, int) else node.get("properties", {}).get(part)
    if inner is None and isinstance(part, str):
        inner = node.get("additionalProperties")
    if isinstance(inner, Mapping):
        yield inner
