"""What changed a file: its commits, and the commit of each of its lines."""

from __future__ import annotations

import datetime as dt
import difflib
import heapq
import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dulwich.objects import Commit, ObjectID
from dulwich.repo import Repo

from llmops_sdk.prompts.git.objects import Entry, TreeReader, checked, content

__all__ = ["Blamed", "Change", "Walk", "change_of"]


class Change(NamedTuple):
    """A commit that changed a file."""

    commit: str
    when: dt.datetime
    who: str
    subject: str


class Blamed(NamedTuple):
    """A line, and the commit that brought it."""

    text: str
    change: Change


def change_of(commit: Commit) -> Change:
    """What is told of a commit."""
    zone = dt.timezone(dt.timedelta(seconds=commit.commit_timezone))
    return Change(
        commit=commit.id.decode(),
        when=dt.datetime.fromtimestamp(commit.commit_time, zone),
        who=commit.author.decode("utf-8", "replace"),
        subject=commit.message.decode("utf-8", "replace").strip().partition("\n")[0],
    )


class Walk:
    """A walk through history, newest first, for one path. A renamed file begins anew: its name is what it is.

    Args:
        repo: The repository.
        path: The file.
        beside: Other files whose changes count as its own, where it is there.
    """

    def __init__(self, repo: Repo, path: str, beside: Sequence[str] = ()) -> None:
        self._repo = repo
        self._path = path
        self._trees = TreeReader(repo, path)
        self._beside = [TreeReader(repo, one) for one in beside]
        self._shallow = repo.get_shallow()

    def changes(self, start: str, limit: int) -> list[tuple[Change, bytes]]:
        """The newest `limit` commits that changed a file of these, and the file itself after each.

        Merges are taken as in `git log -- path beside`.
        """
        changed = (
            (change_of(commit), content(self._repo, entry, self._path))
            for commit, entry in self._changing(ObjectID(start.encode()))
            if entry is not None
        )
        return list(itertools.islice(changed, limit))

    def _changing(self, start: ObjectID) -> Iterator[tuple[Commit, Entry | None]]:
        seen = {start}
        waiting = _Newest(self._commit(start))
        while (commit := waiting.pop()) is not None:
            entry, state = self._trees.entry(commit), self._state(commit)
            parents = self._parents(commit)
            same = next((one for one in parents if self._state(one) == state), None)
            if same is not None:
                parents = [same]  # all came from there; the other parents' versions did not survive the merge
            elif parents or entry is not None:
                yield commit, entry
            for parent in parents:
                if parent.id not in seen:
                    seen.add(parent.id)
                    waiting.push(parent)

    def _state(self, commit: Commit) -> list[Entry | None]:
        """What the commit holds of the file and of those beside it."""
        own = self._trees.entry(commit)
        return [own] if own is None else [own, *(trees.entry(commit) for trees in self._beside)]

    def blame(self, start: str) -> list[Blamed]:
        """Each line of the file at `start`, with the commit that brought it; as `git blame` finds it.

        The walk ends at the commit that brought the oldest line.
        """
        first = self._commit(ObjectID(start.encode()))
        text = self._lines(first)
        found: list[Change | None] = [None] * len(text)
        # Lines that are not settled: number in the file at `start` -> number in the file at that commit.
        open_lines: dict[ObjectID, dict[int, int]] = {first.id: {number: number for number in range(len(text))}}
        waiting = _Newest(first)
        while (commit := waiting.pop()) is not None:
            lines = open_lines.pop(commit.id, {})
            for parent, theirs in self._passed_on(commit, lines):
                open_lines.setdefault(parent.id, {}).update(theirs)
                waiting.push(parent)
            if lines:
                change = change_of(commit)
                for number in lines:
                    found[number] = change
        return [Blamed(line, change) for line, change in zip(text, found, strict=True) if change is not None]

    def _passed_on(self, commit: Commit, lines: dict[int, int]) -> Iterator[tuple[Commit, dict[int, int]]]:
        """Parents, and which of the lines they have already; those are taken out of `lines`."""
        if not lines:
            return
        entry = self._trees.entry(commit)
        parents = [one for one in self._parents(commit) if self._trees.entry(one) is not None]
        for parent in parents:
            if self._trees.entry(parent) == entry:
                yield parent, dict(lines)
                lines.clear()
                return
        ours = self._lines(commit) if parents else []
        for parent in parents:
            if lines:
                known = _same_lines(ours, self._lines(parent))
                theirs = {number: known[here] for number, here in lines.items() if here in known}
                for number in theirs:
                    del lines[number]
                if theirs:
                    yield parent, theirs

    def _lines(self, commit: Commit) -> list[str]:
        entry = self._trees.entry(commit)
        data = b"" if entry is None else content(self._repo, entry, self._path)
        lines = data.decode("utf-8-sig", "replace").replace("\r\n", "\n").replace("\r", "\n").split("\n")
        return lines if lines[-1] else lines[:-1]

    def _parents(self, commit: Commit) -> list[Commit]:
        return [] if commit.id in self._shallow else [self._commit(one) for one in commit.parents]

    def _commit(self, one: ObjectID) -> Commit:
        return checked(self._repo, one, Commit)


class _Newest:
    """Commits that wait, given newest first."""

    def __init__(self, first: Commit) -> None:
        self._heap: list[tuple[int, ObjectID, Commit]] = []
        self.push(first)

    def push(self, commit: Commit) -> None:
        heapq.heappush(self._heap, (-commit.commit_time, commit.id, commit))

    def pop(self) -> Commit | None:
        return heapq.heappop(self._heap)[2] if self._heap else None


def _same_lines(ours: list[str], theirs: list[str]) -> dict[int, int]:
    """Number of a line here -> its number there, for lines that are the same in both."""
    begin = 0
    while begin < min(len(ours), len(theirs)) and ours[begin] == theirs[begin]:
        begin += 1
    end = 0
    while end < min(len(ours), len(theirs)) - begin and ours[-1 - end] == theirs[-1 - end]:
        end += 1
    same = {number: number for number in range(begin)}
    same |= {len(ours) - 1 - back: len(theirs) - 1 - back for back in range(end)}
    matcher = difflib.SequenceMatcher(None, ours[begin : len(ours) - end], theirs[begin : len(theirs) - end])
    for here, there, size in matcher.get_matching_blocks():
        same |= {begin + here + step: begin + there + step for step in range(size)}
    return same
