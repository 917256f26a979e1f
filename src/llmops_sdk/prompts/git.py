"""A git repository, read straight from its object store with dulwich: no checkout, no subprocess, no network.

Nothing stays open between calls, so that threads, forks and `git gc` in other processes cannot disturb a reader.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import heapq
import re
import stat
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from dulwich.errors import ChecksumMismatch, FileFormatException, NotGitRepository, NotTreeError
from dulwich.file import FileLocked
from dulwich.object_store import peel_sha
from dulwich.objects import ZERO_SHA, Blob, Commit, ObjectID, Tree
from dulwich.pack import PackFileDisappeared, UnresolvedDeltas
from dulwich.refs import DiskRefsContainer, Ref, RefsContainer, check_ref_format
from dulwich.repo import Repo, UnsupportedExtension, UnsupportedVersion, get_user_identity

from llmops_sdk.errors import PromptError

__all__ = ["Change", "GitRepository"]

_HEX = re.compile(r"[0-9a-f]{7,64}")
_PLACES = ("refs/llmops/labels/", "refs/tags/", "refs/heads/", "refs/remotes/")
"""Where a version is looked for, in this order."""

_MOST_FILES = 10_000

_DAMAGE = (
    ChecksumMismatch,
    FileFormatException,
    KeyError,
    NotTreeError,
    OSError,
    PackFileDisappeared,
    UnresolvedDeltas,
    UnsupportedExtension,
    UnsupportedVersion,
    ValueError,
    zlib.error,
)
"""What reading a repository raises that is damaged or too new; a `KeyError` is an object that is not there."""


class Change(NamedTuple):
    """A commit that changed a file."""

    commit: str
    when: dt.datetime
    who: str
    subject: str
    data: bytes
    """The file after it."""


class GitRepository:
    """One git repository.

    Attributes:
        root: Its top folder; for a bare repository the repository itself.
        bare: Whether it has no working tree.
        shared: The folder that all its working trees share (`.git`).
    """

    def __init__(self, repo: Repo) -> None:
        self.root = Path(repo.path)
        self.bare = bool(repo.bare)
        self.shared = Path(repo.commondir())
        self._control = repo.controldir()
        self._reftable = (self.shared / "reftable").is_dir()
        self._commits: dict[bytes, str] = {}

    @classmethod
    def find(cls, start: Path) -> GitRepository | None:
        """The repository of `start` or of a folder above it; `None` where there is none.

        Raises:
            PromptError: There is one that cannot be read.
        """
        try:
            with _readable(start), Repo.discover(start) as repo:
                return cls(repo)
        except NotGitRepository:
            return None

    @contextlib.contextmanager
    def _open(self) -> Iterator[Repo]:
        try:
            with _readable(self.root, self.shallow_hint), Repo(str(self.root)) as repo:
                yield repo
        except NotGitRepository as exc:
            raise PromptError(f"there is no git repository at {self.root} any more") from exc

    @contextlib.contextmanager
    def _refs(self) -> Iterator[RefsContainer]:
        if self._reftable:
            with self._open() as repo:
                yield repo.refs
        else:  # ten times cheaper than to open the repository, for a label that is looked up on each load
            with _readable(self.root, self.shallow_hint):
                yield DiskRefsContainer(str(self.shared), self._control)

    def shallow_hint(self) -> str:
        """What to say where something was not found and the clone is shallow."""
        if (self.shared / "shallow").exists():
            return "; this clone is shallow, older commits come with `git fetch --unshallow`"
        return ""

    def resolve(self, version: str) -> str | None:
        """The commit of a label, a tag, a branch, `HEAD` or a commit id; `None` where there is no such version.

        Raises:
            PromptError: A short commit id is ambiguous, or it is no commit that was named.
        """
        if re.fullmatch(r"[0-9a-f]{40}", version) and (known := self._commits.get(version.encode())):
            return known
        found = self._ref_value(version)
        if found is not None:
            return self._commit_of(found, version)
        if not _HEX.fullmatch(version):
            return None
        with self._open() as repo:
            store = repo.object_store
            ids = [one for one in store.iter_prefix(version.encode()) if store[one].type_name in (b"commit", b"tag")]
        if len(ids) > 1:
            shown = ", ".join(sorted(one.decode()[:12] for one in ids))
            raise PromptError(f"the commit id {version!r} is ambiguous: it begins {shown}; write more of its digits")
        return self._commit_of(ids[0], version) if ids else None

    def _ref_value(self, version: str) -> ObjectID | None:
        names = ["HEAD"] if version == "HEAD" else [place + version for place in _PLACES]
        with self._refs() as refs:
            for name in names:
                if name == "HEAD" or self.allows(name):
                    with contextlib.suppress(KeyError, IsADirectoryError, NotADirectoryError):
                        return refs[Ref(name.encode())]
        return None

    def _commit_of(self, found: ObjectID, version: str) -> str:
        known = self._commits.get(found)
        if known is not None:
            return known
        with self._open() as repo:
            peeled = peel_sha(repo.object_store, found)[1]
        if not isinstance(peeled, Commit):
            raise PromptError(f"{version!r} is a {peeled.type_name.decode()}, not a commit")
        if len(self._commits) > _MOST_FILES:
            self._commits.clear()
        commit = peeled.id.decode()
        self._commits[found] = self._commits[peeled.id] = commit
        return commit

    def read(self, commit: str, path: str) -> bytes | None:
        """The file `path` as `commit` holds it; `None` where it does not."""
        with self._open() as repo:
            entry = _entry(repo, repo.object_store[ObjectID(commit.encode())], path)
            return None if entry is None or stat.S_ISDIR(entry[0]) else _content(repo, entry, path)

    def files(self, commit: str, folder: str, suffix: str) -> list[str]:
        """Paths below `folder`, relative to it, that end in `suffix`; sorted, 10,000 at most."""
        with self._open() as repo:
            entry = _entry(repo, repo.object_store[ObjectID(commit.encode())], folder)
            if entry is None or not stat.S_ISDIR(entry[0]):
                return []
            found: list[str] = []
            waiting = [("", entry[1])]
            while waiting and len(found) < _MOST_FILES:
                prefix, tree_id = waiting.pop()
                tree = repo.object_store[tree_id]
                for name, mode, sha in tree.iteritems() if isinstance(tree, Tree) else ():
                    path = prefix + name.decode("utf-8", "replace")
                    if stat.S_ISDIR(mode):
                        waiting.append((path + "/", sha))
                    elif path.endswith(suffix):
                        found.append(path)
            return sorted(found)

    def history(self, commit: str, path: str, limit: int) -> list[Change]:
        """The newest `limit` commits, up to `commit`, that changed the file; as `git log -- path` simplifies merges."""
        changes: list[Change] = []
        with self._open() as repo:
            walk = _Walk(repo, path)
            for one, entry in walk.changes(ObjectID(commit.encode())):
                if entry is not None and len(changes) < limit:
                    changes.append(_change(one, _content(repo, entry, path)))
                if len(changes) == limit:
                    break
        return changes

    def refs(self, place: str) -> dict[str, str]:
        """What each ref below `place` (`"refs/tags/"`) points at, by its name without the place."""
        with self._refs() as refs:
            found = {}
            for name in sorted(refs.subkeys(Ref(place.encode()))):
                with contextlib.suppress(KeyError):
                    found[name.decode("utf-8", "replace")] = refs[Ref(place.encode() + name)].decode()
            return found

    def versions(self) -> list[str]:
        """Names that `resolve` knows: labels, tags and branches."""
        return [name for place in _PLACES for name in self.refs(place)]

    @staticmethod
    def allows(ref: str) -> bool:
        """Whether git allows `ref` as the name of a ref."""
        return check_ref_format(Ref(ref.encode()))

    def swap(self, ref: str, old: str | None, new: str) -> bool:
        """Point `ref` at `new` if it points at `old` now (`None`: if it does not exist); whether it did. Atomic.

        Raises:
            PromptError: Another process holds the lock of the ref, or the ref cannot be written.
        """
        before = ZERO_SHA if old is None else ObjectID(old.encode())
        try:
            with self._refs() as refs:
                return refs.set_if_equals(Ref(ref.encode()), before, ObjectID(new.encode()))
        except FileLocked as exc:
            raise PromptError(
                f"another process is moving {ref} right now; try again. If none is, a process died while it did: "
                f"delete {self.shared / ref}.lock"
            ) from exc

    def identity(self) -> str:
        """`Name <email>` of whoever works here, as git's configuration says."""
        with self._open() as repo:
            return get_user_identity(repo.get_config_stack()).decode("utf-8", "replace")


