"""Locks of refs by git's own protocol, which a killed process does not leave behind for others to clear up.

Whoever changes the ref `X` first creates `X.lock`, and fails where it exists; git does so, and so does `RefLocks`. A
process that is killed meanwhile leaves `X.lock`. Git's own is an empty file that says nothing of its owner. Here it is
a hard link to `.git/llmops/mover`, and only the process that holds the kernel's lock (`flock`) of that file makes such
links. The kernel frees its lock with the process. So whoever has just got the `flock` and finds links to the file knows
that their owner is dead: they are provably stale, and are cleared away before anything else is done.

Where a file system has no hard links, or the file belongs to another user, the lock is an ordinary file and a stale one
has to be deleted by hand; the message names it. On a network file system whose `flock` does not reach other machines,
labels have to be moved from one machine only.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from llmops_sdk.errors import PromptError

__all__ = ["RefLocks", "make_folder"]

_WAIT_S = 2.0
"""How long to wait for a lock: a move takes some milliseconds."""

_PAUSE_S = 0.01


class RefLocks:
    """The locks of the refs below one `.git`."""

    def __init__(self, shared: Path) -> None:
        self._shared = shared
        self._folder = shared / "llmops"

    @contextlib.contextmanager
    def hold(self, *refs: str) -> Iterator[None]:
        """Lock refs, in this order; nobody else changes them meanwhile, git neither.

        Raises:
            PromptError: Somebody else holds one of the locks for longer than 2 seconds, or they cannot be written.
        """
        held: list[Path] = []
        until = time.monotonic() + _WAIT_S
        with contextlib.ExitStack() as stack:
            with self._writable():
                mover = stack.enter_context(self._alone(until))
                stack.callback(_unlink, held)
                for ref in refs:
                    lock = self._shared / f"{ref}.lock"
                    self._lock(lock, mover, until)
                    held.append(lock)
            yield

    def write(self, values: Mapping[str, str]) -> None:
        """Point refs that are held at ids, one after the other in this order.

        All is written and synced beforehand, so that a full disk is met before the first of them moves.
        """
        with self._writable():
            ready = []
            for ref, value in values.items():
                new = self._folder / (hashlib.sha256(ref.encode()).hexdigest()[:32] + ".new")
                with new.open("wb") as file:
                    file.write(value.encode() + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
                ready.append((new, self._shared / ref))
            for new, ref_file in ready:
                if ref_file.is_dir():  # what is left of a ref below it; git deletes such folders, too
                    _remove_empty(ref_file)
                new.replace(ref_file)

    @contextlib.contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise PromptError(
                f"refs cannot be written in {self._shared} ({exc}); nothing was moved, see to the disk and its "
                "permissions"
            ) from exc

    @contextlib.contextmanager
    def _alone(self, until: float) -> Iterator[Path | None]:
        """Hold the kernel's lock of the file that locks are links to; `None` where the file system has no locks."""
        make_folder(self._folder)
        mover: Path | None = self._folder / "mover"
        handle = _opened(self._folder / "mover", self._folder.stat().st_mode & 0o666)
        try:
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until:
                        raise PromptError(
                            f"another process is moving a label of {self._shared} right now; try again"
                        ) from None
                    time.sleep(_PAUSE_S)
                except OSError:
                    mover = None
                    break
            if mover is not None and os.fstat(handle).st_nlink > 1:
                _clear(self._shared / "refs", mover)
            yield mover
        finally:
            with contextlib.suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_UN)  # at once, even if a process that was forked has the file, too
            os.close(handle)

    def _lock(self, lock: Path, mover: Path | None, until: float) -> None:
        while True:
            try:
                make_folder(lock.parent)
                _create(lock, mover)
                return
            except (FileExistsError, FileNotFoundError):
                pass  # git has it, or git has just deleted the empty folder
            if time.monotonic() > until:
                raise PromptError(
                    f"another process, git perhaps, is changing {lock.relative_to(self._shared).with_suffix('')} right "
                    f"now; try again. If none is, a process died while it did: delete {lock}"
                )
            time.sleep(_PAUSE_S)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, as open to others as the one that holds it: repositories can be shared."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
        with contextlib.suppress(OSError):
            folder.chmod(folder.parent.stat().st_mode & 0o7777)


def _opened(file: Path, mode: int) -> int:
    try:
        handle = os.open(file, os.O_RDWR | os.O_CREAT, mode)
    except PermissionError:
        return os.open(file, os.O_RDONLY)  # another user's; that is enough for `flock`
    with contextlib.suppress(OSError):
        os.fchmod(handle, mode)
    return handle


def _create(lock: Path, mover: Path | None) -> None:
    if mover is not None:
        try:
            os.link(mover, lock)
            return
        except (FileExistsError, FileNotFoundError, NotADirectoryError):
            raise
        except OSError:
            pass  # no hard links here
    os.close(os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))


def _clear(folder: Path, mover: Path) -> None:
    """Delete the locks of a process that died."""
    for lock in folder.rglob("*.lock"):
        with contextlib.suppress(FileNotFoundError):
            if lock.samefile(mover):
                lock.unlink()


def _unlink(locks: list[Path]) -> None:
    for lock in reversed(locks):
        with contextlib.suppress(OSError):
            lock.unlink()


def _remove_empty(folder: Path) -> None:
    for one in sorted((one for one in folder.rglob("*") if one.is_dir()), reverse=True):
        one.rmdir()
    folder.rmdir()
