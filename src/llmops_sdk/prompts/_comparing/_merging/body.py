"""The body of a prompt file as a tree of texts: its sections, each with its heading."""

from __future__ import annotations

from collections.abc import Sequence

from llmops_sdk.prompts._comparing._merging.nodes import Node
from llmops_sdk.prompts._sections import is_heading

__all__ = ["sections_in"]


def sections_in(lines: Sequence[str]) -> tuple[list[Node], str]:
    """The sections of a body, with keys that are still empty, and the blank lines after them."""
    starts = [number for number, line in enumerate(lines) if is_heading(line.rstrip("\n"))]
    if not starts or any(line.strip() for line in lines[: starts[0]]):
        starts.insert(0, 0)
    nodes = []
    begin = 0
    for start, until in zip(starts, [*starts[1:], len(lines)], strict=True):
        while start < until and not lines[start].strip():  # before the text of a body that begins without a heading
            start += 1  # noqa: PLW2901
        end = until
        while end > start + 1 and not lines[end - 1].strip():
            end -= 1
        nodes.append(_section("".join(lines[begin:start]), lines[start:end]))
        begin = end
    return nodes, "".join(lines[begin:])


def _section(lead: str, lines: Sequence[str]) -> Node:
    parts = []
    if lines and is_heading(lines[0].rstrip("\n")):
        parts.append(_heading(lines[0]))
        lines = lines[1:]
    return Node("", "", lead, (*parts, Node("text", "".join(lines))), style="body")


def _heading(line: str) -> Node:
    bare = line.rstrip()
    word, *options = bare[1:-1].split()
    parts = [Node("word", word), *(Node(option.partition("=")[0], option) for option in options)]
    node = Node("heading", "[", "", tuple(parts), "]" + line[len(bare) :], " ", "inline")
    return node if node.own == line else Node("heading", line)