@contextlib.contextmanager
def _readable(root: Path, hint: Callable[[], str] = str) -> Iterator[None]:
    """Turn what dulwich raises about a damaged repository into a `PromptError`; `hint()` is added to its message."""
    try:
        yield
    except PromptError:
        raise
    except _DAMAGE as exc:
        raise PromptError(
            f"the git repository {root} cannot be used ({type(exc).__name__}: {exc}){hint()}; "
            "run `git fsck` to see what is damaged"
        ) from exc


def _entry(repo: Repo, commit: object, path: str) -> tuple[int, ObjectID] | None:
    """Mode and id of what stands at `path` in a commit."""
    if not isinstance(commit, Commit):
        raise PromptError(f"{commit!r} is not a commit")
    mode, sha = stat.S_IFDIR, commit.tree
    for step in filter(None, path.encode().split(b"/")):
        tree = repo.object_store[sha]
        if not isinstance(tree, Tree) or step not in tree:
            return None
        mode, sha = tree[step]
    return mode, sha


def _content(repo: Repo, entry: tuple[int, ObjectID], path: str) -> bytes:
    mode, sha = entry
    if stat.S_ISLNK(mode):
        raise PromptError(f"{path} is a symbolic link; prompts are read from plain files")
    blob = repo.object_store[sha]
    if not isinstance(blob, Blob):
        raise PromptError(f"{path} is a {blob.type_name.decode()}, not a file")
    return blob.data


