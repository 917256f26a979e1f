"""Files that are written as a whole: whoever reads meanwhile sees the former one or the new one."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

__all__ = ["replacing"]


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside `path`, to be made, which takes its place in the end; where the work fails, what is there stays.

    Raises:
        OSError: It cannot take its place.
    """
    making = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        yield making
        making.replace(path)
    finally:
        making.unlink(missing_ok=True)
