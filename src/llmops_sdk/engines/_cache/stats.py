"""What a cache has done."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CacheStats"]


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
