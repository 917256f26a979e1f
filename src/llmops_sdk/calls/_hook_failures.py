"""Hooks that raise: said once for each hook and class of error, and counted."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from typing import Any

__all__ = ["hook_failed", "hook_failures"]

log = logging.getLogger("llmops_sdk")

_MOST = 1000
"""Pairs of hook and class of error that are told apart."""

_seen: Counter[tuple[str, str]] = Counter()
_lock = threading.Lock()


def hook_failed(hook: object, event: object, error: Exception) -> None:
    """A hook has raised: log it if it is the first time, and count it."""
    pair = (_name(hook), type(error).__name__)
    with _lock:
        if pair not in _seen and len(_seen) >= _MOST:
            pair = ("others", "")
        _seen[pair] += 1
        first = _seen[pair] == 1
    if first:
        log.error(
            "the hook %s failed on %s; the call goes on. Said once for it and %s; `calls.hook_failures()` counts",
            *(pair[0], type(event).__name__, type(error).__name__),
            exc_info=error,
        )


def hook_failures() -> dict[str, int]:
    """How often each hook has raised in this process, by its name.

    Example:
        >>> hook_failures()
        {}
    """
    failures: Counter[str] = Counter()
    with _lock:
        for (name, _), count in _seen.items():
            failures[name] += count
    return dict(failures)


def _name(hook: object) -> str:
    """Its own or its class's: those that are made anew for each run have one that comes again."""
    named: Any = hook if hasattr(hook, "__qualname__") else type(hook)
    return f"{named.__module__}.{named.__qualname__}"
