"""The prefix cache of a simulated engine."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

__all__ = ["PrefixCache"]


class PrefixCache:
    """Which beginnings of prompts an engine still knows, in tokens; what was not used for longest goes first.

    A beginning is a chain of stretches, each with a key: the system prompt, then the conversation. A stretch can only
    be found when those before it were.

    Args:
        capacity: Tokens that it holds.
        block: Tokens of a block; only whole ones are found.
    """

    __slots__ = ("_block", "_capacity", "_known", "_tokens")

    def __init__(self, capacity: int, block: int) -> None:
        self._capacity = capacity
        self._block = block
        self._known: OrderedDict[str, int] = OrderedDict()
        self._tokens = 0

    def hit(self, stretches: Iterable[tuple[str, int]]) -> int:
        """Tokens at the beginning of a prompt that need not be read. Nothing is changed."""
        found = 0
        for key, tokens in stretches:
            part = min(self._known.get(key, 0), tokens)
            found += part
            if part < tokens:
                break
        return found - found % self._block

    def keep(self, stretches: Iterable[tuple[str, int]]) -> None:
        """Remember them, the latest use first."""
        if not self._capacity:
            return
        known = self._known
        for key, tokens in stretches:
            before = known.get(key, 0)
            if tokens > before:
                known[key] = tokens
                self._tokens += tokens - before
            known.move_to_end(key)
        while self._tokens > self._capacity:
            self._tokens -= known.popitem(last=False)[1]
