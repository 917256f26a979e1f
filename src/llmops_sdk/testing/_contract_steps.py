"""What the contracts of engines and guards are written with: expectations, a bounded run, a way through pickle."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["PATIENCE_S", "T", "expect", "run", "through_pickle"]

T = TypeVar("T")

PATIENCE_S = 30.0
"""Seconds after which an answer counts as never coming."""


def expect(truth: object, message: str) -> None:
    """Fail with `message` unless `truth` holds; `assert` would vanish under `python -O`."""
    if not truth:
        raise AssertionError(message)


def through_pickle(value: T) -> T:
    """What is left of `value` after a way through pickle."""
    try:
        again: T = pickle.loads(pickle.dumps(value))  # noqa: S301  (our own bytes)
    except Exception as exc:  # what pickle raises depends on what it meets
        raise AssertionError(f"{value!r} does not survive pickle ({type(exc).__name__}: {exc})") from exc
    return again


def run(work: Coroutine[Any, Any, T], patience_s: float = PATIENCE_S) -> T:
    """Run `work` on a loop of its own, and give it up after so many seconds."""

    async def bounded() -> T:
        return await asyncio.wait_for(work, patience_s)

    return asyncio.run(bounded())
