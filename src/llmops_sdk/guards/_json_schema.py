"""`JSONSchema`: an answer has to be JSON, and to satisfy a schema."""

from __future__ import annotations

import importlib
import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Unpack

from llmops_sdk.errors import ConfigurationError, MissingDependencyError
from llmops_sdk.guards._guard import Guard, GuardOptions
from llmops_sdk.protocols import GuardContext
from llmops_sdk.verdicts import ALLOW, Finding, Surface, Verdict

__all__ = ["JSONReading", "JSONSchema", "Mismatch"]

_FENCE = "```"
_FENCE_LINE = re.compile(r"```[ \t]*+(?:[A-Za-z0-9_+-]{1,20}+)?[ \t]*+\r?\n")
"""The line that opens a fence. Possessive: white space without end is not read again and again."""
_START = re.compile(r"[{\[]")
_SPACE = re.compile(r"[ \t\r\n]*")
_LONGEST_NUMBER = 400
_MOST_STARTS = 64
_MOST_MISMATCHES = 5
_LONGEST_MESSAGE = 300


class Mismatch(NamedTuple):
    """One place where a value does not satisfy its schema.

    Attributes:
        path: Names and indexes that lead to it. Names may have been chosen by whoever wrote the value.
        rule: The word of the schema, or pydantic's name of the error, that it fails.
        message: What it would have to be, in words; not what it is, unless a validator of the type's own says so.
    """

    path: tuple[str | int, ...]
    rule: str
    message: str


class JSONReading(NamedTuple):
    """What was read from a text.

    Attributes:
        value: The JSON as Python values, or an instance of the type; `None` where something is wrong.
        start: Where the JSON begins in the text, or where what is wrong shows, as far as that is known.
        end: Where the JSON ends.
        problem: What is wrong: `"not_json"`, `"schema_mismatch"`, `"too_deep"`, ...; `None` for nothing.
        mismatches: Of a `"schema_mismatch"`: the first few.
    """

    value: Any
    start: int
    end: int
    problem: str | None = None
    mismatches: tuple[Mismatch, ...] = ()


class _WrongError(Exception):
    """The text is no such JSON; `position` is where that shows, as far as that is known."""

    def __init__(self, kind: str, reason: str, position: int = 0, mismatches: Sequence[Mismatch] = ()) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.position = position
        self.mismatches = tuple(mismatches)


