"""One request of a traffic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["NO_TAGS", "Arrival"]

NO_TAGS: Mapping[str, Any] = {}


class Arrival(NamedTuple):
    """A request that comes.

    `prefixes`: the stretches at the beginning of its prompt that other prompts have, too, with their keys and tokens;
    `afterwards`: the same with what the engine knows when it has answered.
    """

    number: int
    at: float
    prompt_tokens: int
    answer_tokens: int
    prefixes: tuple[tuple[str, int], ...] = ()
    afterwards: tuple[tuple[str, int], ...] = ()
    tags: Mapping[str, Any] = NO_TAGS
