"""The front matter of a prompt file as a tree of texts, with everything between its keys: comments, blank lines."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from llmops_sdk.prompts._comparing._merging.nodes import Node, split_lines

__all__ = ["matter_node"]

_SETS = frozenset({"enum", "required", "stop", "type"})
"""Lists whose order means nothing: each item is merged for itself."""

_OTHER_LINE_ENDS = "\x85\u2028\u2029"
"""Line ends for YAML, and for nothing else here."""

_NAMED = "tools"
"""The list whose items have names."""


def matter_node(lines: Sequence[str]) -> Node:
    """The front matter; its first and last lines are the `---`. It is known to be YAML without aliases."""
    import yaml  # noqa: PLC0415  (third-party: who merges no files needs none)

    inner = "".join(lines[1:-1])
    found = yaml.compose(inner, yaml.SafeLoader)
    whole = Node("front matter", "".join(lines))
    if not isinstance(found, yaml.MappingNode) or found.flow_style or any(one in inner for one in _OTHER_LINE_ENDS):
        return whole
    parts, tail = _Matter(inner).block(found, (), 0, len(lines) - 2)
    node = Node("front matter", lines[0], parts=parts, tail=tail + lines[-1], style="block")
    return node if node.text == whole.text else whole


class _Matter:
    """The YAML text that nodes are cut from."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._lines = split_lines(text)

    def block(self, found: Any, path: tuple[str, ...], first: int, end: int) -> tuple[tuple[Node, ...], str]:
        """The entries of a block mapping or sequence on the lines from `first` to before `end`, and what is after."""
        keyed = _entries(found, path)
        starts = [item.start_mark.line for _, item, _ in keyed]
        if any(self._lines[mark.line][: mark.column].strip(" ") not in ("", "-") for mark in _marks(keyed)):
            return (), ""
        column = found.start_mark.column
        parts = []
        begin = first
        for number, (key, _, value) in enumerate(keyed):
            begin, start = starts[number], begin
            until = starts[number + 1] if number + 1 < len(keyed) else end
            last = self._without_lead(begin + 1, until, column)
            parts.append(self._entry(key, value, (*path, key), start, begin, last))
            begin = last
        return tuple(parts), "".join(self._lines[begin:end])

    def _without_lead(self, first: int, end: int, column: int) -> int:
        """Where the comments and blank lines begin that belong to what stands at `end`."""
        while end > first:
            line = self._lines[end - 1]
            bare = line.lstrip(" ")
            if line.strip() and not (bare.startswith("#") and len(line) - len(bare) <= column):
                break
            end -= 1
        return end

    def _entry(self, key: str, value: Any, path: tuple[str, ...], lead: int, first: int, end: int) -> Node:
        before, text = "".join(self._lines[lead:first]), "".join(self._lines[first:end])
        node = Node(key, text, before)
        if _has_parts(value, path) and value.flow_style:
            node = self._inline(key, value, path, self._index(first), self._index(end))._replace(lead=before)
        elif _has_parts(value, path) and value.start_mark.line > first:
            inside = self._without_lead(first + 1, value.start_mark.line, value.start_mark.column)
            parts, tail = self.block(value, path, inside, end)
            head = "".join(self._lines[first:inside])
            node = Node(key, head, before, parts, tail, style="block")
        return node if node.own == text else Node(key, text, before)

    def _index(self, line: int) -> int:
        return sum(map(len, self._lines[:line]))

    def _inline(self, key: str, value: Any, path: tuple[str, ...], start: int, end: int) -> Node:
        """An entry between two places of the text, whose value is written in `{}` or `[]`."""
        parts: list[Node] = []
        spans = []
        for name, item, inner in _entries(value, path):
            span = (item.start_mark.index, inner.end_mark.index)
            spans.append(span)
            nested = _has_parts(inner, (*path, name)) and inner.flow_style
            part = self._inline(name, inner, (*path, name), *span) if nested else Node(name, self._text[slice(*span)])
            parts.append(part)
        between = {self._text[one[1] : other[0]] for one, other in itertools.pairwise(spans)}
        joint = between.pop() if len(between) == 1 else ", "
        head, tail = self._text[start : spans[0][0]], self._text[spans[-1][1] : end]
        node = Node(key, head, "", tuple(parts), tail, joint, "inline")
        whole = self._text[start:end]
        return node if node.own == whole and joint.strip() == "," else Node(key, whole)


def _marks(keyed: list[tuple[str, Any, Any]]) -> list[Any]:
    return [item.start_mark for _, item, _ in keyed]


def _has_parts(value: Any, path: tuple[str, ...]) -> bool:
    """Whether the value is merged by its entries."""
    keys = [key for key, _, _ in _entries(value, path)]
    return bool(keys) and len(set(keys)) == len(keys)


def _entries(value: Any, path: tuple[str, ...]) -> list[tuple[str, Any, Any]]:
    """Key, first node and value of the entries; none where it is a scalar, or a list whose order means something."""
    if isinstance(value.value, str):
        return []
    if value.id == "mapping":
        return [(key.value, key, inner) for key, inner in value.value]
    if path and path[-1] in _SETS:
        return [(item.value, item, item) for item in value.value if isinstance(item.value, str)]
    if path and path[-1] == _NAMED:
        return [(_tool_name(item), item, item) for item in value.value]
    return []


def _tool_name(item: Any) -> str:
    found = dict(_pairs(item))
    name = found.get("name") or dict(_pairs(found.get("function"))).get("name")
    return str(name.value) if name is not None else ""


def _pairs(item: Any) -> Iterator[tuple[str, Any]]:
    if item is not None and item.id == "mapping":
        yield from ((key.value, value) for key, value in item.value)