class JSONSchema(Guard):
    r"""Blocks what is not JSON, or does not satisfy a schema.

    The whole text has to be one JSON value (RFC 8259). The schema is a JSON schema (draft 2020-12, unless its
    `$schema` says otherwise; needs the extra `json-schema`; references are never fetched), a pydantic model, or any
    type that pydantic knows. Too deep nesting and numbers of more than 400 characters are refused. The finding begins
    where the first error is. It needs the whole text, so a stream waits for its end.

    Names and arguments of tool calls, and reasoning, are no answers: they are not read (`waived`).

    Args:
        schema: A JSON schema as a mapping (or `True`: any JSON), a pydantic model, or a type such as `list[int]`.
        strict: Refuse a name twice in one object, `NaN` and `Infinity`, and numbers beyond the range of a double; and
            let pydantic convert nothing (`"1"` is no `int`).
        repair: Take Markdown fences and text around the JSON off, instead of blocking. Nothing else is mended.
        options: See `GuardOptions`.

    Raises:
        ConfigurationError: The schema is none.
        MissingDependencyError: The schema is a mapping, and `jsonschema` is not installed.

    Example:
        >>> guard = JSONSchema({"type": "object", "required": ["name"]}, repair=True)
        >>> guard.check('Here it is: ```json\n{"name": "Ada"}\n```').text
        '{"name": "Ada"}'
    """

    waived: frozenset[Surface] = frozenset({"tool_calls", "reasoning"})

    def __init__(
        self, schema: object, *, strict: bool = True, repair: bool = False, **options: Unpack[GuardOptions]
    ) -> None:
        super().__init__(**options)
        self.schema = schema
        self.strict = strict
        self.repair = repair
        self._validator = self._make_validator()

    def _make_validator(self) -> Any:
        if self.schema is True:  # any JSON: there is nothing to check, and no library is needed
            return None
        if isinstance(self.schema, Mapping | bool):
            return _schema_validator(dict(self.schema) if isinstance(self.schema, Mapping) else self.schema)
        return _type_validator(self.schema)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_validator"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._validator = self._make_validator()

    def check(self, text: str, context: GuardContext | None = None, /) -> Verdict:
        """Decide about the whole text."""
        found = self._found(text)
        if isinstance(found, _WrongError):
            start = min(found.position, len(text))
            end = len(text) if found.kind == "not_json" else min(start + 1, len(text))
            return Verdict.block(found.reason, (Finding(kind=found.kind, start=start, end=end, rule="json_schema"),))
        _, start, end = found
        if end - start == len(text):
            return ALLOW
        wrapping = Finding(kind="json_wrapping", start=0, end=len(text), rule="repair")
        return Verdict.rewrite(text[start:end], (wrapping,), reason="took off what stood around the JSON")

    def read(self, text: str) -> JSONReading:
        """The JSON in the text, or what is wrong with it.

        Example:
            >>> JSONSchema({"type": "object"}, repair=True).read('So: {"n": 1}').value
            {'n': 1}
        """
        found = self._found(text)
        if isinstance(found, _WrongError):
            return JSONReading(None, min(found.position, len(text)), len(text), found.kind, found.mismatches)
        return JSONReading(*found)

    def _found(self, text: str) -> tuple[Any, int, int] | _WrongError:
        """The value with its place, or what is wrong."""
        try:
            return self._judge(text), 0, len(text)
        except _WrongError as wrong:
            first = wrong
        if self.repair and first.kind == "not_json":
            for start, end in _candidates(text):
                try:
                    return self._judge(text[start:end]), start, end
                except _WrongError as wrong:
                    if first.kind == "not_json":  # what is wrong with the JSON in it says more
                        first = _WrongError(wrong.kind, wrong.reason, wrong.position + start, wrong.mismatches)
        return first

    def _judge(self, text: str) -> Any:
        """The value in the text; raises what is wrong with it."""
        value = self._parsed(text)
        if self.schema is True:
            return value
        if not isinstance(self.schema, Mapping | bool):
            return self._judge_type(text)
        try:
            errors = list(itertools.islice(self._validator.iter_errors(value), _MOST_MISMATCHES))
        except RecursionError:
            raise _WrongError("too_deep", "the JSON, or the schema, is nested too deep to be checked") from None
        if errors:
            # The message of the library shows the value, and a reason holds no text of an answer.
            found = [
                Mismatch(tuple(error.absolute_path), str(error.validator), _demand(error.validator_value))
                for error in errors
            ]
            raise _mismatched(text, found, f"fails `{found[0].rule}`")
        return value

    def _judge_type(self, text: str) -> Any:
        try:
            return self._validator.validate_json(text.encode("utf-8", "surrogatepass"), strict=self.strict or None)
        except ValueError as error:  # pydantic's ValidationError is one
            listed = getattr(error, "errors", None)
            if listed is None:
                raise _WrongError("schema_mismatch", f"the value is refused ({type(error).__name__})") from None
            details = listed(include_url=False, include_context=False, include_input=False)[:_MOST_MISMATCHES]
            found = [Mismatch(tuple(one["loc"]), one["type"], one["msg"][:_LONGEST_MESSAGE]) for one in details]
            raise _mismatched(text, found, found[0].rule) from None

    def _parsed(self, text: str) -> Any:
        hooks: dict[str, Any] = {"parse_int": _integer}
        if self.strict:
            hooks |= {"parse_constant": _no_constant, "object_pairs_hook": _no_twins, "parse_float": _finite}
        try:
            return json.loads(text, **hooks)
        except json.JSONDecodeError as error:
            raise _WrongError("not_json", f"no JSON: {error.msg} at character {error.pos}", error.pos) from None
        except RecursionError:
            raise _WrongError("too_deep", "the JSON is nested too deep") from None


def _mismatched(text: str, found: Sequence[Mismatch], what: str) -> _WrongError:
    path = found[0].path
    return _WrongError("schema_mismatch", f"{_shown(path)}: {what}", _locate(text, path), found)


def _demand(value: object) -> str:
    """What the word of a schema says that the value fails."""
    return json.dumps(value, ensure_ascii=False, default=repr)[:_LONGEST_MESSAGE]


