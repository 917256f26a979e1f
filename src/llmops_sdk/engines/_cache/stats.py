"""What a cache has done."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmops_sdk.engines._cache.stores import Store

__all__ = ["CacheStats", "Counts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStats:
    """What a cache has done so far.

    Attributes:
        hits: Answers to the same question, from the store.
        semantic: Answers to a question that means nearly the same.
        shared: Answers that another request was already waiting for.
        misses: Questions for which the engine was asked.
        not_kept: Answers among those that were not kept: incomplete, filtered, failed, or the store failed.
        passed: Requests that were handed on: they have no canonical form, or are not deterministic.
        errors: How often the store or the embedder failed.
        entries: Answers in the store, `None` where it does not know.
        bytes: What they take, `None` where it does not know.
    """

    hits: int
    semantic: int
    shared: int
    misses: int
    not_kept: int
    passed: int
    errors: int
    entries: int | None
    bytes: int | None


class Counts:
    """Counts what a cache does; safe for several threads."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, name: str) -> None:
        """One more."""
        with self._lock:
            self._counts[name] += 1

    def stats(self, store: Store, errors: int) -> CacheStats:
        """All of it, with what the store says of itself."""
        counts = self._counts
        return CacheStats(
            hits=counts["exact"],
            semantic=counts["semantic"],
            shared=counts["shared"],
            misses=counts["misses"],
            not_kept=counts["not_kept"],
            passed=counts["passed"],
            errors=errors,
            entries=getattr(store, "entries", None),
            bytes=getattr(store, "size_bytes", None),
        )
