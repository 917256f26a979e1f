"""Hashes of files and folders."""

from __future__ import annotations

import hashlib
from pathlib import Path

from llmops_sdk.errors import ConfigurationError

__all__ = ["hash_of_files"]


def hash_of_files(path: Path) -> str | None:
    """SHA-256 of a file, or of all files in a folder with their names; `None` where there is nothing.

    Raises:
        ConfigurationError: It cannot be read.
    """
    try:
        if path.is_dir():
            files = [one for one in sorted(path.rglob("*")) if one.is_file()]
            sums = "".join(f"{_sha256(one)}  {one.relative_to(path).as_posix()}\n" for one in files)
            return hashlib.sha256(sums.encode("utf-8", "surrogateescape")).hexdigest()
        return _sha256(path) if path.is_file() else None
    except OSError as exc:
        raise ConfigurationError(f"{str(path)!r} cannot be read: {exc}") from exc


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
