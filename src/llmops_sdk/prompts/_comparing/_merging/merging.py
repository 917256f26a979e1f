"""The three-way merge of a prompt file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeVar

from llmops_sdk.errors import PromptError
from llmops_sdk.prompts._comparing._merging.body import sections_in
from llmops_sdk.prompts._comparing._merging.matter import matter_node
from llmops_sdk.prompts._comparing._merging.nodes import Node, split_lines
from llmops_sdk.prompts._comparing._merging.results import MergeConflict, MergeResult
from llmops_sdk.prompts._comparing._merging.trees import TreeMerge
from llmops_sdk.prompts._comparing.aligning import aligned
from llmops_sdk.prompts._comparing.wording import section_labels
from llmops_sdk.prompts._files import Reader, decode_prompt, front_matter_end, parse_prompt
from llmops_sdk.prompts._prompt import Prompt
from llmops_sdk.prompts._sections import Section

__all__ = ["Side", "merge_texts"]

_T = TypeVar("_T")
_MARK = "\ufeff"


class Side(NamedTuple):
    """A version that is merged.

    Attributes:
        called: What it is called, for conflicts.
        data: Its file.
        read: Reads what the file includes.
    """

    called: str
    data: bytes
    read: Reader


def merge_texts(base: Side | None, ours: Side, theirs: Side, *, name: str) -> MergeResult:
    """The merge of two versions of the prompt `name`.

    Args:
        base: What both come from; `None` where both sides added the prompt.
        ours: The side that is merged into.
        theirs: The side that is merged.
        name: Name of the prompt.

    Raises:
        PromptError: A version is broken.
    """
    versions = [None if one is None else _Version(one, name) for one in (base, ours, theirs)]
    before, mine, its = versions
    assert mine is not None
    assert its is not None
    text, conflicts = _merged(before, mine, its, (ours.called, base.called if base else "nothing", theirs.called))
    conflicts += tuple(_left_behind(before, mine, its))
    if not conflicts:
        conflicts = _wrong_together(text, mine, its, name, ours.read)
    return MergeResult(name=name, text=text, conflicts=conflicts, ours=ours.called, theirs=theirs.called)


class _Version:
    """A version of a file: its lines, its sections, and how it is written down."""

    def __init__(self, side: Side, name: str) -> None:
        self.beside: dict[str, bytes | None] = {}
        self.called, self.read = side.called, side.read
        where = f"{name} of {side.called}"
        self.prompt = parse_prompt(side.data, name=name, where=where, read=self._noting)
        raw = side.data.decode("utf-8")
        self.raw = raw
        self.marked = raw.startswith(_MARK)
        self.newline = "\r\n" if raw.count("\r\n") * 2 > raw.count("\n") else "\n"
        text = decode_prompt(side.data, name=name, where=where)
        self.ended = text.endswith("\n")
        lines = split_lines(text if self.ended else text + "\n")
        end = front_matter_end(lines)
        self.matter = None if end is None else matter_node(lines[: end + 1])
        self.nodes, self.tail = sections_in(lines[0 if end is None else end + 1 :])
        self.sections = self.prompt.sections

    def _noting(self, path: str) -> bytes | None:
        """Reads a file that the prompt includes, and notes it."""
        return self.beside.setdefault(path, self.read(path))

    def body(self, keys: Mapping[int, str]) -> Node:
        """The body; `keys` says which section of another version each of its sections is."""
        labels = section_labels(self.sections)
        parts = tuple(
            node._replace(key=keys[number], label=label)
            for number, (node, label) in enumerate(zip(self.nodes, labels, strict=True))
        )
        return Node("sections", "", parts=parts, tail=self.tail, style="body")


def _merged(
    base: _Version | None, ours: _Version, theirs: _Version, names: tuple[str, str, str]
) -> tuple[str, tuple[MergeConflict, ...]]:
    if ours.raw == theirs.raw or (base is not None and theirs.raw == base.raw):
        return ours.raw, ()
    if base is not None and ours.raw == base.raw:
        return theirs.raw, ()
    trees = TreeMerge(*names)
    before = None if base is None else base.matter
    matter = trees.merge(before, ours.matter, theirs.matter, "")
    body = trees.merge(*_bodies(base, ours, theirs), "sections")
    text = (matter.text or "") + (body.text or "")
    said = [(one.marked, one.newline, one.ended) for one in (base or ours, ours, theirs)]
    marked, newline, ended = (_chosen(*values) for values in zip(*said, strict=True))
    text = text if ended else text.removesuffix("\n")
    return (_MARK if marked else "") + text.replace("\n", newline), matter.conflicts + body.conflicts


def _chosen(base: _T, ours: _T, theirs: _T) -> _T:
    """What one of two values became, where at most one of them changed or both did the same."""
    return theirs if ours == base else ours


def _bodies(base: _Version | None, ours: _Version, theirs: _Version) -> tuple[Node | None, Node, Node]:
    """The bodies, with the same key for what is the same section."""
    start = () if base is None else base.sections
    came = [{new: old for old, new in aligned(start, side.sections).items()} for side in (ours, theirs)]
    added = [
        [number for number in range(len(side.sections)) if number not in pairs]
        for side, pairs in zip((ours, theirs), came, strict=True)
    ]
    keys = [{number: f"={old}" for number, old in pairs.items()} for pairs in came]
    keys[0] |= {number: f"<{number}" for number in added[0]}
    keys[1] |= {number: f">{number}" for number in added[1]}
    twins = aligned(
        *([side.sections[number] for number in new] for side, new in zip((ours, theirs), added, strict=True))
    )
    for one, other in twins.items():
        mine, its = added[0][one], added[1][other]
        if base is None or _is_twin(ours.sections[mine], theirs.sections[its]):
            keys[0][mine] = keys[1][its] = f"+{one}"
    before = None if base is None else base.body({number: f"={number}" for number in range(len(start))})
    return before, ours.body(keys[0]), theirs.body(keys[1])


def _is_twin(one: Section, other: Section) -> bool:
    """Whether both sides added the same section, perhaps with another text."""
    return one.text == other.text or (one.name == other.name and one.name is not None)


def _left_behind(base: _Version | None, ours: _Version, theirs: _Version) -> Iterator[MergeConflict]:
    """Files that their prompt includes and that their side changed: one file is merged, and not what it includes."""
    for path, its in theirs.beside.items():
        before, mine = None if base is None else base.read(path), ours.read(path)
        if its not in (before, mine):
            reason = f"{theirs.called} changed this file, which a merge of the prompt leaves as it is: merge it by git"
            yield MergeConflict(f"files.{path}", reason, *map(_decoded, (before, mine, its)))


def _decoded(data: bytes | None) -> str | None:
    return None if data is None else data.decode("utf-8", "replace")


def _wrong_together(text: str, ours: _Version, theirs: _Version, name: str, read: Reader) -> tuple[MergeConflict, ...]:
    """What is wrong with a text in which no place is in conflict: one side may have deleted what the other uses."""
    try:
        merged = parse_prompt(text.encode(), name=name, where=f"{name} merged", read=read)
    except PromptError as exc:
        return (MergeConflict("file", f"the changes do not go together: {exc}"),)
    return tuple(_misplaced(merged, ours.prompt, theirs.prompt))


def _misplaced(merged: Prompt, ours: Prompt, theirs: Prompt) -> list[MergeConflict]:
    """Sections that somebody else says now: a `[+]` whose beginning the other side deleted or moved."""
    known = {(one.kind, one.text, one.role) for prompt in (ours, theirs) for one in prompt.sections}
    texts = {one[:2] for one in known}
    return [
        MergeConflict("sections", f"`[+]` would continue a message of `{one.role}`, which it did not", None, one.text)
        for one in merged.sections
        if (one.kind, one.text) in texts and (one.kind, one.text, one.role) not in known
    ]
