"""The folder of prompts at each of its versions: as it lies there, and as commits hold it."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from llmops_sdk.errors import PromptError
from llmops_sdk.prompts._files import SUFFIX, Reader, is_inside, parse_prompt
from llmops_sdk.prompts._repository.labels import FETCH, LABELS
from llmops_sdk.prompts._repository.versions import listed
from llmops_sdk.prompts._repository.worktree import WorkingTree
from llmops_sdk.prompts._variables import did_you_mean

if TYPE_CHECKING:
    from llmops_sdk.prompts.git import GitRepository

__all__ = ["WORKTREE", "Found", "VersionedFiles", "name_and_version"]

WORKTREE = "worktree"

_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)*")


class Found(NamedTuple):
    """The file of a prompt at a version."""

    data: bytes
    where: str
    """Its path, for errors."""
    commit: str | None
    """`None`: it lies in the working tree."""
    read: Reader
    """Reads the files beside it, at the same version."""


class VersionedFiles:
    """The files of one repository.

    Args:
        git: The repository; `None`: there is none, and so no version but the files as they lie there.
        root: Its top folder.
        folder: Folder of the prompts, relative to it.
    """

    def __init__(self, git: GitRepository | None, root: Path, folder: str) -> None:
        self.git = git
        self._root = root
        self._folder = folder
        self._worktree = WorkingTree(root / folder, self._inside(""), None if git is None else WORKTREE)

    def path(self, name: str) -> str:
        """Path of a prompt's file in the repository."""
        return self._inside(name + SUFFIX)

    def _inside(self, path: str) -> str:
        return f"{self._folder}/{path}" if self._folder else path

    def need_git(self, version: str) -> GitRepository:
        """The repository.

        Raises:
            PromptError: There is none, and so no `version`.
        """
        if self.git is None:
            raise PromptError(
                f"{self._root} is not in a git repository, so there is no version {version!r}: leave the version out "
                "to read the file itself, or bring `.git` along"
            )
        return self.git

    def tree(self, name: str) -> WorkingTree:
        """The working tree.

        Raises:
            PromptError: The repository is bare.
        """
        if self.git is not None and self.git.bare:
            raise PromptError(f"{self._root} is bare, it has no working tree: write `{name}@branch`", prompt=name)
        return self._worktree

    def commit(self, version: str, name: str | None = None) -> str:
        """The commit of a version.

        Raises:
            PromptError: There is no such version.
        """
        git = self.need_git(version)
        commit = git.resolve(version) if version != WORKTREE else None
        if commit is not None:
            return commit
        known = git.versions()
        problem = f"{git.root} has no version {version!r}: it has {listed(known)}.{did_you_mean(version, known)}"
        if version == WORKTREE:
            problem = "the working tree is no version that a label can point at: commit it first"
        elif version == "HEAD":
            problem = f"{git.root} has no commit yet"
        elif set("~^:@") & set(version):
            problem += f" For what git works out: `git rev-parse {version}` says the commit."
        elif not git.refs(LABELS):
            problem += (
                f" There is no label yet: `llmops prompt label {version} HEAD` makes one. Labels do not come with a "
                f"clone: {FETCH}."
            )
        raise PromptError(problem + git.missing_hint(), prompt=name)

    def find(self, name: str, version: str) -> Found:
        """The file of a prompt.

        Raises:
            PromptError: There is no such prompt or version.
        """
        if version != WORKTREE:
            return self.at_commit(name, version, self.commit(version, name))
        tree = self.tree(name)
        data = tree.read(name + SUFFIX)
        if data is None:
            raise self.no_prompt(name, None)
        return Found(data, self.path(name), None, tree.read)

    def at_commit(self, name: str, version: str, commit: str) -> Found:
        """The file of a prompt at the commit that `version` stands for.

        Raises:
            PromptError: It is not there.
        """
        path = self.path(name)
        data = self.need_git(version).read(commit, path)
        if data is None:
            raise self.no_prompt(name, version)
        return Found(data, f"{path}@{commit[:12]}", commit, self.reader(commit))

    def reader(self, commit: str) -> Reader:
        """What reads files of the folder as a commit holds them."""
        git = self.need_git(commit)

        def read(path: str) -> bytes | None:
            return git.read(commit, self._inside(path)) if is_inside(path) else None

        return read

    def included(self, name: str, commit: str) -> tuple[str, ...]:
        """Paths in the repository of what a prompt includes, as far as its file can be read at the commit."""
        asked: dict[str, None] = {}
        read = self.reader(commit)

        def noting(path: str) -> bytes | None:
            asked[path] = None
            return read(path)

        data = read(name + SUFFIX)
        if data is not None:
            with contextlib.suppress(PromptError):
                parse_prompt(data, name=name, where=self.path(name), read=noting)
        return tuple(self._inside(path) for path in asked if is_inside(path))

    def hash_of(self, name: str, commit: str, data: bytes) -> str | None:
        """The hash of the prompt whose file is `data` at a commit; `None` where it is broken there."""
        where = f"{self.path(name)}@{commit[:12]}"
        try:
            return parse_prompt(data, name=name, where=where, read=self.reader(commit)).hash
        except PromptError:
            return None

    def names(self, version: str | None) -> tuple[str, ...]:
        """Names of all prompts at a version; `None`: in the working tree."""
        if version is None or version == WORKTREE:
            return self._worktree.names()
        paths = self.need_git(version).files(self.commit(version), self._folder, SUFFIX)
        return tuple(path.removesuffix(SUFFIX) for path in paths)

    def no_prompt(self, name: str, version: str | None) -> PromptError:
        """The error that there is no such prompt, with the names that there are."""
        known = self.names(version)
        place = f"at {version!r}" if version else "in the working tree"
        return PromptError(
            f"there is no {self.path(name)} {place} of {self._root}; there are {listed(known)}."
            + did_you_mean(name, known),
            prompt=name,
        )


def name_and_version(spec: str) -> tuple[str, str]:
    """Name and version in `"name@version"`; without a version, that of the working tree.

    Raises:
        PromptError: It names no prompt.
    """
    name, at, version = spec.partition("@")
    if not _NAME.fullmatch(name) or (at and not version):
        raise PromptError(f"{spec!r} names no prompt: write `folder/name` or `folder/name@version`", prompt=name)
    return name, version or WORKTREE
