"""Code as part of a configuration: by its name, and by its source where that is the application's own."""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import re
import sys
import textwrap
import types
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from llmops_sdk.errors import ConfigurationError

__all__ = ["class_form", "function_form", "name_of"]

_PINNED_ELSEWHERE = frozenset({"builtins", "llmops_sdk", *sys.stdlib_module_names})
"""Packages whose code is what their version says; that of this library stands in the lock itself."""

_DATA = (bool, int, float, complex, str, bytes, Decimal, re.Pattern, type(None))


def name_of(code: Any) -> str:
    """`"module:qualified.name"` of a class or a function; of one of this library, that of its room.

    Example:
        >>> from llmops_sdk.guards import PII
        >>> name_of(PII)
        'llmops_sdk.guards:PII'
    """
    steps = (code.__module__ or "__main__").split(".")  # what `exec` made has none
    if steps[0] == "llmops_sdk":  # the files of a room may be cut anew
        steps = list(itertools.takewhile(lambda step: not step.startswith("_"), steps))
    return f"{'.'.join(steps)}:{code.__qualname__}"


def class_form(kind: type) -> list[Any]:
    """The name of a class and, for an application's own, the source of it and of its bases in the same package.

    Raises:
        ConfigurationError: Its source is not there.
    """
    if _is_pinned(kind.__module__):
        return [name_of(kind)]
    package = kind.__module__.partition(".")[0]
    own = [base for base in kind.__mro__ if base.__module__.partition(".")[0] == package]
    return [name_of(kind), *(part for base in own for part in (_source(base), *_around_class(base)))]


def function_form(function: types.FunctionType) -> list[Any]:
    """The name of a function and, for an application's own, its source, and the data that it takes from around it.

    That is its defaults, what it closes over, and the values of the globals that it names, where they are data or
    functions of the same module. What those of other modules do is not looked into.

    Raises:
        ConfigurationError: Its source is not there.
    """
    if function.__module__ is None:  # it was made by `exec`
        return [name_of(function), *_sources(function)]
    if _is_pinned(function.__module__):
        return [name_of(function), *_closed_over(function)]
    around = _around(function, {id(function)})
    return [name_of(function), *_sources(function), *_closed_over(function), *around]


def _is_pinned(module: str | None) -> bool:
    return module is None or module.partition(".")[0] in _PINNED_ELSEWHERE


@functools.lru_cache(maxsize=256)  # to find a class, Python parses its whole file
def _source(code: Any) -> str:
    try:
        return textwrap.dedent(inspect.getsource(code)).strip()
    except (OSError, TypeError):
        raise ConfigurationError(f"the source of {name_of(code)} is not there") from None


def _sources(function: types.FunctionType) -> Iterator[Any]:
    """The source; of a lambda that is the whole line, so its arguments and its own part of the line, too."""
    source = _source(function)
    yield source
    code = function.__code__
    if code.co_name != "<lambda>":
        return
    places = [
        (first, start, last, end)
        for first, last, start, end in code.co_positions()
        if not (first is None or last is None or start is None or end is None) and (first, start) < (last, end)
    ]
    yield list(code.co_varnames)
    if places:
        (first, start), (last, end) = min(one[:2] for one in places), max(one[2:] for one in places)
        place = types.SimpleNamespace(lineno=first, col_offset=start, end_lineno=last, end_col_offset=end)
        yield ast.get_source_segment("".join(inspect.findsource(function)[0]), place)  # type: ignore[arg-type]


def _closed_over(function: types.FunctionType) -> Iterator[Any]:
    yield from function.__defaults__ or ()
    yield function.__kwdefaults__ or {}
    for cell in function.__closure__ or ():
        try:
            value = cell.cell_contents
        except ValueError:  # not yet, or not any more
            continue
        if not isinstance(value, type):  # `super()` closes over the class
            yield value


def _around(function: types.FunctionType, seen: set[int]) -> Iterator[Any]:
    """Data, and functions of its module, that the function takes from the globals."""
    for name in sorted(function.__globals__.keys() & set(_names_in(function.__code__))):
        value = function.__globals__[name]
        if isinstance(value, types.FunctionType):
            if value.__module__ == function.__module__ and id(value) not in seen:
                seen.add(id(value))
                yield from _sources(value)
                yield from _around(value, seen)
        elif _is_data(value):
            yield [name, value]


def _names_in(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names_in(constant)


def _around_class(kind: type) -> Iterator[Any]:
    seen: set[int] = set()
    for value in vars(kind).values():
        function = value.func if isinstance(value, functools.cached_property) else value
        function = getattr(function, "__func__", None) or getattr(function, "fget", None) or function
        if isinstance(function, types.FunctionType) and function.__module__ == kind.__module__:
            yield from _around(function, seen)


def _is_data(value: object) -> bool:
    if isinstance(value, dict):
        return all(_is_data(one) for pair in value.items() for one in pair)
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(_is_data, value))
    return isinstance(value, _DATA)
