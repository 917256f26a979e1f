"""The answer held against what its prompt asks for, and read as that; nothing of the answer goes into the record."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from llmops_sdk.errors import ConfigurationError, MissingDependencyError
from llmops_sdk.guards import JSONReading, JSONSchema, Mismatch
from llmops_sdk.loops import in_thread
from llmops_sdk.messages import Choice, Response
from llmops_sdk.prompts import Output

__all__ = ["Checked", "checked", "demands"]

log = logging.getLogger("llmops_sdk")
_LONG = 20_000
"""Characters from which on a check had better not keep the event loop."""
_LONGEST = 1_000_000
"""Characters of an answer that are read; no model answers with so many that are meant."""
_MOST_SCHEMAS = 64
_HELD_NAMES = ("properties", "$defs", "definitions")

_validators: dict[Any, JSONSchema] = {}
"""By the type, or by the schema as text, and by whether a text has to be JSON and nothing else."""


class Checked(NamedTuple):
    """What became of the choices of an answer.

    Attributes:
        outputs: What each one holds, as JSON or as the prompt's type; `None` where it is wrong, or calls tools.
        errors: What is wrong with each one, without a word of it; `None` for nothing.
        readings: Each one as it was read; `None` for one that calls tools.
    """

    outputs: tuple[Any, ...]
    errors: tuple[str | None, ...]
    readings: tuple[JSONReading | None, ...]

    @property
    def error(self) -> str | None:
        """What is wrong with the first choice that is wrong."""
        return next((error for error in self.errors if error is not None), None)


async def checked(output: Output, response: Response, *, whole: bool = False) -> Checked | None:
    """The choices of an answer, read; `None` if all of them call tools.

    Args:
        output: What they have to be.
        response: The answer.
        whole: Whether a text has to be JSON and nothing else; otherwise fences and text around it are passed over.
    """
    texts = [_answer(choice) for choice in response.choices]
    if all(text is None for text in texts):
        return None
    validator = None if output.type is not None else _validators.get(_key(output, whole))
    if validator is not None and all(text is None or len(text) <= _LONG for text in texts):
        readings = _read(validator, texts)
    else:
        readings = await in_thread(lambda: _read(_validator(output, whole=whole), texts))
    names = _names(output.schema) if any(one and one.mismatches for one in readings) else frozenset()
    errors = tuple(None if one is None or one.problem is None else _error(one, names) for one in readings)
    return Checked(tuple(None if one is None else one.value for one in readings), errors, readings)


def demands(reading: JSONReading, output: Output) -> str:
    """What an answer would have to be that was read so, a line for each place; for who is to mend it."""
    if not reading.mismatches:
        return f"it is {(reading.problem or 'not json').replace('_', ' ')}"
    names = _names(output.schema)
    return "\n".join(f"{_shown(one, names)}: fails `{one.rule}`: {one.message}" for one in reading.mismatches)


def _answer(choice: Choice) -> str | None:
    return None if choice.tool_calls else choice.text


def _read(validator: JSONSchema, texts: list[str | None]) -> tuple[JSONReading | None, ...]:
    return tuple(None if text is None else _reading(validator, text) for text in texts)


def _reading(validator: JSONSchema, text: str) -> JSONReading:
    return validator.read(text) if len(text) <= _LONGEST else JSONReading(None, 0, len(text), "too_long")


def _key(output: Output, whole: bool) -> tuple[Any, bool]:
    form = json.dumps(output.schema, sort_keys=True, default=repr) if output.type is None else output.type
    return form, whole


def _validator(output: Output, *, whole: bool) -> JSONSchema:
    key = _key(output, whole)
    try:
        found = _validators.get(key)
    except TypeError:  # a type that cannot be a key, such as an `Annotated` with a list in it
        return _made(output, whole)
    if found is None:
        found = _made(output, whole)
        if len(_validators) >= _MOST_SCHEMAS:
            _validators.clear()
        _validators[key] = found
    return found


def _made(output: Output, whole: bool) -> JSONSchema:
    if output.type is not None:
        return JSONSchema(output.type, strict=False, repair=not whole)
    try:
        return JSONSchema(dict(output.schema), strict=False, repair=not whole)
    except (ConfigurationError, MissingDependencyError) as exc:
        log.warning("answers are held to be JSON, and no more, since their schema cannot be checked: %s", exc)
        return JSONSchema(True, strict=False, repair=not whole)


def _error(reading: JSONReading, names: frozenset[str]) -> str:
    problem = (reading.problem or "").replace("_", " ")
    if not reading.mismatches:
        return problem
    first = reading.mismatches[0]
    place = "" if not first.path else f" at {_shown(first, names)}"
    return f"{problem}{place}: fails `{first.rule}`"


def _shown(mismatch: Mismatch, names: frozenset[str]) -> str:
    """The path to the place; a name that is none of the schema was chosen by the model, and is not shown."""
    return "$" + "".join(
        f"[{step}]" if isinstance(step, int) else f".{step}" if step in names else ".*" for step in mismatch.path
    )


def _names(schema: Any) -> frozenset[str]:
    return frozenset(_names_in(schema))


def _names_in(schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for one in schema:
            yield from _names_in(one)
    elif isinstance(schema, Mapping):
        for word, value in schema.items():
            if word in _HELD_NAMES and isinstance(value, Mapping):
                yield from map(str, value)
            yield from _names_in(value)
