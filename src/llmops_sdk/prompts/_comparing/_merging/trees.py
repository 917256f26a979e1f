"""The three-way merge of trees of texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from llmops_sdk.prompts._comparing._merging.lines import merged_lines
from llmops_sdk.prompts._comparing._merging.nodes import Node, split_lines, text_of
from llmops_sdk.prompts._comparing._merging.results import MergeConflict
from llmops_sdk.prompts._conflicts import conflict_text

__all__ = ["Merged", "TreeMerge"]


class Merged(NamedTuple):
    """A merged stretch; `text` is `None` where it is gone."""

    text: str | None
    conflicts: tuple[MergeConflict, ...] = ()


class TreeMerge:
    """A merge of two versions of a file, called by the names of the sides.

    A stretch that only one side changed is as that side has it, whatever it is. Where both changed it, its parts are
    merged, or its lines.
    """

    def __init__(self, ours: str, base: str, theirs: str) -> None:
        self._names = (ours, base, theirs)

    def merge(self, base: Node | None, ours: Node | None, theirs: Node | None, where: str) -> Merged:
        """The merge of three versions of one stretch; `None`: it is not there."""
        mine, its, before = text_of(ours), text_of(theirs), text_of(base)
        if alone := _unopposed(before, mine, its):
            return alone
        if ours is None or theirs is None:
            return self._conflict(where, "one side deleted what the other changed", base, ours, theirs)
        lead = self._lead(base.lead if base else "", ours.lead, theirs.lead, where)
        bare = None if base is None else base._replace(lead="")
        rest = self._own(bare, ours._replace(lead=""), theirs._replace(lead=""), where)
        return Merged((lead.text or "") + (rest.text or ""), lead.conflicts + rest.conflicts)

    def _lead(self, base: str, ours: str, theirs: str, where: str) -> Merged:
        if not (base + ours + theirs).strip():  # blank lines only: the side that changed them, or the more of them
            return _unopposed(base, ours, theirs) or Merged(max(ours, theirs, key=len))
        return self._text(base, ours, theirs, where)

    def _own(self, base: Node | None, ours: Node, theirs: Node, where: str) -> Merged:
        if alone := _unopposed(text_of(base), ours.text, theirs.text):
            return alone
        if _alike(base, ours, theirs):
            return self._parts(base or _emptied(ours), ours, theirs, where)
        return self._text(text_of(base) or "", ours.text, theirs.text, where)

    def _text(self, base: str, ours: str, theirs: str, where: str) -> Merged:
        """The merge by lines."""
        texts: list[str] = []
        conflicts: list[MergeConflict] = []
        for lines, conflict in merged_lines(*(split_lines(one) for one in (base, ours, theirs))):
            if conflict is None:
                texts += lines
            else:
                before, mine, its = ("".join(part) for part in conflict)
                conflicts.append(
                    MergeConflict(where, "both sides changed it", before or None, mine or None, its or None)
                )
                texts.append(conflict_text(before, mine, its, self._names))
        return Merged("".join(texts), tuple(conflicts))

    def _conflict(self, where: str, reason: str, base: Node | None, ours: Node | None, theirs: Node | None) -> Merged:
        before, mine, its = (text_of(one) for one in (base, ours, theirs))
        text = conflict_text(before or "", mine or "", its or "", self._names)
        return Merged(text, (MergeConflict(where, reason, before, mine, its),))

    def _parts(self, base: Node, ours: Node, theirs: Node, where: str) -> Merged:
        head = self._text(base.head, ours.head, theirs.head, where)
        tail = self._text(base.tail, ours.tail, theirs.tail, where)
        versions = tuple({part.key: part for part in one.parts or ()} for one in (base, ours, theirs))
        merged: dict[str, Merged] = {}
        for key in dict.fromkeys(key for version in versions for key in version):
            before, mine, its = (version.get(key) for version in versions)
            labels = [one.label or key for one in (before, mine, its) if one is not None]
            label = labels[0] if before is not None else min(labels)  # the same whichever side is ours
            inside = where if key in ("text", "heading") else f"{where}.{label}".removeprefix(".")
            done = self.merge(before, mine, its, inside)
            if done.text is not None:
                merged[key] = done
        inner = tuple(conflict for done in merged.values() for conflict in done.conflicts)
        if ours.style == "inline":
            conflicts = head.conflicts + inner + tail.conflicts
            if conflicts:  # no line is in conflict alone: all of it stands between markers
                whole = self._conflict(where, "", base, ours, theirs)
                return Merged(whole.text, conflicts)
        texts = {key: done.text or "" for key, done in merged.items()}
        between, disorder, within = self._placed(versions, texts, where, fixed=ours.style == "body")
        inner = tuple(one for key, done in merged.items() if key not in within for one in done.conflicts)
        text = (head.text or "") + ours.joint.join(between) + (tail.text or "")
        return Merged(text, head.conflicts + inner + disorder + tail.conflicts)

    def _placed(
        self, versions: Sequence[Mapping[str, Node]], texts: Mapping[str, str], where: str, *, fixed: bool
    ) -> tuple[list[str], tuple[MergeConflict, ...], set[str]]:
        """The merged parts in their order, the conflicts about it, and the keys that stand within those."""
        conflicts: list[MergeConflict] = []
        shared = [[key for key in one if key in texts and all(key in each for each in versions)] for one in versions]
        before, mine, its = shared
        if fixed and mine != its and before not in (mine, its):
            orders = (" ".join(_labels(version, keys)) for version, keys in zip(versions, shared, strict=True))
            conflicts.append(MergeConflict(where, "both sides changed the order", *orders))
        order = list(its if mine == before else mine if its in (before, mine) else before)
        at = 0
        for key in versions[0]:  # what one side deleted and the other changed stands where it stood
            if key in texts and key not in order:
                order.insert(at, key)
            at = order.index(key) + 1 if key in order else at
        runs = [_runs(one, order, texts) for one in versions[1:]]
        placed: list[str] = []
        seen: set[str] = set()
        within: set[str] = set()
        for anchor in (None, *order):
            placed += [] if anchor is None else [texts[anchor]]
            our_run, their_run = ([key for key in run.get(anchor, ()) if key not in seen] for run in runs)
            one_run = _one_run(our_run, their_run, fixed=fixed)
            if one_run is None:  # what both sides added is then as each side has it: a conflict holds no conflicts
                within.update(key for key in (*our_run, *their_run) if all(key in side for side in versions[1:]))
            mine_text, its_text = (
                [side[key].text if key in within else texts[key] for key in run]
                for side, run in zip(versions[1:], (our_run, their_run), strict=True)
            )
            seen |= {*our_run, *their_run} - within
            if one_run is not None:
                pieces = dict(zip([*their_run, *our_run], [*its_text, *mine_text], strict=True))
                placed += [pieces[key] for key in one_run]
                continue
            reason = "both sides added something here, and its order means something"
            sides = ("".join(mine_text), "".join(its_text))
            conflicts.append(MergeConflict(where, reason, None, *sides))
            placed.append(conflict_text("", *sides, self._names))
        return placed, tuple(conflicts), within


def _unopposed(base: str | None, ours: str | None, theirs: str | None) -> Merged | None:
    """What became of a text that one side alone changed, or both alike; `None` where each made something else of it."""
    if theirs in (ours, base):
        return Merged(ours)
    return Merged(theirs) if ours == base else None


def _alike(base: Node | None, ours: Node, theirs: Node) -> bool:
    """Whether the parts of the three are of one kind, so that they can stand together."""
    nodes = [one for one in (base, ours, theirs) if one is not None]
    first = _form(ours)
    return all(one.parts is not None and _form(one) == first for one in nodes)


def _form(node: Node) -> tuple[str, str, int]:
    """How the parts stand: their indentation counts, since lines of a block have to have the same."""
    first = node.parts[0].own if node.parts else ""
    return node.style, node.joint, len(first) - len(first.lstrip(" ")) if node.style == "block" else 0


def _emptied(node: Node) -> Node:
    return node._replace(head="", parts=(), tail="")


def _labels(version: Mapping[str, Node], keys: Iterable[str]) -> list[str]:
    return [version[key].label or key for key in keys]


def _runs(version: Mapping[str, Node], order: Sequence[str], texts: Mapping[str, str]) -> dict[str | None, list[str]]:
    """The keys that a side added, by the key of the common order that they stand after."""
    runs: dict[str | None, list[str]] = {}
    anchor = None
    common = set(order)
    for key in version:
        if key in common:
            anchor = key
        elif key in texts:
            runs.setdefault(anchor, []).append(key)
    return runs


def _one_run(ours: Sequence[str], theirs: Sequence[str], *, fixed: bool) -> list[str] | None:
    """What both sides added at one place, as one; `None` where its order is not known."""
    if [key for key in ours if key in theirs] == list(theirs):
        return list(ours)
    if [key for key in theirs if key in ours] == list(ours):
        return list(theirs)
    return None if fixed else sorted({*ours, *theirs})