def _integer(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        raise _WrongError("number_too_long", f"a number of {len(digits)} digits")
    return int(digits)


def _finite(digits: str) -> float:
    if len(digits) > _LONGEST_NUMBER:
        raise _WrongError("number_too_long", f"a number of {len(digits)} characters")
    value = float(digits)
    if math.isinf(value):
        raise _WrongError("number_too_large", "a number beyond the range of a double")
    return value


def _no_constant(name: str) -> float:
    raise _WrongError("not_a_number", f"{name} is no JSON")


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _WrongError("duplicate_key", "an object holds a name twice")
    return value


def _candidates(text: str) -> list[tuple[int, int]]:
    """Stretches of `text` that may be the JSON: what is in fences, then values that begin with a bracket."""
    found = list(_in_fences(text))
    stripped = text.strip("\ufeff \t\r\n")
    if stripped and len(stripped) < len(text):
        start = text.index(stripped)
        found.append((start, start + len(stripped)))
    decoder = json.JSONDecoder(strict=True)
    position = 0
    for _ in range(_MOST_STARTS):
        match = _START.search(text, position)
        if match is None:
            break
        try:
            _, position = decoder.raw_decode(text, match.start())
            found.append((match.start(), position))
        except (ValueError, RecursionError):
            position = match.end()
    return found


def _in_fences(text: str) -> Iterator[tuple[int, int]]:
    """What stands between Markdown fences, each text once: in a time that grows with the length alone."""
    position = 0
    while opening := _FENCE_LINE.search(text, position):
        end = text.find(_FENCE, opening.end())
        if end < 0:
            return
        yield opening.end(), opening.end() + len(text[opening.end() : end].rstrip(" \t\r\n"))
        position = end + len(_FENCE)


def _shown(path: Sequence[object]) -> str:
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)


def _locate(text: str, path: Sequence[object]) -> int:
    """Where the value at `path` begins in the JSON `text`; where the last step that is there does."""
    decoder = json.JSONDecoder()
    position = _skip(text, 0)
    for step in path:
        inner = _member(decoder, text, position, step)
        if inner is None:
            break
        position = inner
    return position


def _member(decoder: json.JSONDecoder, text: str, position: int, step: object) -> int | None:
    opener = text[position : position + 1]
    if opener not in ("{", "["):
        return None
    position = _skip(text, position + 1)
    number = 0
    while position < len(text) and text[position] not in "}]":
        key: object = number
        if opener == "{":
            key, position = decoder.raw_decode(text, position)
            position = _skip(text, _skip(text, position) + 1)
        if key == step:
            return position
        _, position = decoder.raw_decode(text, position)
        position = _skip(text, position)
        if text[position : position + 1] == ",":
            position = _skip(text, position + 1)
        number += 1
    return None


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return position if match is None else match.end()


def _schema_validator(schema: Any) -> Any:
    try:
        jsonschema = importlib.import_module("jsonschema")
        known = importlib.import_module("jsonschema_specifications").REGISTRY
    except ImportError as error:
        raise MissingDependencyError("JSONSchema with a mapping", package="jsonschema", extra="json-schema") from error
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise ConfigurationError(f"no JSON schema: {error.message}") from error
    kind = jsonschema.validators.extend(kind, {"uniqueItems": _unique(jsonschema.ValidationError)})
    # With a registry of its own it fetches nothing.
    return kind(schema, registry=known)


def _unique(error: type[Exception]) -> Any:
    """The check of `uniqueItems`, in linear time: that of the library compares objects pair by pair."""

    def check(validator: Any, unique: object, value: object, _: object) -> Iterator[Exception]:
        if unique and validator.is_type(value, "array") and isinstance(value, list):
            texts = [json.dumps(_comparable(one), sort_keys=True) for one in value]
            if len(set(texts)) < len(texts):
                yield error("an element stands there twice")

    return check


def _comparable(value: Any) -> Any:
    """`value` so that what JSON schema calls equal has the same text: 1.0 is 1."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_comparable(one) for one in value]
    if isinstance(value, dict):
        return {name: _comparable(one) for name, one in value.items()}
    return value


def _type_validator(schema: object) -> Any:
    if callable(getattr(schema, "validate_json", None)):
        return schema  # a TypeAdapter
    if isinstance(schema, str | bytes):
        raise ConfigurationError(f"schema={schema!r} is a text: read it with `json.loads` first")
    pydantic = importlib.import_module("pydantic")
    try:
        return pydantic.TypeAdapter(schema)
    except Exception as error:  # whatever pydantic says of something that is no type
        raise ConfigurationError(
            f"schema={schema!r} is no JSON schema (a mapping), pydantic model or type: {error}"
        ) from error
