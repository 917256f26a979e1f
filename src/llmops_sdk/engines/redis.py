"""`RedisStore`: answers of a cache in Redis or Valkey, for all processes and machines that share it.

Needs the extra `redis`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

from llmops_sdk import loops
from llmops_sdk.engines._base_url import shown_url
from llmops_sdk.errors import CacheError, ConfigurationError, MissingDependencyError
from llmops_sdk.given import is_number

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ImportError as exc:
    raise MissingDependencyError("engines.redis", package="redis", extra="redis") from exc

__all__ = ["RedisStore"]

_T = TypeVar("_T")
_BATCH = 500
_LONGEST_MS = 2**60
"""Redis adds the time of day, and refuses what is over 2**63 then."""


class RedisStore:
    """Keeps answers in Redis or Valkey, each with its expiry.

    How much is held is Redis's own business: set `maxmemory` and `maxmemory-policy allkeys-lru` there, or give the
    cache a `ttl_s`. The client works in threads, so one store serves every event loop and thread of the process.

    When Redis is away or slow the engine is asked, and Redis is left alone for a second; `stats.errors` counts.

    Args:
        url_or_client: `"redis://host:6379/0"` (`rediss:` for TLS, `unix:` for a socket), or a `redis.Redis` or
            `redis.RedisCluster` of your own, not the asyncio one; you close it, and its timeouts count.
        prefix: What the keys begin with.
        timeout_s: Seconds to wait for a connection, and for an answer.

    Attributes:
        entries: `None`: nobody counts.
        size_bytes: `None`: nobody counts.

    Raises:
        ConfigurationError: The URL is none, or the client is an asyncio one.
    """

    entries: int | None = None
    size_bytes: int | None = None

    def __init__(self, url_or_client: Any, *, prefix: str = "llmops:cache:", timeout_s: float = 0.25) -> None:
        if not isinstance(prefix, str) or not prefix or any(one in prefix for one in "*?[]\\"):
            raise ConfigurationError(f"`prefix` is a text without any of * ? [ ] \\, not {prefix!r}")
        if not (is_number(timeout_s) and 0 < timeout_s < math.inf):
            raise ConfigurationError(f"`timeout_s` is a time over 0 seconds, not {timeout_s!r}")
        self._given = url_or_client
        self._prefix = prefix
        self._timeout_s = timeout_s
        self._own = isinstance(url_or_client, str)
        self._client = _client(url_or_client, timeout_s)

    def __reduce__(self) -> tuple[Any, ...]:
        if not self._own:
            raise TypeError("a store with a client of your own does not travel; write `RedisStore(url)`")
        return _again, (self._given, self._prefix, self._timeout_s)

    async def get(self, key: str, /) -> bytes | None:
        """See `Store.get`."""
        value: bytes | str | None = await self._work(lambda: self._text(self._prefix + key))
        return value.encode() if isinstance(value, str) else value  # a client that decodes

    async def put(self, key: str, value: bytes, ttl_s: float | None, /) -> None:
        """See `Store.put`."""
        expires_ms = None if ttl_s is None else int(min(max(ttl_s * 1000, 1), _LONGEST_MS))
        await self._work(lambda: self._client.set(self._prefix + key, value, px=expires_ms))

    async def forget(self, key: str, /) -> None:
        """See `Store.forget`."""
        await self._work(lambda: self._client.unlink(self._prefix + key))

    async def clear(self) -> None:
        """Throw away all that begins with the prefix; in steps, so that Redis goes on serving others."""

        def clear() -> None:
            batch = []
            for key in self._client.scan_iter(match=self._prefix + "*", count=_BATCH):
                batch.append(key)
                if len(batch) >= _BATCH:
                    self._client.unlink(*batch)
                    batch.clear()
            if batch:
                self._client.unlink(*batch)

        await self._work(clear)

    async def aclose(self) -> None:
        """Close the connections; they are made again if the store is used again."""
        if self._own:
            await self._work(self._client.close)

    def _text(self, key: str) -> bytes | str | None:
        try:
            value: bytes | str | None = self._client.get(key)
        except redis.ResponseError as exc:
            if str(exc).startswith("WRONGTYPE"):  # somebody else's value: no answer, and the next one takes its place
                return None
            raise
        return value

    async def _work(self, work: Callable[[], _T]) -> _T:
        try:
            return await loops.in_thread(work)
        except (redis.RedisError, OSError) as exc:
            raise CacheError(f"{self!r}: {type(exc).__name__}: {exc}") from exc

    def __repr__(self) -> str:
        return f"RedisStore({shown_url(self._given) if self._own else type(self._given).__name__!r})"


def _again(url: str, prefix: str, timeout_s: float) -> RedisStore:
    return RedisStore(url, prefix=prefix, timeout_s=timeout_s)


def _client(given: Any, timeout_s: float) -> Any:
    if not isinstance(given, str):
        if type(given).__module__.startswith("redis.asyncio") or not callable(getattr(given, "scan_iter", None)):
            raise ConfigurationError(
                f"{type(given).__name__} is no client for a cache; give the URL, or a `redis.Redis` (not that of "
                "`redis.asyncio`: several event loops share the store)"
            )
        return given
    try:
        return redis.Redis.from_url(
            given,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            # A connection that Redis has closed in the meantime is made anew once; who waits longer asks the engine.
            retry=Retry(NoBackoff(), 1),
        )
    except ValueError as exc:
        raise ConfigurationError(f"{shown_url(given)!r} is no Redis URL ({exc}); write 'redis://host:6379/0'") from exc
