"""Answers to questions that mean the same by the look of their vectors."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import math
import operator
import sys
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

from llmops_sdk import loops
from llmops_sdk.calls import Call
from llmops_sdk.costs import embedded
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.given import is_number
from llmops_sdk.messages import Request

__all__ = ["Asked", "Index", "Near", "Semantic", "last_text", "without_last_text"]

_IN_PASSING = 20_000
"""Numbers that are compared at once, which takes at most a millisecond; more of them are compared in a thread."""

log = logging.getLogger("llmops_sdk")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Semantic:
    """Answer a question with the answer to another one that means nearly the same.

    Vectors do not see everything: "May I take it?" and "May I not take it?" lie close together, and so do two order
    numbers. Measure wrong hits on your own traffic before you use this, and begin with a high threshold.

    Only the last message may differ, a text of the user; all else has to be equal. The vectors are held in memory,
    and every question is compared with each of its group, in a thread where they are many: a thousand vectors of 768
    numbers take about 50 ms of CPU on Python 3.11, and less where there is `math.sumprod` (3.12 and later).

    Attributes:
        embedder: An engine with `aembed`.
        threshold: Least cosine similarity of a hit, `0 < threshold <= 1`. What is right depends on the embedder.
        max_entries: Most vectors held, `>= 1`; the one that was not used for longest goes first.
        timeout_s: Seconds that the embedder may take; then the engine is asked.

    Raises:
        ConfigurationError: The embedder is none, or a number makes no sense.
    """

    embedder: Any
    threshold: float
    max_entries: int = 1000
    timeout_s: float = 2.0

    def __post_init__(self) -> None:
        if isinstance(self.embedder, type) or not callable(getattr(self.embedder, "aembed", None)):
            raise ConfigurationError(f"{self.embedder!r} has no `aembed`; open an engine for embeddings")
        number = isinstance(self.threshold, int | float) and not isinstance(self.threshold, bool)
        if not number or not 0 < self.threshold <= 1:
            raise ConfigurationError(f"`threshold` is a cosine over 0, at most 1, not {self.threshold!r}")
        if isinstance(self.max_entries, bool) or not isinstance(self.max_entries, int) or self.max_entries < 1:
            raise ConfigurationError(f"`max_entries` is a number of vectors, at least 1, not {self.max_entries!r}")
        if not (is_number(self.timeout_s) and 0 < self.timeout_s < math.inf):
            raise ConfigurationError(f"`timeout_s` is a time over 0 seconds, not {self.timeout_s!r}")


class Asked(NamedTuple):
    """A question as the index knows it: what has to be equal, and the vector of the rest."""

    group: str
    vector: list[float]


class Near(NamedTuple):
    """The nearest question: the key of its answer, and the cosine."""

    key: str
    similarity: float


class Index:
    """The vectors of the questions that were answered, by group; safe for several threads.

    Attributes:
        errors: How often the embedder failed.
    """

    def __init__(self, options: Semantic) -> None:
        self._options = options
        self._groups: dict[str, dict[str, list[float]]] = {}
        self._used: OrderedDict[str, str] = OrderedDict()  # key -> group; the one that was used last is last
        self._lock = threading.Lock()
        self.errors = 0
        self._logged = False

    async def vector(self, text: str, call: Call | None, asker: str) -> list[float] | None:
        """The vector of a text, of length 1; `None` when the embedder fails or is slow. `call` pays for it."""
        try:
            async with asyncio.timeout(self._options.timeout_s):
                (vector,) = await embedded(self._options.embedder, [text], call, asker)
            length = math.sqrt(_product(vector, vector))
            if not 0 < length < math.inf:
                raise ValueError("the vector has no direction")
            return [one / length for one in vector]
        except Exception as exc:  # noqa: BLE001  (a cache never breaks a call)
            self.errors += 1
            if not self._logged:
                self._logged = True
                # It may quote the text, in which a guard may yet find something.
                said = type(exc).__name__ if call is not None else f"{type(exc).__name__}: {exc}"
                log.warning(
                    "the cache's embedder failed: %s; engines are asked in its place. Said once; `stats.errors` counts",
                    said,
                )
            return None

    async def nearest(self, asked: Asked) -> Near | None:
        """The nearest question of the same group, if it is near enough."""
        with self._lock:
            held = list(self._groups.get(asked.group, {}).items())
        if len(held) * len(asked.vector) < _IN_PASSING:
            near = _nearest(held, asked.vector)
        else:
            near = await loops.in_thread(lambda: _nearest(held, asked.vector))
        if near is None or near.similarity < self._options.threshold:
            return None
        with self._lock:
            if near.key in self._used:
                self._used.move_to_end(near.key)
        return near

    def add(self, key: str, asked: Asked) -> None:
        """Remember a question whose answer is kept under `key`."""
        with self._lock:
            self._drop(key)
            while len(self._used) >= self._options.max_entries:
                self._drop(next(iter(self._used)))
            self._groups.setdefault(asked.group, {})[key] = asked.vector
            self._used[key] = asked.group

    def drop(self, key: str) -> None:
        """Forget a question: its answer has gone."""
        with self._lock:
            self._drop(key)

    def clear(self) -> None:
        """Forget all questions."""
        with self._lock:
            self._groups.clear()
            self._used.clear()

    def _drop(self, key: str) -> None:
        group = self._used.pop(key, None)
        if group is not None:
            vectors = self._groups[group]
            del vectors[key]
            if not vectors:
                del self._groups[group]


def _nearest(held: Sequence[tuple[str, list[float]]], asked: list[float]) -> Near | None:
    return max(
        (Near(key, _product(vector, asked)) for key, vector in held if len(vector) == len(asked)),
        key=operator.attrgetter("similarity"),
        default=None,
    )


def last_text(request: Request) -> str | None:
    """The text that may differ; `None` where the last message is no text of the user."""
    last = request.messages[-1] if request.messages else None
    if last is None or last.role != "user" or not isinstance(last.content, str) or not last.content:
        return None
    return last.content


def without_last_text(request: Request) -> Request:
    """What has to be equal."""
    last = dataclasses.replace(request.messages[-1], content="", origins=())
    return request.with_messages([*request.messages[:-1], last])


if sys.version_info >= (3, 12):
    _product = math.sumprod
else:

    def _product(a: Sequence[float], b: Sequence[float]) -> float:
        return float(sum(map(operator.mul, a, b)))
