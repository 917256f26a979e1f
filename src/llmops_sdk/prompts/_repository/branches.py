"""Versions of a prompt merged, and prompts committed to branches, in a git repository."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from llmops_sdk.errors import PromptError
from llmops_sdk.prompts._comparing import MergeResult, Side, merge_texts
from llmops_sdk.prompts._files import SUFFIX, Reader, parse_prompt
from llmops_sdk.prompts._repository.authors import is_author

if TYPE_CHECKING:
    from llmops_sdk.prompts.git import GitRepository

__all__ = ["Branches", "Version"]

_HEADS = "refs/heads/"
_MOST_BASES = 8


class Version(NamedTuple):
    """A version of a prompt: what it is called, its commit, and what reads the files at it."""

    called: str
    commit: str | None
    read: Reader

    def side(self, name: str) -> Side | None:
        """It as a side of a merge; `None` where it does not hold the prompt."""
        data = self.read(name + SUFFIX)
        return None if data is None else Side(self.called, data, self.read)

    def needed_side(self, name: str) -> Side:
        """`side`, where the prompt has to be there.

        Raises:
            PromptError: It is not.
        """
        side = self.side(name)
        if side is None:
            raise PromptError(
                f"{self.called} does not hold the prompt {name!r}, so there is nothing to merge; if it was deleted "
                "there on purpose, delete it in the other branch, too",
                prompt=name,
            )
        return side


class Branches:
    """Merges and commits in one repository.

    Args:
        git: The repository.
        path: Path of a prompt's file by the prompt's name.
        reader: What reads the files beside prompts at a commit.
    """

    def __init__(self, git: GitRepository, path: Callable[[str], str], reader: Callable[[str], Reader]) -> None:
        self._git = git
        self._path = path
        self._reader = reader

    def merge(self, name: str, ours: Version, theirs: Version, base: Version | None) -> MergeResult:
        """The merge of two versions; without a base, of what both come from.

        Raises:
            PromptError: One does not hold the prompt, or there is no base that could be found.
        """
        mine, its = ours.needed_side(name), theirs.needed_side(name)
        start = base.side(name) if base is not None else self._base(name, ours, theirs)
        return merge_texts(start, mine, its, name=name)

    def _base(self, name: str, ours: Version, theirs: Version) -> Side | None:
        if ours.commit is None or theirs.commit is None:
            raise PromptError("the working tree comes from no commit: say what both sides come from, `base=`")
        bases = self._git.merge_bases(ours.commit, theirs.commit)
        if not bases:
            hint = self._git.missing_hint()
            raise PromptError(f"{ours.called} and {theirs.called} have no commit in common: give `base=`{hint}")
        return self._one_base(name, bases, 0)

    def _one_base(self, name: str, bases: list[str], depth: int) -> Side | None:
        """The base; where branches were merged crosswise there are several, and their merge is the base."""
        found = self._version(bases[0]).side(name)
        for number, other in enumerate(bases[1:_MOST_BASES], 1):
            side = self._version(other).side(name)
            if (side and side.data) == (found and found.data):
                continue
            above = self._git.merge_bases(bases[0], other)
            if found is None or side is None or not above or depth + number > _MOST_BASES:
                raise self._no_one_base(name, bases)
            merged = merge_texts(self._one_base(name, above, depth + number), found, side, name=name)
            if not merged.clean:
                raise self._no_one_base(name, bases)
            found = found._replace(data=merged.text.encode())
        return found

    def _version(self, commit: str) -> Version:
        return Version(commit[:12], commit, self._reader(commit))

    def _no_one_base(self, name: str, bases: list[str]) -> PromptError:
        shown = ", ".join(one[:12] for one in bases)
        return PromptError(
            f"the branches were merged crosswise, and what they come from ({shown}) is itself in conflict about "
            f"{name!r}: choose one of these as `base=`",
            prompt=name,
        )

    def commit_merge(
        self,
        name: str,
        result: MergeResult,
        ours: Version,
        theirs: Version,
        *,
        branch: str,
        message: str | None,
        who: str | None,
    ) -> MergeResult:
        """Commit a clean merge.

        Raises:
            PromptError: The branch holds another version than ours, or cannot be moved.
        """
        tip = self._tip(branch)
        if self._reader(tip)(name + SUFFIX) != ours.read(name + SUFFIX):
            raise PromptError(
                f"{branch!r} holds another version of {name!r} than {ours.called}, which was merged into: merge "
                f"into {branch!r} itself",
                prompt=name,
            )
        parents = [tip]
        if theirs.commit is not None and self._brings_only(name, tip, theirs.commit):
            parents.append(theirs.commit)
        words = message or f"Merge prompt {name} of {theirs.called}"
        data = result.text.encode()
        return replace(
            result, commit=self.commit(name, data, branch=branch, message=words, who=who, tip=tip, parents=parents)
        )

    def _brings_only(self, name: str, tip: str, theirs: str) -> bool:
        """Whether a branch changed nothing but the prompt, so that a merge of it is a merge of the branch."""
        bases = self._git.merge_bases(tip, theirs)
        return theirs not in bases and len(bases) == 1 and self._git.only_changed(bases[0], theirs, self._path(name))

    def commit(
        self,
        name: str,
        data: bytes,
        *,
        branch: str,
        message: str,
        who: str | None,
        tip: str | None = None,
        parents: list[str] | None = None,
        begin: str | None = None,
    ) -> str:
        """Commit a prompt's file to a branch; gives the commit.

        Args:
            name: Name of the prompt.
            data: The file.
            branch: Name of the branch.
            message: Why.
            who: Who makes it; the user of git's configuration by default.
            tip: Where the branch is, where that was looked up.
            parents: Parents of the commit; where the branch is by default.
            begin: The commit at which the branch begins where it is not there.

        Raises:
            PromptError: The file is broken, the branch is not there or checked out, or somebody else moved it.
        """
        git = self._git
        git.check_refs_can_be_written()
        is_new = begin is not None and git.allows(_HEADS + branch) and git.ref(_HEADS + branch) is None
        start = begin if begin is not None and is_new else tip or self._tip(branch)
        parse_prompt(data, name=name, where=self._path(name), read=self._reader(start))
        author = who or git.identity()
        if not is_author(author):
            raise PromptError(f"{author!r} names nobody as git does: write `Ada Lovelace <ada@example.org>`")
        if not message.strip():
            raise PromptError("a commit says why: give it a `message`")
        if self._reader(start)(name + SUFFIX) == data:
            return start
        tree = git.write_file(start, self._path(name), data)
        when = dt.datetime.now(dt.UTC)
        text = message.strip() + "\n"
        made = git.write_commit(start, parents or [start], who=author, when=when, message=text, tree=tree)
        ref = _HEADS + branch
        with git.locks.hold(ref):
            self._refuse_checked_out(branch)
            now = git.ref(ref)
            if now != (None if is_new else start):
                at = now[:12] if now else "gone"
                raise PromptError(
                    f"the branch {branch!r} was not moved: it was at {start[:12]} and is {at}, since somebody else "
                    "moved it; look at it and decide again"
                )
            git.locks.write({ref: made})
        return made

    def _tip(self, branch: str) -> str:
        tip = self._git.ref(_HEADS + branch) if self._git.allows(_HEADS + branch) else None
        if tip is None:
            known = ", ".join(self._git.refs(_HEADS)) or "none"
            raise PromptError(f"there is no branch {branch!r} to commit to; there are {known}")
        self._refuse_checked_out(branch)
        return tip

    def _refuse_checked_out(self, branch: str) -> None:
        """A branch that moves under a working tree makes git believe that its files were changed back."""
        place = self._git.checked_out(branch)
        if place is not None:
            raise PromptError(
                f"the branch {branch!r} is checked out in {place}: write the file there and commit it, or commit to a "
                "branch that is not checked out"
            )
