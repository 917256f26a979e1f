"""The prompts of an application, kept in its own git repository."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path

from llmops_sdk.errors import ConfigurationError, PromptError
from llmops_sdk.prompts._comparing import MergeResult, PromptDiff, diff
from llmops_sdk.prompts._files import Reader, decode_prompt, parse_prompt
from llmops_sdk.prompts._prompt import Prompt
from llmops_sdk.prompts._repository import (
    WORKTREE,
    Branches,
    LabelMove,
    Labels,
    PromptLine,
    PromptVersion,
    Version,
    VersionedFiles,
    listed,
    name_and_version,
)
from llmops_sdk.prompts._stand_in import source_in_force, source_is_in_force
from llmops_sdk.prompts._variables import did_you_mean
from llmops_sdk.prompts.git import GitRepository

__all__ = ["LabelMove", "PromptLine", "PromptRepository", "PromptVersion", "repository_here"]

_MOST_CACHED = 1_000


class PromptRepository:
    """Reads prompts from a git repository, at any version.

    A version is looked for as `"worktree"` (the file as it lies there; the default), `"HEAD"`, a label, a tag, a
    branch (of a remote, too: `"origin/main"`), and a commit id of at least 7 digits, in this order. Commits never
    change, so what was read from one is kept: `get("name@<40 digits>")` touches no file the second time, while a label,
    tag or branch is looked up anew each time, so that a moved label counts at once.

    Where there is no git repository (a container without `.git`), only the files themselves can be read.

    Attributes:
        root: Top folder of the repository.
        folder: Folder of the prompts, relative to `root`.
    """

    def __init__(self, path: str | Path = ".", /, *, folder: str = "prompts") -> None:
        """Find the repository of `path`, which may be any folder inside it.

        Args:
            path: Where to begin to look, upwards.
            folder: Folder of the prompts, relative to the top of the repository.
        """
        start = Path(path).resolve()
        git = GitRepository.find(start)
        self.folder = folder.strip("/")
        self.root = _folder_above(start, self.folder) if git is None else git.root
        self._committed: dict[tuple[str, str, str], Prompt] = {}
        self._files = VersionedFiles(git, self.root, self.folder)

    def get(self, spec: str, /) -> Prompt:
        """The prompt `"folder/name"` or `"folder/name@version"`.

        Raises:
            PromptError: There is no such prompt or version, or its file is broken.
        """
        return source_in_force(spec, self) or self._read(spec)

    def _read(self, spec: str) -> Prompt:
        name, version = name_and_version(spec)
        if version == WORKTREE:
            lying = self._files.tree(name).get(name)
            if lying is None:
                raise self._files.no_prompt(name, None)
            return lying
        commit = self._files.commit(version, name)
        cached = self._committed.get((name, version, commit))
        if cached is not None:
            return cached
        found = self._files.at_commit(name, version, commit)
        prompt = parse_prompt(found.data, name=name, where=found.where, version=version, commit=commit, read=found.read)
        if len(self._committed) >= _MOST_CACHED:
            self._committed.clear()
        self._committed[name, version, commit] = prompt
        return prompt

    async def aget(self, spec: str, /) -> Prompt:
        """`get` for the event loop.

        A prompt of a full commit id that was read before comes at once; anything else is read in a thread, since a
        disk may take its time (a network file system, a container that has just started).

        Raises:
            PromptError: As `get` does.
        """
        if not source_is_in_force():
            name, version = name_and_version(spec)
            git = self._files.git
            if git is not None and (commit := git.known(version)):
                cached = self._committed.get((name, version, commit))
                if cached is not None:
                    return cached
        return await asyncio.to_thread(self.get, spec)

    def source(self, spec: str, /) -> tuple[str, Reader]:
        """The text of the file behind `get(spec)`, and what reads the files beside it at the same version.

        A path for the reader is relative to the folder of the prompts (`"shared/tone.md"`); it gives `None` where
        there is no such file, and for a path that leads out of the folder.

        Raises:
            PromptError: There is no such prompt or version, or its file is no text.
        """
        name, version = name_and_version(spec)
        found = self._files.find(name, version)
        return decode_prompt(found.data, name=name, where=found.where), found.read

    def names(self, version: str | None = None, /) -> tuple[str, ...]:
        """Names of all prompts at a version; without one, of those in the working tree."""
        return self._files.names(version)

    def log(self, name: str, /, *, version: str = "HEAD", limit: int = 20) -> tuple[PromptVersion, ...]:
        """The newest `limit` commits that changed a prompt's file or a file that it includes, newest first.

        A prompt is its name: what was there under another name before a rename is not followed. The files that it
        includes are those that it includes at `version`.

        Args:
            name: `"folder/name"`.
            version: Where to begin.
            limit: Most commits to return, 1 or more.

        Raises:
            PromptError: No commit up to there holds such a prompt.
            ConfigurationError: `limit` is below 1.
        """
        _check_limit(limit)
        git = self._files.need_git(version)
        commit = self._files.commit(version, name)
        changes = git.history(commit, self._files.path(name), limit, beside=self._files.included(name, commit))
        if not changes:
            raise self._files.no_prompt(name, version)
        return tuple(
            PromptVersion(one.commit, one.when, one.who, one.subject, self._files.hash_of(name, one.commit, data))
            for one, data in changes
        )

    def blame(self, name: str, /, *, version: str = "HEAD") -> tuple[PromptLine, ...]:
        """Each line of a prompt's file, with the commit that brought it, as `git blame` finds it.

        It walks back to the commit that brought the oldest line; a rename ends it, as it does for `log`.

        Args:
            name: `"folder/name"`.
            version: The version whose lines are asked for.

        Raises:
            PromptError: There is no such prompt or version.
        """
        git = self._files.need_git(version)
        commit = self._files.commit(version, name)
        if git.read(commit, self._files.path(name)) is None:
            raise self._files.no_prompt(name, version)
        return tuple(
            PromptLine(number, text, *change)
            for number, (text, change) in enumerate(git.blame(commit, self._files.path(name)), 1)
        )

    def diff(self, name: str, old: str, new: str = WORKTREE, /, *, waive: Collection[str] = ()) -> PromptDiff:
        """What changed between two versions of a prompt, and whether that breaks the code around it.

        Args:
            name: `"folder/name"`.
            old: The version that is in use.
            new: The version that shall be; `"worktree"` is the file as it lies there.
            waive: Codes of changes that are accepted.

        Raises:
            PromptError: There is no such prompt or version, or its file is broken.
            ConfigurationError: There is no such code.
        """
        return diff(self._read(f"{name}@{old}"), self._read(f"{name}@{new}"), waive=waive)

    def merge(
        self,
        name: str,
        ours: str,
        theirs: str,
        /,
        *,
        base: str | None = None,
        into: str | None = None,
        message: str | None = None,
        who: str | None = None,
    ) -> MergeResult:
        """Merge two versions of a prompt by its sections and by the keys of its front matter.

        Args:
            name: `"folder/name"`.
            ours: The version that is merged into.
            theirs: The version whose changes are brought in.
            base: What both come from; what git calls their merge base by default.
            into: A branch to which a merge without conflicts is committed. It has to hold our version of the prompt,
                and to be checked out nowhere. The commit has their commit as a parent, too, if their branch changed
                nothing but this prompt.
            message: The message of the commit.
            who: Who makes it, `"Ada Lovelace <ada@example.org>"`; the user of git's configuration by default.

        Raises:
            PromptError: A version is missing or broken, there is no base, or the branch cannot be moved.
        """
        branches = self._need_branches()
        mine, its = self._version(name, ours), self._version(name, theirs)
        result = branches.merge(name, mine, its, None if base is None else self._version(name, base))
        if into is None or not result.clean:
            return result
        return branches.commit_merge(name, result, mine, its, branch=into, message=message, who=who)

    def commit(
        self, name: str, text: str, /, *, branch: str, message: str, who: str | None = None, start: str | None = None
    ) -> str:
        """Commit the text of a prompt's file to a branch; gives the commit. Working tree and index stay as they are.

        The branch moves only if it is where it was when this began. A text that the branch holds already makes no
        commit; the answer is the branch's own then.

        Args:
            name: `"folder/name"`.
            text: The whole file.
            branch: A branch that is checked out nowhere.
            message: Why.
            who: Who makes it, `"Ada Lovelace <ada@example.org>"`; the user of git's configuration by default.
            start: The version at which the branch begins where there is none of this name; without it that is refused.

        Raises:
            PromptError: The text is no prompt, the branch is not there or checked out, or somebody else moved it.
        """
        name_and_version(name)
        begin = None if start is None else self._files.commit(start, name)
        data = text.encode()
        return self._need_branches().commit(name, data, branch=branch, message=message, who=who, begin=begin)

    def labels(self) -> dict[str, str]:
        """The commit of each label."""
        return self._need_labels().at()

    def label(
        self,
        label: str,
        version: str,
        /,
        *,
        who: str | None = None,
        why: str | None = None,
        expected: str | None = None,
    ) -> LabelMove:
        """Move a label to a version, or create it.

        The move is one atomic step: it happens only if the label still points where it did before, so of two
        processes that move it at once one is told that it lost. Each move leaves an entry in the audit, see `moves`;
        a process that is killed meanwhile leaves a label that is where it was or where it should go, and an entry
        that says so.

        Args:
            label: Its name, `"prod"`.
            version: Where it shall point: a label, tag, branch, `"HEAD"` or commit id.
            who: Who moves it; the user of git's configuration by default.
            why: The reason, for the audit.
            expected: The version that the label is believed to point at; what it points at now by default. Give
                what you decided upon, so that nothing is overwritten that you have not seen.

        Raises:
            PromptError: There is no such version, the name is none for a label, or somebody else moved the label.
        """
        labels = self._need_labels()
        labels.check(label)
        new = self._files.commit(version)
        old = labels.commit(label) if expected is None else self._files.commit(expected)
        return labels.move(label, new, old=old, version=version, who=who, why=why)

    def rollback(
        self, label: str, /, *, who: str | None = None, why: str | None = None, expected: str | None = None
    ) -> LabelMove:
        """Move a label back to what it pointed at before it was moved last; the answer says where that is.

        A rollback undoes the last move that is not undone yet: the second one goes back by one move more. To undo a
        rollback, `label` it where it was, the answer's `old`.

        Args:
            label: Its name.
            who: Who does it; the user of git's configuration by default.
            why: The reason, for the audit.
            expected: The version that the label is believed to point at; what it points at now by default.

        Raises:
            PromptError: There is no such label, it was nowhere before, or somebody else moved it meanwhile.
        """
        labels = self._need_labels()
        now = labels.commit(label) if expected is None else self._files.commit(expected)
        if now is None:
            known = list(labels.at())
            raise PromptError(f"there is no label {label!r}: there are {listed(known)}.{did_you_mean(label, known)}")
        return labels.rollback(label, now=now, who=who, why=why)

    def moves(self, label: str | None = None, /, *, limit: int = 20) -> tuple[LabelMove, ...]:
        """The audit: the newest `limit` moves of a label, or of all labels, newest first.

        Raises:
            ConfigurationError: `limit` is below 1.
        """
        _check_limit(limit)
        return self._need_labels().moves(label, limit)

    def _version(self, name: str, version: str) -> Version:
        name_and_version(name)
        if version == WORKTREE:
            return Version(version, None, self._files.tree(name).read)
        commit = self._files.commit(version, name)
        return Version(version, commit, self._files.reader(commit))

    def _need_labels(self) -> Labels:
        return Labels(self._files.need_git("labels"))

    def _need_branches(self) -> Branches:
        return Branches(self._files.need_git("HEAD"), self._files.path, self._files.reader)

    def __repr__(self) -> str:
        return f"<PromptRepository {str(self.root)!r} folder {self.folder!r}>"


def _check_limit(limit: int) -> None:
    if limit < 1:
        raise ConfigurationError(f"`limit` is 1 or more, not {limit}: nothing would be read")


def _folder_above(start: Path, folder: str) -> Path:
    """The nearest folder, from `start` upwards, that holds the folder of prompts; `start` where none does."""
    return next((one for one in (start, *start.parents) if (one / folder).is_dir()), start)


_opened: dict[Path, PromptRepository] = {}


def repository_here() -> PromptRepository:
    """The repository of the current folder, for `Prompt.load`; each is opened once."""
    here = Path.cwd()
    found = _opened.get(here)
    if found is None:
        found = PromptRepository(here)
        found = _opened[here] = _opened.setdefault(found.root, found)
    return found
