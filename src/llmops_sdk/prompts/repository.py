"""The prompts of an application, kept in its own git repository."""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import re
from pathlib import Path
from typing import NamedTuple

from llmops_sdk.errors import PromptError
from llmops_sdk.prompts._files import MAX_BYTES, SUFFIX, Reader, decode_prompt, parse_prompt
from llmops_sdk.prompts._prompt import Prompt
from llmops_sdk.prompts._source import source_in_force
from llmops_sdk.prompts._variables import did_you_mean
from llmops_sdk.prompts.git import GitRepository

__all__ = ["LabelMove", "PromptRepository", "PromptVersion", "repository_here"]

log = logging.getLogger("llmops_sdk")

_LABELS = "refs/llmops/labels/"
_WORKTREE = "worktree"
_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)*")
_LABEL = re.compile(r"[A-Za-z0-9][\w./-]*", re.ASCII)
_MOST_CACHED = 1_000
_MOST_LISTED = 20


class PromptVersion(NamedTuple):
    """A commit that changed a prompt."""

    commit: str
    when: dt.datetime
    who: str
    subject: str
    hash: str | None
    """`Prompt.hash` at this commit; `None` where its file was broken."""


class LabelMove(NamedTuple):
    """A label was moved: an audit line."""

    label: str
    old: str | None
    new: str
    version: str
    """What `new` was called when the label was moved to it."""
    when: dt.datetime
    who: str
    why: str | None


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
        self._working: dict[str, tuple[tuple[int, int, int] | None, Prompt]] = {}
        self._warned: dict[str, tuple[int, int, int] | None] = {}

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
        prompt = self._from_commit(name, version, commit)
        if len(self._committed) >= _MOST_CACHED:
            self._committed.clear()
        self._committed[name, version, commit] = prompt
        return prompt

    def source(self, spec: str, /) -> tuple[str, Reader]:
        """The text of the file behind `get(spec)`, and what reads the files beside it at the same version.

        A path for the reader is relative to the folder of the prompts (`"shared/tone.md"`); it gives `None` where
        there is no such file, and for a path that leads out of the folder.

        Raises:
            PromptError: There is no such prompt or version, or its file is no text.
        """
        name, version = _parts(spec)
        if version == _WORKTREE:
            return decode_prompt(self._bytes_of(name), name=name, where=self._path(name)), self._read_worktree
        data, where, read = self._at_commit(name, version, self._resolve(version, name))
        return decode_prompt(data, name=name, where=where), read

    def names(self, version: str | None = None, /) -> tuple[str, ...]:
        """Names of all prompts at a version; without one, of those in the working tree."""
        if version is None or version == _WORKTREE:
            top = self.root / self.folder
            paths = [path.relative_to(top).as_posix() for path in sorted(top.rglob(f"*{SUFFIX}"))]
        else:
            paths = self._need_git(version).files(self._resolve(version), self.folder, SUFFIX)
        return tuple(path.removesuffix(SUFFIX) for path in paths)

    def log(self, name: str, /, *, version: str = "HEAD", limit: int = 20) -> tuple[PromptVersion, ...]:
        """The newest `limit` commits that changed a prompt, newest first.

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
            PromptVersion(one.commit, one.when, one.who, one.subject, self._hash_of(name, one.commit, one.data))
            for one in changes
        )

    def labels(self) -> dict[str, str]:
        """The commit of each label."""
        return self._need_git("labels").refs(_LABELS)

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
        processes that move it at once one is told that it lost. An audit line is kept, see `moves`.

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
        reserved = label in ("HEAD", _WORKTREE) or re.fullmatch(r"[0-9a-f]{7,64}", label)
        if reserved or not _LABEL.fullmatch(label) or not GitRepository.allows(_LABELS + label):
            raise PromptError(
                f"{label!r} cannot be a label: write letters, digits, `-`, `_`, `.` or `/`, such as `prod`; "
                "not HEAD, not worktree, and nothing that looks like a commit id"
            )
        git = self._need_git(version)
        new = self._resolve(version)
        old = git.refs(_LABELS).get(label) if expected is None else self._resolve(expected)
        if not git.swap(_LABELS + label, old, new):
            was, now = (one[:12] if one else "no commit" for one in (old, git.refs(_LABELS).get(label)))
            raise PromptError(
                f"the label {label!r} was not moved to {new[:12]}: it was expected at {was} and is at {now}, since "
                "somebody else moved it; look at it and decide again"
            )
        when = dt.datetime.now(dt.UTC)
        move = LabelMove(label, old, new, version, when, who or git.identity(), why)
        self._write_move(move)
        return move

    def moves(self, label: str | None = None, /, *, limit: int = 20) -> tuple[LabelMove, ...]:
        """The audit: the newest `limit` moves of a label, or of all labels, newest first. It stays in this clone."""
        try:
            lines = self._audit_file().read_text("utf-8").splitlines()
        except FileNotFoundError:
            return ()
        found = []
        for line in reversed(lines):
            record = _audit_record(line)
            if record is not None and (label is None or record.label == label):
                found.append(record)
                if len(found) == limit:
                    break
        return tuple(found)

    def _path(self, name: str) -> str:
        return self._inside(name + SUFFIX)

    def _need_git(self, version: str) -> GitRepository:
        if self._git is None:
            raise PromptError(
                f"{self.root} is not in a git repository, so there is no version {version!r}: leave the version out to "
                "read the file itself, or bring `.git` along"
            )
        return self._git

    def _resolve(self, version: str, name: str | None = None) -> str:
        git = self._need_git(version)
        commit = git.resolve(version) if version != _WORKTREE else None
        if commit is not None:
            return commit
        known = git.versions()
        problem = f"{git.root} has no version {version!r}: it has {_listed(known)}.{did_you_mean(version, known)}"
        if version == _WORKTREE:
            problem = "the working tree is no version that a label can point at: commit it first"
        elif version == "HEAD":
            problem = f"{git.root} has no commit yet"
        elif not git.refs(_LABELS):
            problem += " Labels do not come with a clone: run `git fetch origin 'refs/llmops/*:refs/llmops/*'`."
        raise PromptError(problem + git.shallow_hint(), prompt=name)

    def _from_commit(self, name: str, version: str, commit: str) -> Prompt:
        data, where, read = self._at_commit(name, version, commit)
        return parse_prompt(data, name=name, where=where, version=version, commit=commit, read=read)

    def _at_commit(self, name: str, version: str, commit: str) -> tuple[bytes, str, Reader]:
        """The file of a prompt at a commit, its path for errors, and what reads its siblings."""
        git, path = self._need_git(version), self._path(name)
        data = git.read(commit, path)
        if data is None:
            raise self._no_prompt(name, version)

        def read(sibling: str) -> bytes | None:
            return git.read(commit, self._inside(sibling)) if _is_inside(sibling) else None

        return data, f"{path}@{commit[:12]}", read

    def _from_worktree(self, name: str) -> Prompt:
        file = self._file(name)
        try:
            found = file.stat()
        except OSError:
            found = None
        key = None if found is None else (found.st_mtime_ns, found.st_size, found.st_ino)
        last = self._working.get(name)
        if key is not None and last is not None and last[0] == key:
            return last[1]
        data = self._bytes_of(name)
        try:
            prompt = parse_prompt(
                data,
                name=name,
                where=self._path(name),
                version=None if self._git is None else _WORKTREE,
                read=self._read_worktree,
            )
        except PromptError as exc:
            if last is None:
                raise
            if self._warned.get(name) != key:
                self._warned[name] = key
                log.warning("%s; the last good version of %r stays in use", exc, name)
            return last[1]
        self._working[name] = (key, prompt)
        return prompt

    def _file(self, name: str) -> Path:
        if self._git is not None and self._git.bare:
            raise PromptError(f"{self.root} is bare, it has no working tree: write `{name}@branch`", prompt=name)
        return self.root / self._path(name)

    def _bytes_of(self, name: str) -> bytes:
        self._file(name)  # a bare repository has none
        data = self._read_worktree(name + SUFFIX)
        if data is None:
            raise self._no_prompt(name, None)
        return data

    def _read_worktree(self, path: str) -> bytes | None:
        if not _is_inside(path):
            return None
        file = self.root / self._inside(path)
        try:
            with file.open("rb") as opened:
                return opened.read(MAX_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as exc:
            raise PromptError(f"{file} cannot be read: {exc}") from exc

    def _inside(self, path: str) -> str:
        return f"{self.folder}/{path}" if self.folder else path

    def _no_prompt(self, name: str, version: str | None) -> PromptError:
        known = self.names(version)
        place = f"at {version!r}" if version else "in the working tree"
        return PromptError(
            f"there is no {self._path(name)} {place} of {self.root}; there are {_listed(known)}."
            + did_you_mean(name, known),
            prompt=name,
        )

    def _hash_of(self, name: str, commit: str, data: bytes) -> str | None:
        try:
            return parse_prompt(data, name=name, where=f"{self._path(name)}@{commit[:12]}").hash
        except PromptError:
            return None

    def _audit_file(self) -> Path:
        return self._need_git("labels").shared / "llmops" / "labels.jsonl"

    def _write_move(self, move: LabelMove) -> None:
        file = self._audit_file()
        file.parent.mkdir(exist_ok=True)
        line = json.dumps({**move._asdict(), "when": move.when.isoformat()}, ensure_ascii=False) + "\n"
        # One write to a file opened for appending: lines of several processes do not mix.
        handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(handle, line.encode("utf-8", "replace"))
        finally:
            os.close(handle)

    def __repr__(self) -> str:
        return f"<PromptRepository {str(self.root)!r} folder {self.folder!r}>"


def _audit_record(line: str) -> LabelMove | None:
    try:
        record = json.loads(line)
        return LabelMove(**{**record, "when": dt.datetime.fromisoformat(record["when"])})
    except (ValueError, TypeError, KeyError):  # a process was killed while it wrote this line
        return None


def _parts(spec: str) -> tuple[str, str]:
    """Name and version in `"name@version"`; without a version, that of the working tree."""
    name, at, version = spec.partition("@")
    if not _NAME.fullmatch(name) or (at and not version):
        raise PromptError(f"{spec!r} names no prompt: write `folder/name` or `folder/name@version`", prompt=name)
    return name, version or _WORKTREE


def _is_inside(path: str) -> bool:
    """Whether a path stays in the folder that it is relative to."""
    return not any(step in ("", ".", "..") for step in path.split("/")) and "\\" not in path and "\0" not in path


def _folder_above(start: Path, folder: str) -> Path:
    """The nearest folder, from `start` upwards, that holds the folder of prompts; `start` where none does."""
    return next((one for one in (start, *start.parents) if (one / folder).is_dir()), start)


def _listed(names: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return (", ".join(names[:_MOST_LISTED]) or "none") + more


_opened: dict[Path, PromptRepository] = {}


def repository_here() -> PromptRepository:
    """The repository of the current folder, for `Prompt.load`; each is opened once."""
    here = Path.cwd()
    found = _opened.get(here)
    if found is None:
        found = PromptRepository(here)
        found = _opened[here] = _opened.setdefault(found.root, found)
    return found
