"""The forms in which an output is declared: a JSON schema, its shorthand, the name of a file, or a type."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.prompts._outputs.schemas import check_schema, schema_of_type
from llmops_sdk.prompts._types.spelling import is_schema, spelled_out

__all__ = ["DEFAULT_REPAIRS", "Output", "declaration_of", "output_of", "repairs_of"]

DEFAULT_REPAIRS = 1
_MOST_REPAIRS = 10
_FILE = ".json"
_LARGEST_FILE = 1_000_000
_LONG_FORM = {"schema", "repairs"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What the answer has to be.

    Attributes:
        schema: Its JSON schema.
        type: The type that it becomes: a pydantic model, a dataclass, any type that pydantic knows; `None`: it stays
            the parsed JSON.
        repairs: How often an engine is asked to mend an answer that does not fit, `0 <= repairs <= 10`; `None` leaves
            it to the pipeline.
    """

    schema: Mapping[str, Any]
    type: Any = None
    repairs: int | None = None

    @property
    def wanted(self) -> Any:
        """The type where there is one, else the schema."""
        return self.schema if self.type is None else self.type


def output_of(given: object, read: Callable[[str], bytes | None] | None = None) -> Output:
    """The output that `given` declares.

    Args:
        given: A JSON schema, a shorthand (`{"answer": "str"}`), the name of a file that holds a schema, any of these
            as `{"schema": ..., "repairs": 2}`, or a type.
        read: Reads a file, for its name; without it there are no files.

    Raises:
        ConfigurationError: It is none of these; the message says what to write.

    Example:
        >>> output_of({"answer": "str", "tags": "list[str]"}).schema["properties"]["tags"]
        {'type': 'array', 'items': {'type': 'string'}}
    """
    if isinstance(given, Output):
        return given
    repairs = None
    if isinstance(given, Mapping) and _is_long_form(given):
        repairs = repairs_of(given.get("repairs"))
        given = given["schema"]
    if isinstance(given, str) and given.endswith(_FILE):
        return Output(schema=_from_file(given, read), repairs=repairs)
    if isinstance(given, Mapping | str | list):
        return Output(schema=_spelled(given), repairs=repairs)
    if given is None or isinstance(given, bool | int | float | bytes):
        raise ConfigurationError(
            f"`output` is a JSON schema, a shorthand such as `{{answer: str}}`, the name of a `.json` file or a type, "
            f"not {given!r}"
        )
    return Output(schema=schema_of_type(given), type=given, repairs=repairs)


def declaration_of(written: object, repairs: int | None) -> object:
    """What a file says of an output whose schema is written like this, and that is mended so often."""
    if isinstance(written, Mapping) and _is_long_form(written) and "repairs" in written:
        written = written["schema"]
    return written if repairs is None else {"schema": written, "repairs": repairs}


def repairs_of(given: object) -> int | None:
    """How many repairs are allowed.

    Raises:
        ConfigurationError: It is no number from 0 to 10.
    """
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given <= _MOST_REPAIRS:
        raise ConfigurationError(f"`repairs` is a whole number from 0 to {_MOST_REPAIRS}, not {given!r}")
    return given


def _is_long_form(given: Mapping[Any, Any]) -> bool:
    inner = given.get("schema")
    if not given.keys() <= _LONG_FORM or inner is None:
        return False
    return "repairs" in given or not isinstance(inner, str) or inner.endswith(_FILE)


def _spelled(given: Mapping[Any, Any] | str | list[Any], said: str = "`output`") -> Mapping[str, Any]:
    try:
        schema = spelled_out(given)
        check_schema(schema)
    except ConfigurationError as exc:
        raise ConfigurationError(f"{said}: {exc}") from None
    return schema


def _from_file(path: str, read: Callable[[str], bytes | None] | None) -> Mapping[str, Any]:
    data = None if read is None else read(path)
    if data is None:
        raise ConfigurationError(f"there is no file {path!r} beside the prompts: its path begins in their folder")
    if len(data) > _LARGEST_FILE:
        raise ConfigurationError(f"{path} has {len(data):,} bytes, more than the {_LARGEST_FILE:,} that are read")
    try:
        schema = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as exc:
        raise ConfigurationError(f"{path} is not JSON: {exc}") from None
    if not isinstance(schema, dict) or not is_schema(schema):
        raise ConfigurationError(f'{path} is no JSON schema: write an object such as `{{"type": "object", ...}}`')
    return _spelled(schema, path)
