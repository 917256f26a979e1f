"""Objects of a repository, checked: what a commit holds at a path."""

from __future__ import annotations

import stat
from typing import NamedTuple, TypeVar

from dulwich.objects import Blob, Commit, ObjectID, ShaFile, Tree
from dulwich.repo import Repo

from llmops_sdk.errors import PromptError

__all__ = ["Entry", "TreeReader", "checked", "content"]

_Kind = TypeVar("_Kind", bound=ShaFile)


class Entry(NamedTuple):
    """What stands at a path."""

    mode: int
    id: ObjectID

    @property
    def is_folder(self) -> bool:
        """Whether it is a tree."""
        return stat.S_ISDIR(self.mode)


def checked(repo: Repo, one: ObjectID, kind: type[_Kind], what: str = "") -> _Kind:
    """The object, if its bytes have the id that they should have; dulwich itself believes what it reads.

    Raises:
        PromptError: It is of another kind.
        ChecksumMismatch: Its bytes are others.
    """
    number, raw = repo.object_store.get_raw(one)
    found = ShaFile.from_raw_string(number, raw, object_format=repo.object_format, verify_sha=one)
    if not isinstance(found, kind):
        word = what or one.decode()
        raise PromptError(f"{word} is a {found.type_name.decode()}, not a {kind.type_name.decode()}")
    return found


def content(repo: Repo, entry: Entry, path: str) -> bytes:
    """The bytes of a file."""
    if stat.S_ISLNK(entry.mode):
        raise PromptError(f"{path} is a symbolic link; prompts are read from plain files")
    if entry.mode == _SUBMODULE:
        raise PromptError(f"{path} is a submodule, a repository of its own: open that one")
    return checked(repo, entry.id, Blob, path).data


_SUBMODULE = 0o160000


class TreeReader:
    """Finds what stands at one path in many commits: a tree that did not change is read once."""

    def __init__(self, repo: Repo, path: str) -> None:
        self._repo = repo
        self._path = path
        self._steps = [step for step in path.encode().split(b"/") if step]
        self._known: dict[tuple[int, ObjectID], Entry | None] = {}

    def entry(self, commit: Commit) -> Entry | None:
        """What `commit` holds at the path; `None` where it holds nothing."""
        found: Entry | None = Entry(stat.S_IFDIR, commit.tree)
        for depth, step in enumerate(self._steps):
            if found is None or not found.is_folder:
                if found is not None and found.mode == _SUBMODULE:
                    raise PromptError(f"{self._path} lies in a submodule, a repository of its own: open that one")
                return None
            key = (depth, found.id)
            if key not in self._known:
                tree = checked(self._repo, found.id, Tree, self._path)
                self._known[key] = Entry(*tree[step]) if step in tree else None
            found = self._known[key]
        return found
