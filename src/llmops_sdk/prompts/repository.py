"""The prompts of an application, kept in its own git repository."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection
from pathlib import Path

from llmops_sdk.errors import PromptError
from llmops_sdk.prompts._branches import Branches, Version
from llmops_sdk.prompts._comparing import MergeResult, PromptDiff, diff
from llmops_sdk.prompts._files import SUFFIX, Reader, decode_prompt, parse_prompt
from llmops_sdk.prompts._labels import AUDIT, LABELS, LabelMove, Labels
from llmops_sdk.prompts._prompt import Prompt
from llmops_sdk.prompts._source import source_in_force
from llmops_sdk.prompts._variables import did_you_mean
from llmops_sdk.prompts._versions import PromptLine, PromptVersion, listed
from llmops_sdk.prompts._worktree import WorkingTree, is_inside
from llmops_sdk.prompts.git import GitRepository

__all__ = ["LabelMove", "PromptLine", "PromptRepository", "PromptVersion", "repository_here"]

_WORKTREE = "worktree"
_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)*")
_MOST_CACHED = 1_000
_FETCH = f"run `git fetch --atomic origin '{AUDIT}*:{AUDIT}*' '+{LABELS}*:{LABELS}*'`"
"""The audit without `+`: git then refuses one that would lose entries of this clone."""


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
        self._git = GitRepository.find(start)
        self.folder = folder.strip("/")
        self.root = _folder_above(start, self.folder) if self._git is None else self._git.root
        self._committed: dict[tuple[str, str, str], Prompt] = {}
        self._labels = None if self._git is None else Labels(self._git)
        self._worktree = WorkingTree(
            self.root / self.folder, self._inside(""), None if self._git is None else _WORKTREE
        )

    def get(self, spec: str, /) -> Prompt:
        """The prompt `"folder/name"` or `"folder/name@version"`.

        Raises:
            PromptError: There is no such prompt or version, or its file is broken.
        """
        found = source_in_force(spec, self)
        if found is not None:
            return found
        name, version = _parts(spec)
        if version == _WORKTREE:
            return self._from_worktree(name)
        commit = self._resolve(version, name)
        cached = self._committed.get((name, version, commit))
        if cached is not None:
            return cached
        data, where, read = self._at_commit(name, version, commit)
        prompt = parse_prompt(data, name=name, where=where, version=version, commit=commit, read=read)
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
        found = source_in_force(spec, self)
        if found is not None:
            return found
        name, version = _parts(spec)
        if self._git is not None and (commit := self._git.known(version)):
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
        name, version = _parts(spec)
        if version == _WORKTREE:
            tree = self._tree(name)
            lying = tree.read(name + SUFFIX)
            if lying is None:
                raise self._no_prompt(name, None)
            return decode_prompt(lying, name=name, where=self._path(name)), tree.read
        data, where, read = self._at_commit(name, version, self._resolve(version, name))
        return decode_prompt(data, name=name, where=where), read

    def names(self, version: str | None = None, /) -> tuple[str, ...]:
        """Names of all prompts at a version; without one, of those in the working tree."""
        if version is None or version == _WORKTREE:
            return self._worktree.names()
        paths = self._need_git(version).files(self._resolve(version), self.folder, SUFFIX)
        return tuple(path.removesuffix(SUFFIX) for path in paths)

    def log(self, name: str, /, *, version: str = "HEAD", limit: int = 20) -> tuple[PromptVersion, ...]:
        """The newest `limit` commits that changed a prompt's file, newest first.

        A prompt is its name: what was there under another name before a rename is not followed. What it includes has
        a history of its own.

        Args:
            name: `"folder/name"`.
            version: Where to begin.
            limit: Most commits to return.

        Raises:
            PromptError: No commit up to there holds such a prompt.
        """
        git = self._need_git(version)
        commit = self._resolve(version, name)
        changes = git.history(commit, self._path(name), limit)
        if not changes:
            raise self._no_prompt(name, version)
        return tuple(
            PromptVersion(one.commit, one.when, one.who, one.subject, self._hash_of(name, one.commit, data))
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
        git = self._need_git(version)
        commit = self._resolve(version, name)
        if git.read(commit, self._path(name)) is None:
            raise self._no_prompt(name, version)
        return tuple(
            PromptLine(number, text, *change)
            for number, (text, change) in enumerate(git.blame(commit, self._path(name)), 1)
        )

    def diff(self, name: str, old: str, new: str = _WORKTREE, /, *, waive: Collection[str] = ()) -> PromptDiff:
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
        return diff(self.get(f"{name}@{old}"), self.get(f"{name}@{new}"), waive=waive)

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

    def commit(self, name: str, text: str, /, *, branch: str, message: str, who: str | None = None) -> str:
        """Commit the text of a prompt's file to a branch; gives the commit. Working tree and index stay as they are.

        The branch moves only if it is where it was when this began. A text that the branch holds already makes no
        commit; the answer is the branch's own then.

        Args:
            name: `"folder/name"`.
            text: The whole file.
            branch: A branch that is checked out nowhere.
            message: Why.
            who: Who makes it, `"Ada Lovelace <ada@example.org>"`; the user of git's configuration by default.

        Raises:
            PromptError: The text is no prompt, the branch is not there or checked out, or somebody else moved it.
        """
        _parts(name)
        return self._need_branches().commit(name, text.encode(), branch=branch, message=message, who=who)

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
        new = self._resolve(version)
        old = labels.commit(label) if expected is None else self._resolve(expected)
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
        now = labels.commit(label) if expected is None else self._resolve(expected)
        if now is None:
            known = list(labels.at())
            raise PromptError(f"there is no label {label!r}: there are {listed(known)}.{did_you_mean(label, known)}")
        target = labels.before(label, now)
        if target is None:
            raise PromptError(
                f"the label {label!r} cannot be rolled back: its audit says of nothing that it pointed at before "
                f"{now[:12]}. Move it with `label`, or bring its audit here: {_FETCH}"
            )
        commit, version = target
        return labels.move(label, commit, old=now, version=version, who=who, why=why, rollback=True)

    def moves(self, label: str | None = None, /, *, limit: int = 20) -> tuple[LabelMove, ...]:
        """The audit: the newest `limit` moves of a label, or of all labels, newest first."""
        return self._need_labels().moves(label, limit)

    def _path(self, name: str) -> str:
        return self._inside(name + SUFFIX)

    def _need_git(self, version: str) -> GitRepository:
        if self._git is None:
            raise PromptError(
                f"{self.root} is not in a git repository, so there is no version {version!r}: leave the version out to "
                "read the file itself, or bring `.git` along"
            )
        return self._git

    def _need_labels(self) -> Labels:
        if self._labels is None:
            self._need_git("labels")
        assert self._labels is not None
        return self._labels

    def _need_branches(self) -> Branches:
        return Branches(self._need_git("HEAD"), self._path, self._reader)

    def _version(self, name: str, version: str) -> Version:
        _parts(name)
        if version == _WORKTREE:
            return Version(version, None, self._tree(name).read)
        commit = self._resolve(version, name)
        return Version(version, commit, self._reader(commit))

    def _resolve(self, version: str, name: str | None = None) -> str:
        git = self._need_git(version)
        commit = git.resolve(version) if version != _WORKTREE else None
        if commit is not None:
            return commit
        known = git.versions()
        problem = f"{git.root} has no version {version!r}: it has {listed(known)}.{did_you_mean(version, known)}"
        if version == _WORKTREE:
            problem = "the working tree is no version that a label can point at: commit it first"
        elif version == "HEAD":
            problem = f"{git.root} has no commit yet"
        elif set("~^:@") & set(version):
            problem += f" For what git works out: `git rev-parse {version}` says the commit."
        elif not git.refs(LABELS):
            problem += (
                f" There is no label yet: `llmops prompt label {version} HEAD` makes one. Labels do not come with a "
                f"clone: {_FETCH}."
            )
        raise PromptError(problem + git.missing_hint(), prompt=name)

    def _at_commit(self, name: str, version: str, commit: str) -> tuple[bytes, str, Reader]:
        """The file of a prompt at a commit, its path for errors, and what reads its siblings."""
        git, path = self._need_git(version), self._path(name)
        data = git.read(commit, path)
        if data is None:
            raise self._no_prompt(name, version)
        return data, f"{path}@{commit[:12]}", self._reader(commit)

    def _reader(self, commit: str) -> Reader:
        git = self._need_git(commit)

        def read(sibling: str) -> bytes | None:
            return git.read(commit, self._inside(sibling)) if is_inside(sibling) else None

        return read

    def _from_worktree(self, name: str) -> Prompt:
        prompt = self._tree(name).get(name)
        if prompt is None:
            raise self._no_prompt(name, None)
        return prompt

    def _tree(self, name: str) -> WorkingTree:
        if self._git is not None and self._git.bare:
            raise PromptError(f"{self.root} is bare, it has no working tree: write `{name}@branch`", prompt=name)
        return self._worktree

    def _inside(self, path: str) -> str:
        return f"{self.folder}/{path}" if self.folder else path

    def _no_prompt(self, name: str, version: str | None) -> PromptError:
        known = self.names(version)
        place = f"at {version!r}" if version else "in the working tree"
        return PromptError(
            f"there is no {self._path(name)} {place} of {self.root}; there are {listed(known)}."
            + did_you_mean(name, known),
            prompt=name,
        )

    def _hash_of(self, name: str, commit: str, data: bytes) -> str | None:
        try:
            where = f"{self._path(name)}@{commit[:12]}"
            return parse_prompt(data, name=name, where=where, read=self._reader(commit)).hash
        except PromptError:
            return None

    def __repr__(self) -> str:
        return f"<PromptRepository {str(self.root)!r} folder {self.folder!r}>"


def _parts(spec: str) -> tuple[str, str]:
    """Name and version in `"name@version"`; without a version, that of the working tree."""
    name, at, version = spec.partition("@")
    if not _NAME.fullmatch(name) or (at and not version):
        raise PromptError(f"{spec!r} names no prompt: write `folder/name` or `folder/name@version`", prompt=name)
    return name, version or _WORKTREE


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
