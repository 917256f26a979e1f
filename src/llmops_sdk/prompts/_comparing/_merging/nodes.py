"""A file as a tree of texts: joined again, they are the file."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

__all__ = ["Node", "Style", "split_lines", "text_of"]

Style: TypeAlias = Literal["leaf", "block", "inline", "body"]
"""How the parts of a node stand: nowhere, on lines of their own in any order, on one line in any order, or on lines
of their own in an order that means something."""


class Node(NamedTuple):
    """A stretch of a file that is merged as one, or by its parts.

    Attributes:
        key: What it is called among its siblings; the same in all versions of the file.
        head: Its text; with parts, what stands before them.
        lead: Blank lines and comments before it, which go where it goes.
        parts: The stretches in it; `None` where it is merged by lines.
        tail: What stands after its parts.
        joint: What stands between its parts.
        style: How its parts stand.
        label: What it is called for people; the key where it is empty.
    """

    key: str
    head: str
    lead: str = ""
    parts: tuple[Node, ...] | None = None
    tail: str = ""
    joint: str = ""
    style: Style = "leaf"
    label: str = ""

    @property
    def own(self) -> str:
        """Its text without its lead."""
        return self.head + self.joint.join(part.text for part in self.parts or ()) + self.tail

    @property
    def text(self) -> str:
        """Its whole text."""
        return self.lead + self.own


def text_of(node: Node | None) -> str | None:
    """The text of a node that may be missing."""
    return None if node is None else node.text


def split_lines(text: str) -> list[str]:
    """The lines of a text, each with its line feed; the last may have none."""
    lines = text.split("\n")
    return [f"{line}\n" for line in lines[:-1]] + lines[-1:] * bool(lines[-1])
