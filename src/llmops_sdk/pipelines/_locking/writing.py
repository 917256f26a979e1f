"""Writing a lock and its bundle, so that whoever reads or kills meanwhile finds the former ones or the new ones."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from llmops_sdk.errors import ConfigurationError, LockError

__all__ = ["bundle_beside", "write_lock"]

_UNFINISHED = ".making"
_OURS = re.compile(r".+@([0-9a-f]{12})")


def bundle_beside(file: Path, bundle: Path) -> str:
    """The folder of a bundle, relative to that of the lock `file`.

    Raises:
        ConfigurationError: It does not lie below that.
    """
    try:
        below = bundle.resolve().relative_to(file.parent.resolve())
    except ValueError:
        below = Path()
    if not below.parts:
        raise ConfigurationError(
            f"the bundle {str(bundle)!r} has to lie below the folder of the lock, {str(file.parent)!r}, so that both "
            "travel together: put the lock into the package, too, `llmops lock --lock src/app/llmops.lock`"
        )
    return below.as_posix()


def write_lock(file: Path, text: str, bundle: str | None, files: Mapping[str, bytes]) -> None:
    """Write the lock, and the `files` of its `bundle`, whose folders are named by content.

    So the former lock has its own files until the new one is there; what neither this one nor another lock beside it
    (`*.lock`) needs is removed then.

    Raises:
        LockError: They cannot be written; the former lock is still there then, with its bundle.
    """
    folder = file.parent / (bundle or "")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with _alone_in(file.parent):
            for name, content in files.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                _write_whole(folder / name, content)
            _write_whole(file, text.encode())
            if bundle is not None:
                _clear(folder, set(files), _texts_of_others(file))
    except OSError as exc:
        raise LockError(f"{file} cannot be written: {exc}", path=str(file)) from exc


def _clear(bundle: Path, kept: set[str], others: str) -> None:
    """Delete copies that neither this lock nor one of the `others` needs, and what a killed process left."""
    for folder in sorted(bundle.rglob("*@*")):
        beginning = folder.relative_to(bundle).as_posix() + "/"
        found = _OURS.fullmatch(folder.name)
        if found is None or not folder.is_dir() or f'"{found[1]}' in others:
            continue
        if not any(name.startswith(beginning) for name in kept):
            shutil.rmtree(folder)
    for leftover in bundle.rglob(f".*{_UNFINISHED}"):
        leftover.unlink(missing_ok=True)


def _texts_of_others(file: Path) -> str:
    """What the other locks of the folder say; as text, since one that has conflict markers has prompts, too."""
    others = (one for one in file.parent.glob("*.lock") if one.name != file.name and one.is_file())
    return "".join(one.read_text("utf-8", "replace") for one in others)


def _write_whole(path: Path, data: bytes) -> None:
    """Write a file, in place of one that is there: whoever reads it meanwhile sees the former one or the new one.

    Raises:
        OSError: It cannot be written; the former one is still there then.
    """
    making = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{_UNFINISHED}")
    try:
        with making.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        making.replace(path)
    except BaseException:
        making.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Let one process at a time write here, and clear away what one has left that was killed."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)  # it ends with the process, however that ends
        for leftover in folder.glob(f".*{_UNFINISHED}"):
            leftover.unlink(missing_ok=True)
        yield
    finally:
        os.close(opened)
