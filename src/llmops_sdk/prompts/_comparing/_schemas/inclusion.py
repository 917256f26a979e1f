"""Whether one JSON schema takes every value that another allows.

The answer is sound and not complete: where no gap is found there is none, a gap that is not `certain` may be none.
Schemas are read as JSON Schema 2020-12 (https://json-schema.org/draft/2020-12/json-schema-validation). To compare
regular expressions, or formats, is left to people.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from llmops_sdk.prompts._comparing._schemas.cases import (
    Case,
    cases_of,
    checked,
    own_keywords,
    types_in,
)
from llmops_sdk.prompts._comparing._schemas.keywords import CHECKS, INSIDE, IRRELEVANT_TO
from llmops_sdk.prompts._comparing._schemas.values import (
    CannotTellError,
    Schema,
    dumped,
    listed,
    mapped,
    resolved,
    same,
    walk,
)

__all__ = ["Gap", "gaps"]

_MOST_WORK = 2_000_000
"""Most constants that are compared in one comparison; a schema that is read counts as many."""
_STEP = 100

_DEEPEST = 50
_DRAFTS = ("2020-12", "2019-09")


class Gap(NamedTuple):
    """Something that the narrow schema allows and the wide one refuses.

    Attributes:
        path: Which part of the value, `"items[].price"`; empty for the value itself.
        problem: What that part may be, `"may be null"`.
        certain: Whether it is so; else it could not be told.
    """

    path: str
    problem: str
    certain: bool


def gaps(narrow: Schema, wide: Schema) -> tuple[Gap, ...]:
    """What `narrow` allows and `wide` refuses; empty where `wide` takes all of it.

    Example:
        >>> gaps({"type": "string"}, {"type": ["string", "null"]})
        ()
        >>> gaps({"type": ["string", "null"]}, {"type": "string"})
        (Gap(path='', problem='may be null', certain=True),)
    """
    try:
        for one in (narrow, wide):
            _check_dialect(one)
        found = list(dict.fromkeys(_Comparison(narrow, wide).compare(narrow, wide, ())))
    except CannotTellError as exc:
        return (Gap("", f"cannot be compared: {exc}", certain=False),)
    except RecursionError:
        return (Gap("", "is nested too deeply to compare", certain=False),)
    return tuple(_joined(found))


def _check_dialect(schema: Schema) -> None:
    if not isinstance(checked(schema), Mapping):
        return
    assert isinstance(schema, Mapping)
    dialect = str(schema.get("$schema", _DRAFTS[0]))
    if not any(draft in dialect for draft in _DRAFTS):
        raise CannotTellError(f"its `$schema` {dialect} is not of 2019-09 or later")
    if any(isinstance(one.get("$id"), str) for one in walk(schema) if one is not schema):
        raise CannotTellError("it has an `$id` in it, which changes what `$ref` means")


def _joined(found: list[Gap]) -> Iterator[Gap]:
    """The gaps, those of the types of one value as one."""
    types: dict[tuple[str, bool], list[str]] = {}
    for gap in found:
        if gap.problem in _TYPE_PROBLEMS:
            types.setdefault((gap.path, gap.certain), []).append(_TYPE_PROBLEMS[gap.problem])
    for gap in found:
        if gap.problem not in _TYPE_PROBLEMS:
            yield gap
        elif words := types.pop((gap.path, gap.certain), None):
            yield gap._replace(problem="may be " + " or ".join(words))


def _type_problem(kind: str) -> str:
    return f"may be of type {kind}"


_TYPE_PROBLEMS = {
    _type_problem(kind): words
    for kind, words in {
        "null": "null",
        "boolean": "a boolean",
        "integer": "an integer",
        "number": "a number",
        "string": "a string",
        "array": "an array",
        "object": "an object",
    }.items()
}


class _Comparison:
    """One comparison of two whole schemas, with what it may cost."""

    def __init__(self, narrow: Schema, wide: Schema) -> None:
        self._narrow, self._wide = narrow, wide
        self._left = _MOST_WORK
        self._begun: dict[tuple[str, str], int] = {}
        self._one_root = dumped(narrow) == dumped(wide)

    def _spend(self, work: int = _STEP) -> None:
        self._left -= work
        if self._left < 0:
            raise CannotTellError("the schemas are too large")

    def compare(self, narrow: object, wide: object, path: tuple[str, ...]) -> Iterator[Gap]:
        """The gaps between two schemas that stand in the roots, about the part `path` of the value."""
        narrow, wide = checked(narrow), checked(wide)
        if narrow is False or wide is True or wide == {}:
            return
        key = (dumped(narrow), dumped(wide))
        if key[0] == key[1] and self._closed(key[0]):
            return
        begun = self._begun.get(key)
        if begun is not None and begun < len(path):
            return  # by induction: values are finite, and this question is being answered for values around this one
        if begun is not None or len(path) > _DEEPEST:
            yield Gap(_text(path), "is nested too deeply to compare", certain=False)
            return
        self._begun[key] = len(path)
        try:
            for case in cases_of(narrow, self._narrow, self._spend):
                yield from self._against(case, wide, path, frozenset())
        except CannotTellError as exc:
            yield Gap(_text(path), f"cannot be compared: {exc}", certain=False)
        finally:
            del self._begun[key]

    def _closed(self, text: str) -> bool:
        """Whether a part of both schemas means the same in both."""
        return self._one_root or '"$ref"' not in text

    def _against(self, case: Case, wide: object, path: tuple[str, ...], refs: frozenset[str]) -> Iterator[Gap]:
        """The gaps between a case and a wide schema."""
        self._spend()
        wide = checked(wide)
        if isinstance(wide, bool):
            if not wide:
                yield Gap(_text(path), _type_problem(case.type), not case.loose)
            return
        if "$ref" in wide:
            ref = str(wide["$ref"])
            if ref in refs:
                raise CannotTellError(f"`$ref: {ref}` points at itself")
            yield from self._against(case, resolved(ref, self._wide), path, refs | {ref})
        for one in listed(wide, "allOf"):
            yield from self._against(case, one, path, refs)
        if "anyOf" in wide:
            yield from self._one_of(case, listed(wide, "anyOf"), path, refs)
        if "oneOf" in wide:
            branches = listed(wide, "oneOf")
            yield from self._one_of(case, branches, path, refs)
            if not all(
                self._disjoint(one, other, _DEEPEST) for at, one in enumerate(branches) for other in branches[:at]
            ):
                yield Gap(_text(path), "may fit several alternatives of a `oneOf`", certain=False)
        yield from self._own(case, own_keywords(wide), path)

    def _one_of(self, case: Case, branches: Any, path: tuple[str, ...], refs: frozenset[str]) -> Iterator[Gap]:
        """The gaps where one of several schemas has to take the case."""
        failed = []
        for branch in branches:
            found = list(self._against(case, branch, path, refs))
            if not found:
                return
            if not any(gap.problem == _type_problem(case.type) and gap.path == _text(path) for gap in found):
                failed.append(found)
        if not failed:
            yield Gap(_text(path), _type_problem(case.type), not case.loose)
        elif len(failed) == 1:
            yield from failed[0]
        else:
            yield Gap(_text(path), f"may be {_shown(case)} that fits no alternative", "const" in case.facts)

    def _own(self, case: Case, wide: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[Gap]:
        kind, facts = case.type, case.facts
        if not _takes_type(facts, types_in(wide)):
            yield Gap(_text(path), _type_problem(kind), not case.loose)
            return
        known = ("type", *CHECKS.get(kind, {}), *INSIDE.get(kind, ()), *IRRELEVANT_TO[kind])
        for key, value in wide.items():
            if key == "enum":
                self._spend(len(listed(wide, key)))
                if not ("const" in facts and any(same(facts["const"], one) for one in listed(wide, key))):
                    endless = "const" in facts or kind in ("string", "array", "object", "number")
                    yield Gap(_text(path), f"may be {_shown(case)}", endless and not case.loose)
            elif key not in known and not self._equal(key, facts, value):
                yield Gap(_text(path), f"may not fit `{key}`, which is not compared", certain=False)
        for key, problem in CHECKS.get(kind, {}).items():
            if key in wide and (words := problem(facts, wide[key])):
                yield Gap(_text(path), words, not case.loose)
        if kind == "array":
            yield from self._items(facts, wide, path)
        elif kind == "object":
            yield from self._properties(case, wide, path)

    def _equal(self, key: str, facts: Mapping[str, Any], value: object) -> bool:
        """Whether a keyword that is not looked into means the same on both sides."""
        alone = not key.startswith("unevaluated")  # those depend on all keywords beside them
        return alone and key in facts and same(facts[key], value) and self._closed(dumped(value))

    def _items(self, narrow: Mapping[str, Any], wide: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[Gap]:
        before, after = listed(narrow, "prefixItems"), listed(wide, "prefixItems")
        rest, wide_rest = narrow.get("items", True), wide.get("items", True)
        for at in range(int(min(max(len(before), len(after)), narrow.get("maxItems", math.inf)))):
            one = before[at] if at < len(before) else rest
            yield from self.compare(one, after[at] if at < len(after) else wide_rest, (*path, f"[{at}]"))
        if narrow.get("maxItems", math.inf) > max(len(before), len(after)):
            yield from self.compare(rest, wide_rest, (*path, "[]"))

    def _properties(self, case: Case, wide: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[Gap]:
        narrow = case.facts
        required = listed(narrow, "required")
        for name in listed(wide, "required"):
            if name not in required:
                yield Gap(_text(path), f"may lack {name!r}", not case.loose)
        mine, its = mapped(narrow, "properties"), mapped(wide, "properties")
        by_pattern = "patternProperties" in narrow
        others, wide_others = narrow.get("additionalProperties", True), wide.get("additionalProperties", True)
        for name in dict.fromkeys((*mine, *its)):
            one = mine.get(name, True if by_pattern else others)
            yield from self.compare(one, its.get(name, wide_others), (*path, f".{name}"))
        if by_pattern and "patternProperties" not in wide:
            others = True
        if wide_others is False and others is not False:
            certain = others is True and not case.loose
            yield Gap(_text(path), "may have more properties", certain)
        else:
            yield from self.compare(others, wide_others, (*path, ".*"))

    def _disjoint(self, one: object, other: object, depth: int) -> bool:
        """Whether no value fits both of two schemas of the wide root, as far as types and constants tell."""
        cases = [list(cases_of(checked(each), self._wide, self._spend)) for each in (one, other)]
        return all(self._apart(mine, its, depth) for mine in cases[0] for its in cases[1])

    def _apart(self, one: Case, other: Case, depth: int) -> bool:
        self._spend()
        if one.type != other.type and {one.type, other.type} != {"integer", "number"}:
            return True
        if "const" in one.facts and "const" in other.facts and not same(one.facts["const"], other.facts["const"]):
            return True
        needed = [name for name in listed(one.facts, "required") if name in listed(other.facts, "required")]
        mine, its = mapped(one.facts, "properties"), mapped(other.facts, "properties")
        return depth > 0 and any(
            self._disjoint(mine[name], its[name], depth - 1) for name in needed if name in mine and name in its
        )


def _takes_type(facts: Mapping[str, Any], types: tuple[str, ...]) -> bool:
    kind = facts["type"]
    return kind in types or (kind == "integer" and "number" in types)


def _shown(case: Case) -> str:
    if "const" not in case.facts:
        return f"any {case.type}"
    text = dumped(case.facts["const"])
    return text if len(text) <= 40 else text[:37] + "..."


def _text(path: tuple[str, ...]) -> str:
    return "".join(path).removeprefix(".")
