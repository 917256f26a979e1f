"""Texts from files, directories and standard input, and texts into files."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from llmops_sdk.errors import ConfigurationError

__all__ = ["Text", "Unread", "find_files", "read", "write"]

_SKIPPED = frozenset({".git", ".hg", ".svn", ".venv", "venv", "node_modules", "__pycache__", ".nox", ".tox"})
_LARGEST = 20_000_000
"""Bytes of a file; a larger one is named and not read."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Text(NamedTuple):
    """A text, and what it is called."""

    name: str
    text: str


class Unread(NamedTuple):
    """A file that was not read.

    Attributes:
        name: Its path.
        why: The reason.
        asked: Whether it was named by the caller, or holds text: an error then. A binary file in a directory is none.
    """

    name: str
    why: str
    asked: bool


def find_files(paths: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """(path, whether it was named itself): the files of directories in order; links to directories are not followed."""
    for path in paths:
        if path != "-" and Path(path).is_dir():
            for folder, folders, files in os.walk(path):
                folders[:] = sorted(one for one in folders if one not in _SKIPPED)
                yield from ((str(Path(folder) / name), False) for name in sorted(files))
        else:
            yield path, True


def read(path: str, *, asked: bool) -> Text | Unread:
    """The text of a file; UTF-8, or what its byte-order mark says, else as Latin-1. A file with NULs is no text."""
    if path == "-":
        content, name = sys.stdin.buffer.read(), "<stdin>"
    else:
        name = path
        try:
            if not Path(path).is_file():
                return Unread(name, "there is no such file", asked)
            size = Path(path).stat().st_size
            if size > _LARGEST:
                return Unread(name, f"it has {size:,} bytes, and {_LARGEST:,} are read at most", asked=True)
            content = Path(path).read_bytes()
        except OSError as exc:
            return Unread(name, str(exc.strerror or exc), asked=True)
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return Text(name, content.decode(encoding, "replace"))
    if b"\0" in content[:8192] and not asked:
        return Unread(name, "it is binary", asked)
    try:
        return Text(name, content.decode("utf-8"))
    except UnicodeDecodeError:
        return Text(name, content.decode("latin-1"))


def write(path: Path, text: str, *, folders: bool = False) -> None:
    """Write a text as UTF-8 and with line feeds, over what is there; with `folders` those above it are made, too.

    Raises:
        ConfigurationError: It cannot be written.
    """
    try:
        if folders:
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    except (OSError, UnicodeEncodeError) as exc:
        raise ConfigurationError(f"{str(path)!r} cannot be written: {exc}") from exc
