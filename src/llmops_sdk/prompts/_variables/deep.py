"""Deep checks of values: JSON Schemas and Python types, by pydantic."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, get_args

from llmops_sdk.prompts._types.formats import FORMATS, TEMPORAL
from llmops_sdk.prompts._types.words import Schema

if TYPE_CHECKING:
    from pydantic_core import ValidationError
    from pydantic_core.core_schema import CoreSchema

__all__ = ["DeepCheck", "Misfit", "deep_check_of"]


class Misfit(NamedTuple):
    """What is wrong with a value; it quotes nothing of the value, which may be private.

    Attributes:
        path: Names and positions that lead to the place, `("address", 2, "zip")`. Keys that no schema names are data,
            and stand in none.
        problem: What is wrong, in pydantic's words.
        got: The class of what stands there.
        missing: Whether nothing stands there.
    """

    path: tuple[str | int, ...]
    problem: str
    got: str
    missing: bool = False


DeepCheck: TypeAlias = Callable[[object], Misfit | None]
"""What is wrong with a value; `None`: nothing."""


def deep_check_of(schema: Mapping[str, Any], annotation: Any = None) -> DeepCheck:
    """The check of values by a Python type, or by a schema in its normal form."""
    from pydantic_core import SchemaValidator, ValidationError  # noqa: PLC0415  (third-party: needed by schemas only)

    names = frozenset(_names_in(schema))
    if annotation is None:
        validate = SchemaValidator(_core_schema(schema)).validate_python
    else:
        from pydantic import TypeAdapter  # noqa: PLC0415

        validate = TypeAdapter(annotation).validator.validate_python

    def check(value: object) -> Misfit | None:
        try:
            validate(value, strict=None if annotation is None else True)
        except ValidationError as exc:
            return _misfit(exc, names, value, speaks_plainly=annotation is None)
        except Exception as exc:  # noqa: BLE001  (a validator of the application's model: its text may hold the value)
            return Misfit((), f"the check of its own type broke with {type(exc).__name__}", type(value).__name__)
        return None

    return check


def _misfit(exc: ValidationError, names: frozenset[str], value: object, *, speaks_plainly: bool) -> Misfit:
    first = exc.errors(include_url=False)[0]
    path = tuple(_path(first["loc"], names, value))
    kind, problem = first["type"], first["msg"]
    if not speaks_plainly and kind not in _plain_kinds():
        problem = "the check of its own type refuses it"
    if kind == "extra_forbidden":
        problem = "There is a key that is not declared"
    if exc.error_count() > 1:
        problem += f" (and {exc.error_count() - 1} more)"
    return Misfit(path, problem, type(first["input"]).__name__, missing=kind == "missing")


@functools.cache
def _plain_kinds() -> frozenset[str]:
    """Kinds of pydantic's own errors whose words quote nothing of the value; an application's validators may."""
    from pydantic_core.core_schema import ErrorType  # noqa: PLC0415  (see `deep_check_of`)

    quoting = {"value_error", "assertion_error", "union_tag_invalid"}
    own = set(get_args(ErrorType)) - quoting
    # What a parser says of a text holds pieces of it.
    return frozenset(kind for kind in own if not kind.endswith(("_parsing", "json_invalid", "_syntax_violation")))


def _path(loc: tuple[str | int, ...], names: frozenset[str], value: Any) -> Iterator[str | int]:
    """The steps of `loc` that are positions in lists, or names that the schema knows: other keys are data."""
    for step in loc:
        is_position = isinstance(step, int) and isinstance(value, list | tuple)
        if is_position or step in names:
            yield step
        try:
            value = value[step]
        except (TypeError, LookupError):
            value = getattr(value, str(step), value)  # a model; or no step of the value at all, but pydantic's own


def _names_in(schema: Any) -> Iterator[str]:
    """Names of all properties in a schema."""
    if isinstance(schema, Mapping):
        yield from schema.get("properties", ())
        for one in schema.values():
            yield from _names_in(one)
    elif isinstance(schema, list | tuple):
        for one in schema:
            yield from _names_in(one)


def _core_schema(schema: Mapping[str, Any]) -> CoreSchema:
    from pydantic_core import core_schema as core  # noqa: PLC0415

    definitions = schema.get("$defs", {})
    main = _one({key: value for key, value in schema.items() if key != "$defs"})
    if not definitions:
        return main
    # A definition may be nothing but a reference, which pydantic cannot name: so a function stands around each.
    named: list[CoreSchema] = [
        core.no_info_after_validator_function(_same, _one(one), ref=name) for name, one in definitions.items()
    ]
    return core.definitions_schema(main, named)


def _same(value: object) -> object:
    return value


def _one(schema: Mapping[str, Any]) -> CoreSchema:
    from pydantic_core import core_schema as core  # noqa: PLC0415

    if "$ref" in schema:
        return core.definition_reference_schema(schema["$ref"].removeprefix("#/$defs/"))
    if "anyOf" in schema:
        return _any_of(schema["anyOf"])
    if "enum" in schema:
        return _enumeration(schema["enum"])
    of_type: Mapping[str, Callable[[Mapping[str, Any]], CoreSchema]] = {
        "string": _string,
        "integer": lambda one: core.int_schema(strict=True, **_bounds(one)),
        "number": lambda one: core.float_schema(strict=True, **_bounds(one)),
        "boolean": lambda _: core.bool_schema(strict=True),
        "null": lambda _: core.none_schema(),
        "array": _array,
        "object": _object,
    }
    return of_type[schema["type"]](schema) if "type" in schema else core.any_schema()


def _any_of(alternatives: list[Schema]) -> CoreSchema:
    from pydantic_core import core_schema as core  # noqa: PLC0415

    null = {"type": "null"}
    others = [one for one in alternatives if one != null]
    if len(others) == 1:  # the usual case: the path of an error leads into it
        return core.nullable_schema(_one(others[0]))
    kept: list[CoreSchema | tuple[CoreSchema, str]] = [_one(one) for one in others]
    union = core.union_schema(
        kept,
        custom_error_type="no_alternative",
        custom_error_message=f"Input should be one of {', '.join(map(_named, alternatives))}",
    )
    return core.nullable_schema(union) if len(kept) < len(alternatives) else union


def _named(schema: Schema) -> str:
    """An alternative in a word or a few, without braces, which pydantic's messages take for fields."""
    if "enum" in schema:
        return " | ".join(str(one).replace("{", "(").replace("}", ")") for one in schema["enum"])
    return str(schema.get("format") or schema.get("type") or schema.get("$ref", "any").rpartition("/")[2])


