"""What dulwich raises about a repository that is damaged, too new, or not whole; turned into words that help."""

from __future__ import annotations

import contextlib
import shlex
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from dulwich.errors import ChecksumMismatch, FileFormatException, NotTreeError
from dulwich.pack import PackFileDisappeared, UnresolvedDeltas
from dulwich.refs import SymrefLoop
from dulwich.repo import UnsupportedExtension, UnsupportedVersion

from llmops_sdk.errors import PromptError

__all__ = ["missing_hint", "readable"]

_TOO_NEW = (UnsupportedExtension, UnsupportedVersion)

_DAMAGE = (
    *_TOO_NEW,
    AssertionError,
    ChecksumMismatch,
    EOFError,
    FileFormatException,
    IndexError,
    KeyError,
    NotTreeError,
    OSError,
    OverflowError,
    PackFileDisappeared,
    SymrefLoop,
    UnresolvedDeltas,
    ValueError,
    struct.error,
    zlib.error,
)
"""dulwich parses what it finds, so bytes that were flipped or cut off end in many ways; a `KeyError` is an object
that is not there."""


@contextlib.contextmanager
def readable(root: Path, shared: Path | None = None, *, reading: str = "") -> Iterator[None]:
    """Turn what dulwich raises into a `PromptError` that says what to do.

    Args:
        root: Top folder of the repository.
        shared: Its `.git`; `None` while it is not yet known.
        reading: What was read, for the message.
    """
    try:
        yield
    except PromptError:
        raise
    except _DAMAGE as exc:
        what = f"{reading}: " if reading else ""
        raise PromptError(f"{what}the git repository {root} {_problem(exc)}; {_remedy(exc, root, shared)}") from exc


def missing_hint(shared: Path) -> str:
    """What to say where something was not found, and the clone is not whole."""
    for alternate in _alternates(shared):
        if not alternate.is_dir():
            return f"; it borrows objects from {alternate}, which is not there: bring that folder back, or clone anew"
    if (shared / "shallow").exists():
        return "; this clone is shallow, older commits come with `git fetch --unshallow`"
    return ""


def _problem(cause: BaseException) -> str:
    if isinstance(cause, KeyError) and cause.args and isinstance(cause.args[0], bytes):
        return f"does not hold the object {cause.args[0].decode('ascii', 'replace')}"
    return f"cannot be used ({type(cause).__name__}: {cause})"


def _remedy(cause: BaseException, root: Path, shared: Path | None) -> str:
    folder = shlex.quote(str(root))
    if isinstance(cause, _TOO_NEW):
        return "it was made by a newer git: update dulwich, or clone it with a plain `git clone`"
    if isinstance(cause, KeyError) and shared is not None:
        if any((shared / "objects" / "pack").glob("*.promisor")):
            return (
                "it is a partial clone (`--filter`), which fetches files when git needs them; nothing is fetched here: "
                f"run `git -C {folder} archive COMMIT prompts >/dev/null`, which fetches the prompts of one commit"
            )
        if hint := missing_hint(shared):
            return hint.removeprefix("; ")
    return (
        f"run `git -C {folder} fsck --full` to see what is damaged; `git fetch --refetch` brings the objects anew from "
        "where they came from, or clone it again"
    )


def _alternates(shared: Path) -> list[Path]:
    objects = shared / "objects"
    try:
        lines = (objects / "info" / "alternates").read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
    return [objects / line for line in lines if line and not line.startswith("#")]
