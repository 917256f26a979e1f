"""Pieces: what a running template puts out. They are texts, and know what they came from.

Jinja hands texts on as they are, so pieces come out of loops, includes, macros and captured blocks unharmed. What is
done to one (a filter, a slice) makes an ordinary text of it, whose origin is then what `origins` found in the template.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Self, TypeAlias

from llmops_sdk.messages import Document, ImagePart
from llmops_sdk.prompts._templates.values import BETWEEN_DOCUMENTS, UnfitError, documents_in, text_of
from llmops_sdk.prompts._variables import needs_own_lines
from llmops_sdk.prompts.jinja.limits import running, weight_of

__all__ = [
    "Captured",
    "DocumentText",
    "FenceEnd",
    "FenceStart",
    "Labels",
    "Method",
    "Piece",
    "captured",
    "put_out",
    "refuse_images",
]

Labels: TypeAlias = "tuple[str, ...]"
"""Variables, or paths in them (`"customer.name"`), that a text may come from; sorted."""


class Piece(str):
    """A stretch of output that is not the template's own text.

    Attributes:
        came: From what.
        image: The image that stands there, with no text.
    """

    __slots__ = ("came", "image")
    came: Labels | Document
    image: ImagePart | None

    @classmethod
    def of(cls, text: str, came: Labels | Document, image: ImagePart | None = None) -> Piece:
        """A piece."""
        piece = cls(text)
        piece.came = came
        piece.image = image
        return piece


class FenceStart(str):
    """What stands before a text in its fence.

    Attributes:
        own_line: Whether it has to begin a line.
    """

    __slots__ = ("own_line",)
    own_line: bool

    @classmethod
    def of(cls, text: str, kind: str) -> Self:
        """What a fence of this kind begins, or ends, with."""
        made = cls(text)
        made.own_line = needs_own_lines(kind)
        return made


class FenceEnd(FenceStart):
    """What stands behind a text in its fence; `own_line`: whether it has to end a line."""

    __slots__ = ()


class Captured(str):
    """Output that a macro or a block caught.

    Attributes:
        pieces: What it is made of: pieces, and texts of the template's own.
    """

    __slots__ = ("pieces",)
    pieces: list[str]


class DocumentText(str):
    """The text of a document, and nothing else.

    Attributes:
        document: The document.
    """

    __slots__ = ("document",)
    document: Document

    @classmethod
    def of(cls, text: str, document: Document) -> DocumentText:
        """A text of a document."""
        made = cls(text)
        made.document = document
        return made


class Method:
    """A method that a template may call; it is no text.

    Attributes:
        function: The method.
        owner: Whose it is.
    """

    __slots__ = ("function", "owner")

    def __init__(self, function: Callable[..., object], owner: object) -> None:
        self.function = function
        self.owner = owner


def put_out(value: object, labels: Labels) -> str:
    """What `{{ ... }}` puts out for a value that comes from what `labels` says.

    Raises:
        UnfitError: The value cannot stand in a text.
    """
    kind = type(value)
    if kind is str:
        return Piece.of(value, labels) if labels else value  # type: ignore[arg-type, return-value]
    if kind is Captured or kind is Piece:
        return value  # type: ignore[return-value]
    if kind is DocumentText:
        return Piece.of(value, value.document)  # type: ignore[arg-type, attr-defined]
    if isinstance(value, ImagePart):
        return Piece.of("", labels, value)
    rendering = running.get()
    variable = rendering.variables.get(labels[0]) if len(labels) == 1 else None
    documents = documents_in(value, variable)
    if documents is not None:
        parts: list[str] = []
        for document in documents:
            parts += (BETWEEN_DOCUMENTS, Piece.of(document.text, document))
        return captured(parts[1:])
    rendering.spend(weight_of(value))
    name = repr(labels[0]) if len(labels) == 1 else "the value"
    root = labels[0].partition(".")[0] if len(labels) == 1 else ""
    optional = root in rendering.variables and rendering.variables[root].optional
    text = text_of(value, name, variable=root, optional=optional)
    return Piece.of(text, labels) if labels else text


def captured(parts: Iterable[str]) -> Captured:
    """The parts as one; takes the place of Jinja's own `concat`."""
    pieces: list[str] = []
    chars = 0
    rendering = running.get()
    for part in parts:
        chars += len(part)
        if type(part) is Captured:
            rendering.spend(len(part.pieces))
            pieces += part.pieces
        else:
            pieces.append(part)
    rendering.allow(chars)
    whole = Captured("".join(pieces))
    whole.pieces = pieces
    return whole


def refuse_images(*values: object) -> None:
    """Refuse what would lose an image.

    Raises:
        UnfitError: There is an image in one of the values.
    """
    for value in values:
        if isinstance(value, ImagePart) or (
            type(value) is Captured and any(type(one) is Piece and one.image is not None for one in value.pieces)
        ):
            raise UnfitError("an image is no text: write it as `{{ image }}` alone")
