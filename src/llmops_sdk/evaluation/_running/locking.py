"""One process at a time runs an experiment: two would pay twice for what both have under way."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

from llmops_sdk.errors import EvaluationError

__all__ = ["locked"]

_WAIT_S = 1.0
"""An experiment that was interrupted a moment ago may still hold the lock."""


@contextlib.asynccontextmanager
async def locked(store: Path, experiment: str) -> AsyncIterator[None]:
    """Holds the lock of an experiment: a file beside the store, which goes with it, or the next time after a kill.

    Raises:
        EvaluationError: Another process, or another call in this one, runs the experiment; or the store's folder is not
            there and cannot be made.
    """
    try:
        store.parent.mkdir(parents=True, exist_ok=True)  # `.llmops/evals.db` is in no fresh checkout
    except OSError as exc:
        raise EvaluationError(f"the folder of the store {store} cannot be made: {exc}", path=str(store)) from exc
    path = store.with_name(f"{store.name}-{experiment[:12]}.lock")
    file = await _taken(path, store)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(file)


async def _taken(path: Path, store: Path) -> int:
    until = time.monotonic() + _WAIT_S
    while True:
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as exc:
            raise EvaluationError(
                f"`store` cannot be {store}: {exc.strerror}. It needs a folder that is there, and in which files can "
                "be made",
                path=str(store),
            ) from exc
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file).st_nlink:  # else its holder has gone just now, and the file with it
                os.ftruncate(file, 0)
                os.pwrite(file, str(os.getpid()).encode(), 0)
                return file
        except BlockingIOError:
            holder = os.pread(file, 20, 0).decode() or "unknown"
            if time.monotonic() > until:
                os.close(file)
                raise EvaluationError(
                    f"this experiment is being run already, by the process {holder}, into {store}: wait for it, and "
                    "the same call gives what it found; or give another `store`",
                    path=str(store),
                ) from None
        except BaseException:
            os.close(file)
            raise
        os.close(file)
        await asyncio.sleep(0.02)
