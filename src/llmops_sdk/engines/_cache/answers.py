"""What was answered before: to the same question, or to one that means nearly the same."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from llmops_sdk.calls import Call
from llmops_sdk.engines._cache.entries import Entry, Kept
from llmops_sdk.engines._cache.keys import Identity, key_of
from llmops_sdk.engines._cache.semantic import Asked, Index, Semantic, last_text, without_last_text
from llmops_sdk.engines._cache.stores import Shelf
from llmops_sdk.messages import Request

__all__ = ["Answers"]


class Answers:
    """The answers of one engine, in a store that others may share.

    Attributes:
        shelf: The store.
    """

    def __init__(
        self,
        engine: Any,
        shelf: Shelf,
        semantic: Semantic | None,
        *,
        only_deterministic: bool,
        per: Sequence[str],
        identity: str | None,
    ) -> None:
        self.shelf = shelf
        self._index = None if semantic is None else Index(semantic)
        self._embedder = None if semantic is None else semantic.embedder
        self._only_deterministic = only_deterministic
        self._per = tuple(per)
        self._identity = Identity(engine, uuid.uuid4().hex, identity)

    @property
    def errors(self) -> int:
        """How often the store or the embedder failed."""
        return self.shelf.errors + (0 if self._index is None else self._index.errors)

    def key(self, request: Request, tags: Mapping[str, Any] | None = None) -> str | None:
        """Under which key its answer is kept, `None` where none is; `tags` in place of those of the request's run."""
        if self._only_deterministic and request.temperature != 0 and request.seed is None:
            return None
        identity, names = self._identity.now()
        if self._per:
            names = (*names, *self._per)
        if not names:
            return key_of(request, identity, {})
        given = tags if tags is not None else request.call.tags if request.call is not None else {}
        return key_of(request, identity, {name: repr(given.get(name)) for name in names})

    def at_hand(self, key: str, call: Call | None) -> Kept | None:
        """What there is without waiting: nearly all that a hit in memory does."""
        entry = self.shelf.at_hand(key, call)
        return None if entry is None else Kept(entry)

    async def find(self, key: str, request: Request, *, asker: str) -> tuple[Kept | None, Asked | None]:
        """What there is; and the vector of the question, if there was need of it: `asker` has it made."""
        entry = None if self.shelf.at_once else await self.shelf.get(key, request.call)
        if entry is not None:
            return Kept(entry), None
        if self._index is None:
            return None, None
        asked = await self._asked(self._index, request, asker)
        return (None if asked is None else await self._near(self._index, asked, request.call)), asked

    async def _asked(self, index: Index, request: Request, asker: str) -> Asked | None:
        text = last_text(request)
        group = None if text is None else self.key(without_last_text(request))
        vector = None if text is None or group is None else await index.vector(text, request.call, asker)
        return None if group is None or vector is None else Asked(group, vector)

    async def _near(self, index: Index, asked: Asked, call: Call | None) -> Kept | None:
        near = await index.nearest(asked)
        if near is None:
            return None
        entry = await self.shelf.get(near.key, call)
        if entry is None:
            index.drop(near.key)
            return None
        return Kept(entry, "semantic", near.similarity)

    async def keep(self, key: str, entry: Entry, asked: Asked | None, call: Call | None) -> bool:
        """Keep an answer; whether that went well."""
        kept = await self.shelf.put(key, entry, call)
        if kept and self._index is not None and asked is not None:
            self._index.add(key, asked)
        return kept

    async def forget(self, key: str) -> None:
        """Throw away one answer.

        Raises:
            CacheError: The store cannot be reached, or is damaged.
        """
        if self._index is not None:
            self._index.drop(key)
        await self.shelf.forget(key)

    async def clear(self) -> None:
        """Throw away all that is in the store; raises as `forget` does."""
        if self._index is not None:
            self._index.clear()
        await self.shelf.clear()

    async def aclose(self) -> None:
        """Close the store and the embedder."""
        await self.shelf.aclose()
        close = getattr(self._embedder, "aclose", None)
        if close is not None:
            await close()
