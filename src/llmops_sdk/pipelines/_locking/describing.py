"""Configurations as hashes: the same for the same configuration, in every process and on every machine."""

from __future__ import annotations

import dataclasses
import enum
import functools
import inspect
import re
import types
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path, PurePath
from typing import Any

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.given import named_like_a_key
from llmops_sdk.pipelines._fingerprint import hash_of, plain
from llmops_sdk.pipelines._locking.code import class_form, function_form, name_of
from llmops_sdk.pipelines._locking.files import hash_of_files

__all__ = ["configuration_hash"]

_PLAIN = (Mapping, Sequence, AbstractSet, enum.Enum)
"""What `plain` takes apart by itself."""


def configuration_hash(value: Any, *, without: Collection[str] = ()) -> str:
    """SHA-256, 64 hexadecimal digits, of how an object is configured: of its class and what it was made with.

    Data counts by its value, files and folders (`Path`) by their content, classes and functions by their name, and by
    their source where they are not of this library or of Python. An object counts by its `configuration()`; without
    one by its fields (dataclasses, pydantic), or by what it pickles. Arguments that are named like keys do not count.

    Args:
        value: The object.
        without: What of its `configuration()` is pinned elsewhere.

    Raises:
        ConfigurationError: Something of it has no form that another process could compare; the message says what.
    """
    try:
        if not without:
            return hash_of(_described(value))
        return hash_of([_class(type(value)), _described(_without_keys(value.configuration(), without))])
    except RecursionError:
        raise ConfigurationError(f"the configuration of {type(value).__name__} is nested too deeply") from None


def _described(value: Any) -> Any:
    return plain(value, _special)


def _special(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float):
        return NotImplemented
    if isinstance(value, re.Pattern):
        return ["pattern", _described(value.pattern), value.flags]
    if isinstance(value, PurePath):
        found = hash_of_files(Path(value))
        return ["path", value.as_posix()] if found is None else ["files", found]
    if isinstance(value, Mapping) and not all(isinstance(name, str) for name in value):
        return ["pairs", sorted(([_described(name), _described(one)] for name, one in value.items()), key=repr)]
    code = _code(value)
    return _object(value) if code is NotImplemented else code


def _code(value: Any) -> Any:
    if isinstance(value, type):
        return _class(value)
    if isinstance(value, types.FunctionType):
        return _described(function_form(value))
    if isinstance(value, types.MethodType):
        return [_described(value.__func__), _described(value.__self__)]
    if isinstance(value, types.BuiltinFunctionType):
        owner = value.__self__
        return [value.__qualname__, owner.__name__ if isinstance(owner, types.ModuleType) else _described(owner)]
    if isinstance(getattr(value, "__wrapped__", None), types.FunctionType):  # with a cache around it
        return _described(value.__wrapped__)
    if isinstance(value, functools.partial):
        return ["partial", _described(value.func), _described(value.args), _described(value.keywords)]
    return NotImplemented


def _object(value: Any) -> Any:
    kind = type(value)
    content = getattr(value, "hash", None)
    if isinstance(content, str):  # a prompt
        return [_class(kind), content]
    if callable(getattr(value, "configuration", None)):
        return [_class(kind), _described(_without_keys(value.configuration(), ()))]
    if dataclasses.is_dataclass(value):
        fields = {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
        return [_class(kind), _described(_without_keys(fields, ()))]
    if isinstance(value, _PLAIN) or kind.__module__ in ("datetime", "decimal", "uuid"):
        return NotImplemented
    if hasattr(value, "model_dump") or hasattr(value, "tolist"):
        return NotImplemented
    if any("__reduce__" in vars(base) for base in kind.__mro__[:-1]):
        made = value.__reduce__()
        if isinstance(made, tuple):
            return [_class(kind), _described(made[:2])]
    if kind.__module__ != "builtins" and not isinstance(value, Collection) and not _parameters(kind):
        return _class(kind)
    raise ConfigurationError(
        f"{name_of(kind)} has no form that another process could compare: give it a method `configuration()` that "
        "returns what it was made with, as plain values"
    )


def _parameters(kind: type) -> bool:
    try:
        return bool(inspect.signature(kind).parameters)
    except ValueError:  # some classes written in C do not say
        return True


def _class(kind: type) -> Any:
    form = class_form(kind)
    schema = getattr(kind, "model_json_schema", None)
    return _described(form if schema is None else [*form, schema()])


def _without_keys(arguments: Mapping[str, Any], others: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if not named_like_a_key(name) and name not in others}
