"""Fences in templates of Jinja: which text stands in which fence, and the fence itself.

What is put out and may come from a variable with a fence is fenced as a whole, unless it is made of pieces that stand
in their fences already (what a macro or a block caught) or is a count.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from llmops_sdk.messages import Document
from llmops_sdk.prompts._templates.values import UnfitError
from llmops_sdk.prompts._variables import FENCES, NAME, Variable
from llmops_sdk.prompts.jinja.limits import running, weight_of
from llmops_sdk.prompts.jinja.pieces import Captured, FenceEnd, FenceStart, Labels, Piece, captured, put_out
from llmops_sdk.prompts.jinja.scopes import Found, labels_in, unsettled_in

__all__ = ["COUNTING", "Fencing", "MixedError", "fenced", "fencing_of"]

COUNTING = frozenset(("count", "length", "wordcount"))
"""Filters that give a number, in which nobody can say anything."""

_NAME = re.compile(rf"{NAME}(?:[.-]{NAME})*")
_STEPS = 4  # times as long as looking at a text once


class Fencing(NamedTuple):
    """A fence at one place.

    Attributes:
        kind: One of `FENCES`.
        name: What it calls the text.
    """

    kind: str
    name: str


class MixedError(Exception):
    """A text may come from several variables, and not all have the same fence; the message says what to write."""

    def __init__(self, problem: str, variable: str) -> None:
        super().__init__(problem)
        self.variable = variable


def fencing_of(found: Found, declared: Mapping[str, Variable]) -> Fencing | None:
    """The fence of a text that comes from what was found; `None` where none of its variables has one.

    Raises:
        MixedError: It needs a fence, and which one cannot be said.
    """
    kinds = {label: variable.fence for label in labels_in(found) if (variable := declared.get(_root(label)))}
    fences = {label: kind for label, kind in kinds.items() if kind}
    if not fences:
        return None
    unsettled = unsettled_in(found)
    roots = {_root(label) for label in unsettled}
    first = next((label for label in fences if label in unsettled), None)
    if first is not None and len(roots) > 1:
        others = ", ".join(repr(root) for root in sorted(roots - {_root(first)}))
        raise MixedError(
            f"this may come from {_root(first)!r}, which has `fence: {fences[first]}`, and from {others}: put out one "
            f'at a time, or say what fence it has, `{{{{ (...) | fence("{fences[first]}", "name") }}}}`',
            _root(first),
        )
    label = first or next(iter(fences))
    return Fencing(fences[label] or "", label if len(unsettled) == 1 else _root(label))


def _root(label: str) -> str:
    return label.partition(".")[0]


def fenced(value: object, labels: Labels, kind: str, name: object) -> str:
    """The value in its fence; of documents each by itself.

    Raises:
        UnfitError: It is no text, or the name is none.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UnfitError(f"{str(name)[:40]!r} is no name for a fence: write letters and digits, such as `notes`")
    if value is None:
        return put_out(value, labels)  # what was left out has no fence
    if isinstance(value, Captured):
        value = str(value)
    shown = put_out(value, labels)
    parts: list[str] = []
    for piece in shown.pieces if type(shown) is Captured else (shown,):
        # Between the documents of a list stands a text of ours.
        parts += (piece,) if type(shown) is Captured and type(piece) is str else _in_fence(piece, kind, name)
    return captured(parts)


def _in_fence(piece: str, kind: str, name: str) -> tuple[str, ...]:
    running.get().spend(weight_of(piece) * _STEPS)
    came = piece.came if type(piece) is Piece else ()
    before, text, after = FENCES[kind](str(piece), name, came.id if isinstance(came, Document) else None)
    inside = Piece.of(text, came, piece.image) if type(piece) is Piece else text
    return FenceStart.of(before, kind), inside, FenceEnd.of(after, kind)
