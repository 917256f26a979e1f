"""Labels: names for commits that move, `prod`, each with an audit that cannot be lost and travels with them.

Two refs for each label. `refs/llmops/labels/prod` points at the commit itself, so that `git rev-parse` gives it.
`refs/llmops/audit/prod` points at the newest entry of the audit, a commit whose first parent is the entry before it;
its message says who moved the label, when, why, from where and to where, and its tree is that of the commit which the
label was moved to (`git log -p --first-parent refs/llmops/audit/prod` shows what each move changed). An entry has both
commits as parents, too: `git gc` keeps what a label once pointed at, and whoever fetches the audit gets them.

A move, in this order:

1. The locks of both refs are taken, by git's own protocol (`git/locking.py`).
2. The label is read. If it is not where its mover believes it to be, the mover is told, and nothing is written.
3. The entry is written as an object, and synced to the disk.
4. The new values of both refs are written to files beside them, and synced.
5. The audit moves to the entry, by a rename.
6. The label moves, by a rename.
7. The locks are released.

So what may fail:

- Killed before 5 (`kill -9`, power): nothing has moved. An object without a ref may be left, `git gc` clears it up.
- Killed between 5 and 6: the audit has an entry for a move that did not happen. It needs no mark to be known: an entry
  was carried out if the label was seen at its target afterwards, by the next entry (its `from`) or, for the newest, by
  the label itself. `LabelMove.done` is `False` for the others. A move without an entry cannot be.
- Killed while the locks are held: they are links to a file whose kernel lock died with the process; the next mover of
  any label clears them away. Until then git itself cannot change these two refs (it says `Unable to create ...
  prod.lock: File exists`), all else goes on; readers take no locks and notice nothing.
- Two processes: the locks make one wait, at most two seconds. Then it finds the label moved, and is told.
- `git pack-refs`, `git gc`, a push or a fetch at the same time: they take the same locks.
- Moved by git, past the audit (`git update-ref`): the next entry's `from` is not the `to` of the one before it.
- Linked working trees share refs and locks. A bare repository is no different.
- reftable: refused before anything is written, since dulwich changes such tables without a lock.
- Read-only or full disk: an error; 4 comes before 5, so the disk is found full while nothing has moved yet.

Between clones: git refuses a push or a fetch of the audit that is no fast-forward, so that with `--atomic` of two who
move the same label in two clones one wins as well, and the other is told by its `git push`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import json
import re
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, NamedTuple

from llmops_sdk.errors import PromptError
from llmops_sdk.prompts._repository.authors import as_author

if TYPE_CHECKING:
    from llmops_sdk.prompts.git import GitRepository

__all__ = ["FETCH", "LABELS", "LabelMove", "Labels"]

LABELS = "refs/llmops/labels/"
AUDIT = "refs/llmops/audit/"
FETCH = f"run `git fetch --atomic origin '{AUDIT}*:{AUDIT}*' '+{LABELS}*:{LABELS}*'`"
"""The audit without `+`: git then refuses one that would lose entries of this clone."""

_LABEL = re.compile(r"[A-Za-z0-9][\w./-]{0,199}", re.ASCII)


class LabelMove(NamedTuple):
    """A label was moved: an entry of the audit."""

    label: str
    old: str | None
    """Where it was; `None`: it is new."""
    new: str
    version: str
    """What `new` was called when the label was moved to it."""
    when: dt.datetime
    who: str
    why: str | None
    rollback: bool = False
    """Whether it went back to where the label had been."""
    done: bool = True
    """`False`: its process died before the label moved, or is still at it."""
    entry: str = ""
    """Id of the commit that holds this entry."""


class Labels:
    """The labels of one repository."""

    def __init__(self, git: GitRepository) -> None:
        self._git = git

    def at(self) -> dict[str, str]:
        """The commit of each label."""
        return self._git.refs(LABELS)

    def commit(self, label: str) -> str | None:
        """The commit of a label; `None` where there is no such label."""
        return self._git.ref(LABELS + label) if self._git.allows(LABELS + label) else None

    def check(self, label: str) -> None:
        """Refuse what cannot be a label.

        Raises:
            PromptError: The name is none for a label, or it cannot stand beside another one.
        """
        reserved = label in ("HEAD", "worktree") or re.fullmatch(r"[0-9a-f]{7,64}", label)
        if reserved or not _LABEL.fullmatch(label) or not self._git.allows(LABELS + label):
            raise PromptError(
                f"{label!r} cannot be a label: write 1 to 200 letters, digits, `-`, `_`, `.` or `/`, such as "
                "`prod`; not HEAD, not worktree, and nothing that looks like a commit id"
            )
        for other in sorted({*self._git.refs(LABELS), *self._git.refs(AUDIT)}):
            if other.startswith(label + "/") or label.startswith(other + "/"):
                raise PromptError(
                    f"{label!r} cannot be a label beside {other!r}: to git one is a file and the other a folder"
                )

    def move(
        self,
        label: str,
        new: str,
        *,
        old: str | None,
        version: str,
        who: str | None,
        why: str | None,
        rollback: bool = False,
    ) -> LabelMove:
        """Move a label from `old` to `new`, and write it down. See the module for what may happen meanwhile.

        Raises:
            PromptError: It is not at `old`, or it cannot be written.
        """
        self._git.check_refs_can_be_written()
        name, audit = LABELS + label, AUDIT + label
        when = dt.datetime.now(dt.UTC)
        move = LabelMove(label, old, new, version, when, who or self._git.identity(), why, rollback)
        with self._git.locks.hold(name, audit):
            now = self._git.ref(name)
            if now != old:
                raise PromptError(self._lost(move, now))
            previous = self._git.ref(audit)
            parents = dict.fromkeys(one for one in (previous, new, old) if one is not None)
            entry = self._git.write_commit(
                new, list(parents), who=as_author(move.who), when=when, message=_message(move, previous)
            )
            self._git.locks.write({audit: entry, name: new})
        return move._replace(entry=entry)

    def moves(self, label: str | None, limit: int) -> tuple[LabelMove, ...]:
        """The newest `limit` entries of the audit of a label, or of all labels; newest first."""
        names = self._git.refs(AUDIT) if label is None else [label]
        found: list[LabelMove] = []
        for name in names:
            with contextlib.closing(self._chain(name)) as chain:
                found += itertools.islice(chain, limit)
        return tuple(sorted(found, key=lambda one: one.when, reverse=True)[:limit] if label is None else found)

    def rollback(self, label: str, *, now: str, who: str | None, why: str | None) -> LabelMove:
        """Move a label from `now` back to where it was before.

        Raises:
            PromptError: It is not at `now`, it was nowhere before, or it cannot be written.
        """
        target = self._before(label, now)
        if target is None:
            raise PromptError(
                f"the label {label!r} cannot be rolled back: its audit says of nothing that it pointed at before "
                f"{now[:12]}. Move it with `label`, or bring its audit here: {FETCH}"
            )
        commit, version = target
        return self.move(label, commit, old=now, version=version, who=who, why=why, rollback=True)

    def _before(self, label: str, now: str) -> tuple[str, str] | None:
        """Where a label was before it came to `now`, and what that was called then; `None`: it was nowhere.

        A rollback undoes a move, and the next one undoes the move before that: two rollbacks go back by two moves.
        """
        undone = 0
        target = None
        with contextlib.closing(self._chain(label)) as chain:
            for old, rollback in _steps(chain, now):
                if rollback:
                    undone += 1
                elif undone:
                    undone -= 1
                else:
                    target = old
                    break
        if target is None:
            return None
        with contextlib.closing(self._chain(label)) as chain:
            return target, next((one.version for one in chain if one.new == target), target[:12])

    def _chain(self, label: str) -> Generator[LabelMove, None, None]:
        """The audit of a label, newest first."""
        newest = self._git.ref(AUDIT + label) if self._git.allows(AUDIT + label) else None
        if newest is None:
            return
        seen = self.commit(label)  # after the audit: of a move in between, the entry is not yet read, and none is wrong
        with contextlib.closing(self._git.first_parents(newest)) as entries:
            for one, message in entries:
                move, more = _entry(one, message, label)
                yield move._replace(done=seen != move.old or move.old == move.new)
                seen = move.old
                if not more:
                    return

    def _lost(self, move: LabelMove, now: str | None) -> str:
        was, is_at = (one[:12] if one else "no commit" for one in (move.old, now))
        last = next(iter(self.moves(move.label, 1)), None)
        by = "somebody else" if last is None or last.new != now else f"{last.who} ({last.why or 'no reason given'})"
        return (
            f"the label {move.label!r} was not moved to {move.new[:12]}: it was expected at {was} and is at {is_at}, "
            f"since {by} moved it; look at it and decide again"
        )


def _steps(chain: Iterator[LabelMove], now: str) -> Iterator[tuple[str | None, bool]]:
    """Where a label, which is at `now`, was before each change, newest first; and whether that was a rollback."""
    at: str | None = now
    for move in chain:
        if move.done:
            if move.new != at:
                yield move.new, False  # git moved it away from there, past the audit
            if move.old != move.new:
                yield move.old, move.rollback
            at = move.old


def _message(move: LabelMove, previous: str | None) -> str:
    """What the entry says: a few words for people, and on its last line all of it as JSON."""
    was = "new" if move.old is None else move.old[:12]
    title = f"{move.label}: {was} -> {move.new[:12]} ({'rollback to ' if move.rollback else ''}{move.version})"
    said = {**move._asdict(), "when": move.when.isoformat(), "previous": previous}
    del said["done"], said["entry"]
    parts = [title, move.why, json.dumps(said, ensure_ascii=True)]
    return "\n\n".join(part for part in parts if part).replace("\0", " ") + "\n"  # git wants no NUL in a message


def _entry(one: str, message: str, label: str) -> tuple[LabelMove, bool]:
    """An entry, and whether there is one before it."""
    try:
        said = json.loads(message.rstrip("\n").rpartition("\n")[2])
        more = said.pop("previous") is not None
        return LabelMove(**{**said, "when": dt.datetime.fromisoformat(said["when"]), "entry": one}), more
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise PromptError(
            f"the commit {one} in the audit of the label {label!r} is none of its entries: point {AUDIT}{label} at the "
            "newest entry again, with `git update-ref`"
        ) from exc
