"""What a template may read of a value, and how the value becomes text."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Final

from llmops_sdk.messages import Document
from llmops_sdk.prompts._variables import Variable, did_you_mean

__all__ = [
    "BETWEEN_DOCUMENTS",
    "MISSING",
    "UnfitError",
    "attribute_of",
    "documents_in",
    "holds_doubtful",
    "near_attributes",
    "refuse_hidden_documents",
    "text_of",
]

BETWEEN_DOCUMENTS = "\n\n"

_MOST_LOOKED_AT: Final = 100_000
"""More parts of a value than these are not looked at: whoever holds so much is not trusted."""

MISSING: Final = object()
"""What `attribute_of` gives for what is not there."""

# From these one attribute leads to the interpreter's insides (`generator.gi_frame.f_globals`), so none is read.
_CLOSED = (
    type,
    types.ModuleType,
    types.FunctionType,
    types.MethodType,
    types.BuiltinFunctionType,
    types.FrameType,
    types.CodeType,
    types.TracebackType,
    types.GeneratorType,
    types.CoroutineType,
    types.AsyncGeneratorType,
)


class UnfitError(Exception):
    """A value that a template cannot use; the message says why."""


def attribute_of(value: object, step: str, name: str) -> object:
    """The key of a mapping or the attribute of an object, `MISSING` where there is none.

    Args:
        value: What it is read from.
        step: The key or attribute.
        name: What the template calls `value`, for errors.

    Raises:
        UnfitError: Nothing may be read from such a value.
    """
    if isinstance(value, Mapping):
        found: object = value[step] if step in value else MISSING  # noqa: SIM401  (a mapping need not have `get`)
        return found
    if isinstance(value, _CLOSED):
        raise UnfitError(f"{name} is a {type(value).__name__}; templates read nothing from those")
    if step.startswith("_"):
        raise UnfitError(f"{name}: no name may begin with an underscore, as {step!r} does")
    try:
        return getattr(value, step)
    except AttributeError:
        return MISSING


def near_attributes(value: object, step: str, name: str) -> str:
    """The message that `value` has no `step`, with what it has that is close."""
    if isinstance(value, Mapping):
        return f"{name} has no key {step!r}.{did_you_mean(step, map(str, value))}"
    known = [one for one in dir(value) if not one.startswith("_")]
    return f"{name} ({type(value).__name__}) has no attribute {step!r}.{did_you_mean(step, known)}"


def refuse_hidden_documents(found: object, attribute: str) -> None:
    """Refuse documents that are the attribute of an object.

    Nobody looks for them there when he asks whether a variable can be trusted, as `holds_doubtful` does.

    Raises:
        UnfitError: There is one that nobody vouches for.
    """
    inside = found if isinstance(found, list | tuple) else (found,)
    if any(isinstance(one, Document) and not one.trusted for one in inside):
        raise UnfitError(f"{attribute!r} holds documents: pass them as a variable of their own")


def text_of(value: object, name: str, *, variable: str, optional: bool = False) -> str:
    """The text that stands for a value.

    Args:
        value: Any value.
        name: What the template calls it, for errors.
        variable: The variable that it came from.
        optional: Whether that one may be `None`.

    Raises:
        UnfitError: It cannot stand in a text.
    """
    if isinstance(value, str):
        return str(value)
    if value is None:
        if optional:
            return ""
        hint = f", or declare {variable!r} as `optional: true`" if variable else ""
        raise UnfitError(f"{name} is None; give it a value{hint}")
    if isinstance(value, bytes | bytearray):
        raise UnfitError(f"{name} is bytes; decode it to text first")
    if callable(value):
        raise UnfitError(f"{name} is a {type(value).__name__}; templates call nothing, so pass what it returns")
    return str(value)


def documents_in(value: object, variable: Variable | None = None) -> tuple[Document, ...] | None:
    """The documents that `value` is: one, or a list of nothing else (an empty one only where such were declared)."""
    if isinstance(value, Document):
        return (value,)
    declared = variable is not None and variable.type == "documents"
    if not isinstance(value, list | tuple) or (not value and not declared):
        return None
    return tuple(value) if all(isinstance(one, Document) for one in value) else None


def holds_doubtful(value: object) -> bool:
    """Whether a document that nobody vouches for is in a value."""
    waiting, looked_at = [value], 0
    while waiting:
        one = waiting.pop()
        looked_at += 1
        if isinstance(one, Document):
            if not one.trusted:
                return True
        elif isinstance(one, list | tuple | set | frozenset):
            waiting.extend(one)
        elif isinstance(one, Mapping):
            waiting.extend(one.values())
            waiting.extend(one)
        if looked_at > _MOST_LOOKED_AT:
            return True
    return False