def _change(commit: Commit, data: bytes) -> Change:
    zone = dt.timezone(dt.timedelta(seconds=commit.commit_timezone))
    return Change(
        commit=commit.id.decode(),
        when=dt.datetime.fromtimestamp(commit.commit_time, zone),
        who=commit.author.decode("utf-8", "replace"),
        subject=commit.message.decode("utf-8", "replace").strip().partition("\n")[0],
        data=data,
    )


class _Walk:
    """A walk through history, newest first, that stops at the commits which changed one file."""

    def __init__(self, repo: Repo, path: str) -> None:
        self._repo = repo
        self._path = path
        self._shallow = repo.get_shallow()
        self._entries: dict[ObjectID, tuple[int, ObjectID] | None] = {}

    def changes(self, start: ObjectID) -> Iterator[tuple[Commit, tuple[int, ObjectID] | None]]:
        seen = {start}
        first = self._commit(start)
        waiting = [(-first.commit_time, start, first)]
        while waiting:
            _, _, commit = heapq.heappop(waiting)
            entry = self._entry(commit)
            parents = [] if commit.id in self._shallow else [self._commit(one) for one in commit.parents]
            same = next((one for one in parents if self._entry(one) == entry), None)
            if same is not None:
                parents = [same]  # the file came from there; the other parents' versions did not survive the merge
            elif parents or entry is not None:
                yield commit, entry
            for parent in parents:
                if parent.id not in seen:
                    seen.add(parent.id)
                    heapq.heappush(waiting, (-parent.commit_time, parent.id, parent))

    def _commit(self, one: ObjectID) -> Commit:
        commit = self._repo.object_store[one]
        if not isinstance(commit, Commit):
            raise PromptError(f"{one.decode()} is not a commit")
        return commit

    def _entry(self, commit: Commit) -> tuple[int, ObjectID] | None:
        if commit.tree not in self._entries:
            self._entries[commit.tree] = _entry(self._repo, commit, self._path)
        return self._entries[commit.tree]
