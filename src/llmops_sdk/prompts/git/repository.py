"""Reads of a git repository, and the few things that are written to it: refs and commits of the audit.

Nothing stays open between calls, so that threads, forks and `git gc` in other processes cannot disturb a reader.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import re
import secrets
import stat
import traceback
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from dulwich.errors import NotGitRepository
from dulwich.object_store import peel_sha
from dulwich.objects import Commit, ObjectID, Tree
from dulwich.refs import DiskRefsContainer, Ref, RefsContainer, check_ref_format
from dulwich.repo import DefaultIdentityNotFound, Repo, get_user_identity

from llmops_sdk.errors import PromptError
from llmops_sdk.prompts.git import branches
from llmops_sdk.prompts.git.damage import missing_hint, readable
from llmops_sdk.prompts.git.history import Blamed, Change, Walk
from llmops_sdk.prompts.git.locking import RefLocks, make_folder
from llmops_sdk.prompts.git.objects import TreeReader, checked, content
from llmops_sdk.prompts.git.references import RefFiles

__all__ = ["GitRepository"]

_FULL = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_HEX = re.compile(r"[0-9a-f]{7,64}")
_PLACES = ("refs/llmops/labels/", "refs/tags/", "refs/heads/", "refs/remotes/")
"""Where a version is looked for, in this order."""

_MOST_FILES = 10_000


class GitRepository:
    """One git repository.

    Attributes:
        root: Its top folder; for a bare repository the repository itself.
        bare: Whether it has no working tree.
        shared: The folder that all its working trees share (`.git`).
        locks: Locks of its refs.
    """

    def __init__(self, repo: Repo) -> None:
        self.root = Path(repo.path)
        self.bare = bool(repo.bare)
        self.shared = Path(repo.commondir())
        self.locks = RefLocks(self.shared)
        self._control = repo.controldir()
        self._files = RefFiles(self.shared, Path(self._control))
        self._reftable = (self.shared / "reftable").is_dir()
        self._commits: dict[str, str] = {}

    @classmethod
    def find(cls, start: Path) -> GitRepository | None:
        """The repository of `start` or of a folder above it; `None` where there is none.

        Raises:
            PromptError: There is one that cannot be read.
        """
        try:
            with readable(start), Repo.discover(start) as repo:
                return cls(repo)
        except NotGitRepository:
            return None

    @contextlib.contextmanager
    def _open(self, reading: str = "") -> Iterator[Repo]:
        try:
            with readable(self.root, self.shared, reading=reading), Repo(str(self.root)) as repo:
                try:
                    yield repo
                except Exception as exc:
                    _let_go(exc)
                    raise
        except NotGitRepository as exc:
            raise PromptError(f"there is no git repository at {self.root} any more") from exc

    def missing_hint(self) -> str:
        """What to say where something was not found, and the clone is not whole."""
        return missing_hint(self.shared)

    def known(self, version: str) -> str | None:
        """The commit of a full commit id that was resolved before; this touches no file."""
        return self._commits.get(version) if _FULL.fullmatch(version) else None

    def resolve(self, version: str) -> str | None:
        """The commit of a label, a tag, a branch, `HEAD` or a commit id; `None` where there is no such version.

        Raises:
            PromptError: A short commit id is ambiguous, or it is no commit that was named.
        """
        if known := self.known(version):
            return known
        found = self._ref_value(version)
        if found is not None:
            return self._commit_of(found, version)
        if not _HEX.fullmatch(version):
            return None
        with self._open(version) as repo:
            store = repo.object_store
            if _FULL.fullmatch(version):
                ids = [ObjectID(version.encode())] if ObjectID(version.encode()) in store else []
            else:
                kinds = (b"commit", b"tag")
                ids = [one for one in store.iter_prefix(version.encode()) if store[one].type_name in kinds]
        if len(ids) > 1:
            shown = ", ".join(sorted(one.decode()[:12] for one in ids))
            raise PromptError(f"the commit id {version!r} is ambiguous: it begins {shown}; write more of its digits")
        return self._commit_of(ids[0].decode(), version) if ids else None

    def _ref_value(self, version: str) -> str | None:
        if version == "HEAD":
            return self.ref("HEAD")
        names = [place + version for place in _PLACES]
        return next((value for name in names if self.allows(name) and (value := self.ref(name))), None)

    def _commit_of(self, found: str, version: str) -> str:
        known = self._commits.get(found)
        if known is not None:
            return known
        with self._open(version) as repo:
            peeled = peel_sha(repo.object_store, ObjectID(found.encode()))[1]
        if not isinstance(peeled, Commit):
            raise PromptError(f"{version!r} is a {peeled.type_name.decode()}, not a commit")
        if len(self._commits) > _MOST_FILES:
            self._commits.clear()
        commit = peeled.id.decode()
        self._commits[found] = self._commits[commit] = commit
        return commit

    def read(self, commit: str, path: str) -> bytes | None:
        """The file `path` as `commit` holds it; `None` where it does not."""
        with self._open(f"{path}@{commit[:12]}") as repo:
            entry = TreeReader(repo, path).entry(checked(repo, ObjectID(commit.encode()), Commit))
            return None if entry is None or entry.is_folder else content(repo, entry, path)

    def files(self, commit: str, folder: str, suffix: str) -> list[str]:
        """Paths below `folder`, relative to it, that end in `suffix`; sorted, 10,000 at most."""
        with self._open(f"{folder}@{commit[:12]}") as repo:
            entry = TreeReader(repo, folder).entry(checked(repo, ObjectID(commit.encode()), Commit))
            if entry is None or not entry.is_folder:
                return []
            found: list[str] = []
            waiting = [("", entry.id)]
            while waiting and len(found) < _MOST_FILES:
                prefix, tree_id = waiting.pop()
                for name, mode, sha in checked(repo, tree_id, Tree).iteritems():
                    path = prefix + name.decode("utf-8", "replace")
                    if stat.S_ISDIR(mode):
                        waiting.append((path + "/", sha))
                    elif path.endswith(suffix):
                        found.append(path)
            return sorted(found)

    def history(self, commit: str, path: str, limit: int, *, beside: Sequence[str] = ()) -> list[tuple[Change, bytes]]:
        """The newest `limit` commits, up to `commit`, that changed the file or one `beside` it, and the file after."""
        with self._open(f"the history of {path}") as repo:
            return Walk(repo, path, beside).changes(commit, limit)

    def blame(self, commit: str, path: str) -> list[Blamed]:
        """Each line of the file at `commit`, with the commit that brought it."""
        with self._open(f"the history of {path}") as repo:
            return Walk(repo, path).blame(commit)

    def first_parents(self, start: str) -> Generator[tuple[str, str], None, None]:
        """`start`, its first parent, that one's first parent, ...: id and message of each. Close it after use."""
        with self._open("the audit") as repo:
            shallow = repo.get_shallow()
            waiting = [ObjectID(start.encode())]
            while waiting:
                commit = checked(repo, waiting[0], Commit)
                yield commit.id.decode(), commit.message.decode("utf-8", "replace")
                waiting = [] if commit.id in shallow else commit.parents[:1]

    def ref(self, name: str) -> str | None:
        """What a ref points at now; `None` where there is no such ref."""
        if not self._reftable:
            with readable(self.root, self.shared, reading=name):
                return self._files.value(name)
        with self._open(name) as repo, contextlib.suppress(KeyError):
            return repo.refs[Ref(name.encode())].decode()
        return None

    def refs(self, place: str) -> dict[str, str]:
        """What each ref below `place` (`"refs/tags/"`) points at, by its name without the place."""
        with self._refs() as refs:
            found = {}
            for name in sorted(refs.subkeys(Ref(place.encode()))):
                with contextlib.suppress(KeyError):
                    found[name.decode("utf-8", "replace")] = refs[Ref(place.encode() + name)].decode()
            return found

    @contextlib.contextmanager
    def _refs(self) -> Iterator[RefsContainer]:
        if self._reftable:
            with self._open() as repo:
                yield repo.refs
        else:
            with readable(self.root, self.shared):
                yield DiskRefsContainer(str(self.shared), self._control)

    def versions(self) -> list[str]:
        """Names that `resolve` knows: labels, tags and branches."""
        with self._refs() as refs:
            return [
                name.decode("utf-8", "replace")
                for place in _PLACES
                for name in sorted(refs.subkeys(Ref(place.encode())))
            ]

    @staticmethod
    def allows(ref: str) -> bool:
        """Whether git allows `ref` as the name of a ref."""
        try:
            return check_ref_format(Ref(ref.encode()))
        except UnicodeEncodeError:  # half a character, from bytes that are no UTF-8
            return False

    def check_refs_can_be_written(self) -> None:
        """Refuse a repository whose refs are tables.

        Raises:
            PromptError: It is one. dulwich writes their list without a lock, so a push at the same time loses refs.
        """
        if self._reftable:
            raise PromptError(
                f"the refs of {self.root} are tables (reftable), which cannot be written safely from here: run "
                f"`git -C {self.root} refs migrate --ref-format=files`, or move labels in another clone"
            )

    def merge_bases(self, one: str, other: str) -> list[str]:
        """The best common ancestors of two commits: none, one, or several where branches were merged crosswise."""
        with self._open(f"the history of {one[:12]} and {other[:12]}") as repo:
            return branches.merge_bases(repo, one, other)

    def only_changed(self, old: str, new: str, path: str) -> bool:
        """Whether nothing but the file `path` differs between two commits."""
        with self._open(path) as repo:
            return branches.only_changed(repo, old, new, path)

    def checked_out(self, branch: str) -> Path | None:
        """The working tree in which a branch is checked out; `None` where it is in none."""
        if self.bare and not (self.shared / "worktrees").is_dir():
            return None
        found = branches.checked_out_in(self.shared, branch)
        return None if self.bare and found == self.shared.parent else found

    def write_file(self, commit: str, path: str, data: bytes) -> str:
        """Write the tree of a commit with `data` at `path`; no ref or commit has it yet. Gives its id."""
        with self._open(path) as repo:
            made = [
                (one.get_id(repo.object_format).decode(), one.as_legacy_object())
                for one in branches.tree_with(repo, commit, path, data)
            ]
        for one, content_of in made:
            self._write(one, content_of)
        return made[-1][0]

    def write_commit(
        self,
        tree_of: str,
        parents: Sequence[str],
        *,
        who: str,
        when: dt.datetime,
        message: str,
        tree: str | None = None,
    ) -> str:
        """Write a commit with the tree of another one, or with `tree`; no ref points at it yet. Gives its id."""
        with self._open(tree_of) as repo:
            commit = Commit()
            commit.tree = ObjectID(tree.encode()) if tree else checked(repo, ObjectID(tree_of.encode()), Commit).tree
            commit.parents = [ObjectID(one.encode()) for one in parents]
            commit.author = commit.committer = who.encode("utf-8", "replace")
            commit.author_time = commit.commit_time = int(when.timestamp())
            commit.author_timezone = commit.commit_timezone = 0
            commit.encoding = b"UTF-8"
            commit.message = message.encode("utf-8", "replace")
            one = commit.get_id(repo.object_format).decode()
            data = commit.as_legacy_object()
        self._write(one, data)
        return one

    def _write(self, one: str, data: bytes) -> None:
        try:
            self._write_object(one, data)
        except OSError as exc:
            raise PromptError(f"{self.shared / 'objects'} cannot be written ({exc}); nothing was moved") from exc

    def _write_object(self, one: str, data: bytes) -> None:
        # dulwich would leave `objects/ab/....lock` when it is killed, which `git fsck` complains of for ever; what is
        # called `tmp_obj_...` is cleared up by `git gc`.
        folder = self.shared / "objects" / one[:2]
        new = self.shared / "objects" / f"tmp_obj_{secrets.token_hex(8)}"
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(handle)
            for last_try in (False, False, True):
                make_folder(folder)
                try:
                    new.replace(folder / one[2:])
                    break
                except FileNotFoundError:  # `git gc` has just deleted the folder, since it was empty
                    if last_try:
                        raise
        except BaseException:
            new.unlink(missing_ok=True)
            raise

    def identity(self) -> str:
        """`Name <email>` of whoever works here, as git's configuration says; else as the system calls them."""
        with self._open() as repo:
            try:
                return get_user_identity(repo.get_config_stack(), "AUTHOR").decode("utf-8", "replace")
            except DefaultIdentityNotFound:  # a container whose user has no name
                return f"user {os.getuid()} <>"


def _let_go(exc: BaseException | None) -> None:
    """Clear the variables of the frames of an error: dulwich's hold views of packs, which then cannot be closed."""
    while exc is not None:
        traceback.clear_frames(exc.__traceback__)
        exc = exc.__context__
