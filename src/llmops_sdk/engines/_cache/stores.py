"""Where answers are kept: what a store has to be able to do, and the care with which one is asked."""

from __future__ import annotations

import functools
import logging
from typing import Any, Protocol, cast

from llmops_sdk.calls import Call
from llmops_sdk.engines._cache.entries import Entry, from_bytes, now_s, to_bytes
from llmops_sdk.errors import CacheError, ConfigurationError

__all__ = ["Shelf", "Store"]

log = logging.getLogger("llmops_sdk")

_REST_S = 1.0
"""Seconds for which a store that has failed is left alone, so that its timeouts do not add up over the calls."""
_SHORT, _REMEMBERED = 2048, 512
"""Answers of at most so many bytes are read once and remembered, the last ones: most of what a hit takes would be
reading. As records they take some kilobytes each."""


class Store(Protocol):
    """Keeps bytes under keys (ASCII, at most 100 characters). Used from several event loops and threads at once.

    What it raises breaks no call: the engine is asked. A store that answers at once may also have a method
    `at_hand(key)`, the same as `get` without waiting.
    """

    @property
    def entries(self) -> int | None:
        """How many answers it holds, as far as it knows; `None` where it does not."""
        ...

    @property
    def size_bytes(self) -> int | None:
        """How many bytes they take, all told."""
        ...

    async def get(self, key: str, /) -> bytes | None:
        """What was put under `key`, `None` if there is nothing, or it has expired."""
        ...

    async def put(self, key: str, value: bytes, ttl_s: float | None, /) -> None:
        """Keep `value`, for `ttl_s` seconds at most; throw away what was not used for longest, if room is short."""
        ...

    async def forget(self, key: str, /) -> None:
        """Throw away what is under `key`."""
        ...

    async def clear(self) -> None:
        """Throw away everything."""
        ...

    async def aclose(self) -> None:
        """Give back what is held; what is kept outside of the process stays there. Closing twice is harmless."""
        ...


class Shelf:
    """A store as `Cached` asks it: what goes wrong with it is counted and logged, and breaks no call.

    Attributes:
        errors: How often something went wrong.
        at_once: Whether it answers without waiting.
    """

    def __init__(self, store: Any, ttl_s: float | None) -> None:
        methods = ("get", "put", "forget", "clear")
        if isinstance(store, type) or not all(callable(getattr(store, name, None)) for name in methods):
            raise ConfigurationError(
                f"{store!r} is no store: write `MemoryStore()`, `SQLiteStore(path)` or `RedisStore(url)`, or give an "
                f"object with {', '.join(methods)}"
            )
        self.store = cast("Store", store)
        self.errors = 0
        self._ttl_s = ttl_s
        self._at_hand = getattr(store, "at_hand", None)
        self._remembered = functools.lru_cache(maxsize=_REMEMBERED)(from_bytes)
        self.at_once = self._at_hand is not None
        self._unread_until = self._unwritten_until = 0.0
        self._logged = False

    def at_hand(self, key: str, call: Call | None) -> Entry | None:
        """What is there without waiting."""
        if self._at_hand is None or _before(self._unread_until, call):
            return None
        try:
            return self._read(self._at_hand(key), call)
        except Exception as exc:  # noqa: BLE001  (a cache never breaks a call)
            self._away(exc, call)
            return None

    async def get(self, key: str, call: Call | None) -> Entry | None:
        """What is kept under `key`, and not too old."""
        if _before(self._unread_until, call):
            return None
        try:
            return self._read(await self.store.get(key), call)
        except Exception as exc:  # noqa: BLE001  (a cache never breaks a call)
            self._away(exc, call)
            return None

    async def put(self, key: str, entry: Entry, call: Call | None) -> bool:
        """Keep an answer; whether that went well."""
        if _before(self._unwritten_until, call):
            return False
        try:
            value = to_bytes(entry)
        except Exception as exc:  # noqa: BLE001  (an engine of one's own may answer with anything)
            self._note(exc)
            return False
        try:
            await self.store.put(key, value, self._ttl_s)
        except Exception as exc:  # noqa: BLE001  (a cache never breaks a call)
            self._note(exc)
            self._unwritten_until = now_s(call) + _REST_S  # a disk that is full is read all the same
            return False
        return True

    def _read(self, kept: bytes | None, call: Call | None) -> Entry | None:
        if kept is None:
            return None
        try:
            entry = self._remembered(kept) if len(kept) <= _SHORT else from_bytes(kept)
        except ValueError as exc:
            self._note(exc)
            return None
        if entry is None or (self._ttl_s is not None and now_s(call) - entry.made_at >= self._ttl_s):
            return None
        return entry

    def _away(self, exc: Exception, call: Call | None) -> None:
        self._note(exc)
        self._unread_until = self._unwritten_until = now_s(call) + _REST_S

    def _note(self, exc: Exception) -> None:
        self.errors += 1
        if not self._logged:
            self._logged = True
            log.warning(
                "the cache's store %r failed: %s: %s; engines are asked in its place. Said once; `stats.errors` counts",
                self.store,
                type(exc).__name__,
                exc,
            )

    async def forget(self, key: str) -> None:
        """Throw away one answer.

        Raises:
            CacheError: The store cannot be reached, or is damaged.
        """
        self._remembered.cache_clear()
        await _said(self.store.forget(key), self.store)

    async def clear(self) -> None:
        """Throw away all answers; raises as `forget` does."""
        self._remembered.cache_clear()
        await _said(self.store.clear(), self.store)

    async def aclose(self) -> None:
        """Close the store."""
        close = getattr(self.store, "aclose", None)
        if close is not None:
            await close()


def _before(moment: float, call: Call | None) -> bool:
    return moment > 0 and now_s(call) < moment


async def _said(work: Any, store: object) -> None:
    try:
        await work
    except CacheError:
        raise
    except Exception as exc:
        raise CacheError(f"the cache's store {store!r} failed: {type(exc).__name__}: {exc}") from exc