def _enumeration(values: list[object]) -> CoreSchema:
    # pydantic's own literals take `True` for 1.
    listed = {_identity(one) for one in values}

    def is_listed(value: object) -> bool:
        return isinstance(value, str | int | float) and _identity(value) in listed

    return _only("not_listed", f"Input should be {_named({'enum': values})}", is_listed)


def _string(schema: Mapping[str, Any]) -> CoreSchema:
    from pydantic_core import core_schema as core  # noqa: PLC0415

    form = schema.get("format")
    text = core.str_schema(
        strict=True,
        min_length=schema.get("minLength"),
        max_length=schema.get("maxLength"),
        pattern=schema.get("pattern"),
    )
    if form is None:
        return text
    problem = f"Input should be a {form}"
    if form in TEMPORAL:
        kinds = (str, dt.date)
        return _only("wrong_format", problem, lambda value: isinstance(value, kinds) and FORMATS[form](value))
    return _only("wrong_format", problem, FORMATS[form], text)


def _bounds(schema: Mapping[str, Any]) -> dict[str, Any]:
    said = {"ge": "minimum", "le": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"}
    return {ours: schema[theirs] for ours, theirs in (said | {"multiple_of": "multipleOf"}).items() if theirs in schema}


def _array(schema: Mapping[str, Any]) -> CoreSchema:
    from pydantic_core import core_schema as core  # noqa: PLC0415

    items = _one(schema["items"]) if schema.get("items") else None
    listed = core.list_schema(items, min_length=schema.get("minItems"), max_length=schema.get("maxItems"))
    is_list: CoreSchema = core.chain_schema(
        [_only("list_type", "Input should be a list", lambda value: isinstance(value, list | tuple)), listed]
    )
    if not schema.get("uniqueItems"):
        return is_list
    return _only("not_unique", "Items should differ from each other", _all_differ, is_list)


def _all_differ(values: list[Any]) -> bool:
    return len({_identity(one) for one in values}) == len(values)


def _identity(value: Any) -> object:
    """What two values have in common exactly if they are the same in JSON: `1` and `1.0`, but not `1` and `true`."""
    if isinstance(value, Mapping):
        return "object", frozenset((key, _identity(one)) for key, one in value.items())
    if isinstance(value, list | tuple):
        return "array", tuple(map(_identity, value))
    return type(value) is bool, value


def _object(schema: Mapping[str, Any]) -> CoreSchema:
    from pydantic_core import core_schema as core  # noqa: PLC0415

    properties, more = schema.get("properties", {}), schema.get("additionalProperties", True)
    required = frozenset(schema.get("required", ()))
    least, most = schema.get("minProperties"), schema.get("maxProperties")
    # A name that is required, and of which nothing more is said, may be anything.
    fields = {name: properties.get(name, {}) for name in (*properties, *sorted(required - properties.keys()))}
    if not fields and more is not False:
        values = _one(more) if isinstance(more, dict) else None
        return core.dict_schema(core.str_schema(strict=True), values, min_length=least, max_length=most)
    whole: CoreSchema = core.typed_dict_schema(
        {name: core.typed_dict_field(_one(one), required=name in required) for name, one in fields.items()},
        extra_behavior="forbid" if more is False else "allow",
        extras_schema=_one(more) if isinstance(more, dict) else None,
    )
    if least is None and most is None:
        return whole
    problem = "There are too few keys, or too many"
    return _only("wrong_count", problem, lambda value: (least or 0) <= len(value) <= (most or len(value)), whole)


def _only(kind: str, problem: str, fits: Callable[[Any], bool], schema: CoreSchema | None = None) -> CoreSchema:
    """What `schema` takes (anything, without one), of that what `fits`."""
    from pydantic_core import PydanticCustomError  # noqa: PLC0415
    from pydantic_core import core_schema as core  # noqa: PLC0415

    # A message of pydantic's is a template: a literal has its braces from a schema.
    literal = problem.replace("{", "(").replace("}", ")")

    def check(value: Any) -> Any:
        if not fits(value):
            raise PydanticCustomError(kind, literal)
        return value

    return core.no_info_after_validator_function(check, schema or core.any_schema())
