"""Refs as files, `.git/refs/...` and `packed-refs`: one lookup costs one open, however many refs there are.

dulwich parses all of `packed-refs` anew for each ref that is asked for: 50 ms where there are 10,000 tags. Here what it
says is kept until the file is replaced.
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from llmops_sdk.errors import PromptError

__all__ = ["RefFiles"]

_ID = re.compile(rb"[0-9a-f]{40}([0-9a-f]{24})?")
_LONGEST = 4_096
"""Bytes of a ref that are read; a name in it is no longer than a path may be."""

_LONGEST_CHAIN = 5
"""Symbolic refs in a row; git's own limit."""


class RefFiles:
    """The refs of a repository that keeps them in files.

    Args:
        shared: What all working trees share (`.git`).
        control: What belongs to this working tree: its `HEAD`.
    """

    def __init__(self, shared: Path, control: Path) -> None:
        # Plain strings: a label is looked up by each `get`, and a `Path` costs as much as the lookup.
        self._shared = str(shared)
        self._control = str(control)
        self._packed: tuple[tuple[int, int, int] | None, dict[bytes, bytes]] = (None, {})

    def value(self, name: str) -> str | None:
        """The id that a ref points at, through symbolic refs; `None` where there is no such ref.

        Raises:
            PromptError: The ref holds no id.
        """
        for _ in range(_LONGEST_CHAIN):
            file = f"{self._shared if name.startswith('refs/') else self._control}/{name}"
            try:
                with open(file, "rb", buffering=0) as opened:  # noqa: PTH123
                    content = opened.read(_LONGEST).strip()
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
                return self._in_packed(name)
            except OSError as exc:
                if exc.errno == errno.ENAMETOOLONG:
                    return self._in_packed(name)
                raise
            if not content.startswith(b"ref:"):
                return self._checked(content, name, file)
            target = content[4:].strip().decode("utf-8", "replace")
            if ".." in target.split("/") or not target.startswith("refs/"):
                raise PromptError(f"{file} refers to {target!r}, which is no ref; {_repair(name)}")
            name = target
        raise PromptError(f"{name} refers to a ref that refers to a ref, more than {_LONGEST_CHAIN} times")

    def _in_packed(self, name: str) -> str | None:
        file = f"{self._shared}/packed-refs"
        try:
            found = os.stat(file)  # noqa: PTH116
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
            known, values = self._packed
            if known != stamp:
                values = _values(Path(file).read_bytes())
                self._packed = (stamp, values)  # one assignment: threads see a whole file
        except FileNotFoundError:
            return None
        value = values.get(name.encode())
        return None if value is None else self._checked(value, name, file)

    def _checked(self, content: bytes, name: str, file: str) -> str:
        if not _ID.fullmatch(content):
            shown = content[:60].decode("utf-8", "replace")
            raise PromptError(f"{file} holds no commit id for {name}, but {shown!r}; {_repair(name)}")
        return content.decode()


def _values(packed: bytes) -> dict[bytes, bytes]:
    """What each ref points at; lines that begin with `#` are comments, with `^` what the tag above them points at."""
    lines = (line.partition(b" ") for line in packed.split(b"\n") if line[:1] not in (b"#", b"^", b""))
    return {name: value for value, _, name in lines}


def _repair(name: str) -> str:
    if name == "HEAD":
        return "`git symbolic-ref HEAD refs/heads/main` puts it on a branch again"
    return "delete that file, and fetch the ref again or make it anew with git"
