"""YAML as data, and where in the file each value stands."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

from llmops_sdk.routers._declaring.problems import Path, Place, Problems

__all__ = ["MAX_BYTES", "read_yaml"]

MAX_BYTES = 250_000
"""Largest file that is read: 2,000 engines or so. PyYAML reads 100,000 bytes a second where it is slowest."""
_MAX_VALUES = 50_000
"""Most values of a file, with what its aliases stand for: ten short lines of nested aliases stand for gigabytes."""
_MOST_DEEP = 40
"""Deepest nesting; pydantic's reader of JSON goes to 200."""

_TAG = "tag:yaml.org,2002:"
_MERGE = _TAG + "merge"
_AS_WRITTEN = frozenset({_TAG + "str", _TAG + "timestamp", _TAG + "value"})  # days and the like are checked later
_PLAIN = frozenset({_TAG + "null", _TAG + "bool", _TAG + "int", _TAG + "float"})


_Node: TypeAlias = Any
"""A node of PyYAML, which is not imported here: `id` is "scalar", "sequence" or "mapping"."""


class _Entry(NamedTuple):
    key: _Node
    value: _Node


def read_yaml(data: bytes, problems: Problems) -> Any:
    """The values of a file; `problems` is told what is wrong with it as YAML, and learns the place of each value.

    Anchors, aliases and merge keys (`<<`) are followed. Keys are the texts that are written. Of the tags only those of
    plain data are known, so nothing is ever constructed.

    Raises:
        ConfigurationError: It cannot be read to its end.
    """
    import yaml  # noqa: PLC0415  (third-party: only files need it)

    text = _text(data, problems)
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        return None if node is None else _Reader(loader, problems).value(node, ())
    except yaml.reader.ReaderError as exc:
        before = text[: exc.position]
        place = Place(before.count("\n") + 1, exc.position - before.rfind("\n"))
        problems.stop(f"the character {chr(exc.character)!r} is not allowed in YAML", place)
    except yaml.MarkedYAMLError as exc:
        said = ", ".join(filter(None, (exc.context, exc.problem)))
        problems.stop(f"this is not YAML: {said}", _place(exc.problem_mark or exc.context_mark))
    except RecursionError:
        problems.stop("this is nested too deeply")


def _text(data: bytes, problems: Problems) -> str:
    if len(data) > MAX_BYTES:
        problems.stop(f"the file has more than the {MAX_BYTES:,} bytes that are read")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        start = data.rfind(b"\n", 0, exc.start) + 1
        place = Place(data.count(b"\n", 0, exc.start) + 1, exc.start - start + 1)
        problems.stop(f"the byte {data[exc.start]:#04x} is not UTF-8; save the file as UTF-8", place)


def _place(mark: Any) -> Place | None:
    return None if mark is None else Place(mark.line + 1, mark.column + 1)


class _Reader:
    """Walks the nodes, for PyYAML's own constructor forgets where they stand, and lets the last of two keys win."""

    def __init__(self, loader: Any, problems: Problems) -> None:
        self._loader = loader
        self._problems = problems
        self._left = _MAX_VALUES
        self._around: set[int] = set()

    def value(self, node: _Node, path: Path) -> Any:
        self._problems.note(path, _place(node.start_mark))
        self._spend(node)
        if len(path) > _MOST_DEEP:
            self._problems.stop("this is nested too deeply", _place(node.start_mark))
        if node.id == "scalar":
            return self._scalar(node)
        if node.tag not in (_TAG + "map", _TAG + "seq"):
            self._refuse(node, f"the tag {node.tag!r} is not known; leave it out")
            return None
        with self._inside(node):
            if node.id == "sequence":
                return [self.value(item, (*path, i)) for i, item in enumerate(node.value)]
            values = {}
            for name, (key, value) in self._entries(node).items():
                self._problems.note((*path, name), _place(key.start_mark), key=True)
                values[name] = self.value(value, (*path, name))
            return values

    def _scalar(self, node: _Node) -> Any:
        if node.tag in _PLAIN:
            try:
                return self._loader.construct_object(node)
            except (ValueError, LookupError, AttributeError, TypeError):  # `!!int x`, or a number of 5,000 digits
                self._refuse(node, f"this is no {node.tag.removeprefix(_TAG)}")
        elif node.tag not in _AS_WRITTEN:
            self._refuse(node, f"the tag {node.tag!r} is not known; leave it out")
        elif self._is_text(node):
            return node.value
        return None

    def _is_text(self, node: _Node) -> bool:
        halves = any("\ud800" <= sign <= "\udfff" for sign in node.value)
        if halves:
            self._refuse(node, "half of a character (`\\ud800` to `\\udfff`) is no text")
        return not halves

    def _entries(self, node: _Node) -> dict[str, _Entry]:
        own: dict[str, _Entry] = {}
        merged: dict[str, _Entry] = {}
        for key, value in node.value:
            self._spend(key)
            if key.tag == _MERGE:
                merged |= self._merged(value)
            elif key.id != "scalar":
                self._refuse(key, "keys are plain names")
            elif key.value in own:
                first = own[key.value].key.start_mark.line + 1
                self._refuse(key, f"`{key.value}` stands here twice, the first time on line {first}; keep one of them")
            elif self._is_text(key):
                own[key.value] = _Entry(key, value)
        return {**merged, **own}

    def _merged(self, node: _Node) -> dict[str, _Entry]:
        merged: dict[str, _Entry] = {}
        with self._inside(node):
            for source in reversed(node.value if node.id == "sequence" else [node]):  # the first one wins
                if source.id != "mapping":
                    self._refuse(source, "`<<` takes a mapping, or a list of them: `<<: *defaults`")
                elif source is node:
                    merged |= self._entries(source)
                else:
                    with self._inside(source):
                        merged |= self._entries(source)
        return merged

    @contextlib.contextmanager
    def _inside(self, node: _Node) -> Iterator[None]:
        if id(node) in self._around:
            self._problems.stop("this alias stands inside of what it stands for", _place(node.start_mark))
        self._around.add(id(node))
        yield
        self._around.remove(id(node))

    def _spend(self, node: _Node) -> None:
        self._left -= 1
        if self._left < 0:
            self._problems.stop(f"the file stands for more than {_MAX_VALUES:,} values", _place(node.start_mark))

    def _refuse(self, node: _Node, problem: str) -> None:
        self._problems.add_at(_place(node.start_mark), problem)
