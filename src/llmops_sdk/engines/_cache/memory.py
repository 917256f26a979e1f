"""Answers in the memory of this process."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any, NamedTuple

from llmops_sdk.engines._cache.entries import now_s
from llmops_sdk.errors import ConfigurationError

__all__ = ["MemoryStore", "checked_bytes"]

_OVERHEAD = 400
"""Bytes that one entry takes besides its key and value: objects and the place in the dict (measured: 330 to 400)."""


class _Held(NamedTuple):
    value: bytes
    expires_at: float | None


class MemoryStore:
    """Keeps answers in this process, the last used ones; safe for several threads.

    Args:
        max_bytes: Most bytes of memory, `>= 1`. An answer counts with its JSON, its key and 400 bytes of overhead;
            one that does not fit at all is not kept.

    Attributes:
        entries: How many answers it holds.
        size_bytes: What they take, counted as above.

    Raises:
        ConfigurationError: `max_bytes` is no such number.
    """

    def __init__(self, max_bytes: int = 64 * 1024 * 1024) -> None:
        self.max_bytes = checked_bytes(max_bytes)
        self.size_bytes = 0
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return MemoryStore, (self.max_bytes,)

    @property
    def entries(self) -> int:
        """How many answers it holds."""
        return len(self._held)

    def at_hand(self, key: str, /) -> bytes | None:
        """See `Store`."""
        with self._lock:
            held = self._held.get(key)
            if held is None:
                return None
            if held.expires_at is not None and now_s(None) >= held.expires_at:
                self._drop(key)
                return None
            self._held.move_to_end(key)
            return held.value

    async def get(self, key: str, /) -> bytes | None:
        """See `Store.get`."""
        return self.at_hand(key)

    async def put(self, key: str, value: bytes, ttl_s: float | None, /) -> None:
        """See `Store.put`."""
        size = _size(key, value)
        expires_at = None if ttl_s is None else now_s(None) + ttl_s
        with self._lock:
            self._drop(key)
            if size > self.max_bytes:
                return
            while self.size_bytes + size > self.max_bytes:
                self._drop(next(iter(self._held)))
            self._held[key] = _Held(value, expires_at)
            self.size_bytes += size

    async def forget(self, key: str, /) -> None:
        """See `Store.forget`."""
        with self._lock:
            self._drop(key)

    async def clear(self) -> None:
        """See `Store.clear`."""
        with self._lock:
            self._held.clear()
            self.size_bytes = 0

    async def aclose(self) -> None:
        """Nothing: another cache may hold the same store, and memory goes with the last of them."""

    def _drop(self, key: str) -> None:
        held = self._held.pop(key, None)
        if held is not None:
            self.size_bytes -= _size(key, held.value)

    def __repr__(self) -> str:
        return f"MemoryStore({self.max_bytes})"


def _size(key: str, value: bytes) -> int:
    return len(key) + len(value) + _OVERHEAD


def checked_bytes(most: object) -> int:
    """A number of bytes that somebody wrote as `max_bytes`.

    Raises:
        ConfigurationError: It is none.
    """
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise ConfigurationError(f"`max_bytes` is a whole number of bytes over 0, not {most!r}")
    return most
