"""How near answer and reference are in meaning: the cosine of their embeddings."""

from __future__ import annotations

import asyncio
import math
import operator
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, TypeAlias, Unpack

from llmops_sdk.calls import Call
from llmops_sdk.costs import PriceTable, embedded
from llmops_sdk.errors import ConfigurationError, EvaluationError
from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation.metrics._guarding import cost_of_asides
from llmops_sdk.evaluation.metrics._metric import Metric, Score
from llmops_sdk.evaluation.metrics._texts import Reading, ReadingOptions
from llmops_sdk.pipelines import Result
from llmops_sdk.usage import EXACT

__all__ = ["EmbeddingSimilarity"]

_Vector: TypeAlias = "array[float]"
_Embedded: TypeAlias = "tuple[_Vector, Decimal | None]"
_CACHED = 10_000
"""Vectors that are kept, the latest ones: some 15 MB for those of 384 numbers."""


class EmbeddingSimilarity(Metric):
    """Cosine of the embeddings of answer and reference, -1 to 1; of several acceptable ones the nearest counts.

    What is asked at the same time goes to the engine together, and each text once: references come again with each
    pipeline and repeat. What that costs is part of the score of whoever asked first. An empty answer is near to
    nothing: 0. A cosine says little by itself, and differs from model to model: compare it between pipelines.

    Args:
        engine: An engine with `aembed`.
        batch_size: Most texts in one asking, `>= 1`.
        prices: What tells the cost; by default the table that comes with the library.
        options: See `ReadingOptions`.

    Raises:
        ConfigurationError: The engine embeds no texts, or an option is unknown or makes no sense.

    Example:
        >>> import asyncio
        >>> from llmops_sdk import Engine, Scripted
        >>> from llmops_sdk.evaluation import Case
        >>> class Letters(Engine):
        ...     async def aembed(self, texts):
        ...         return [[float(text.count(letter)) for letter in "abc"] for text in texts]
        >>> near = EmbeddingSimilarity(Letters())
        >>> score = asyncio.run(near(Case(input="?", expected="ab"), ("?" | Scripted("abba")).run()))
        >>> round(score.value, 6)
        1.0
    """

    bounds = (-1.0, 1.0)

    def __init__(
        self,
        engine: Any,
        /,
        *,
        batch_size: int = 64,
        prices: PriceTable | None = None,
        **options: Unpack[ReadingOptions],
    ) -> None:
        if isinstance(engine, type) or not callable(getattr(engine, "aembed", None)):
            raise ConfigurationError(f"{engine!r} has no `aembed`: open an engine for embeddings")
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
            raise ConfigurationError(f"`batch_size` is a whole number from 1 on, not {batch_size!r}")
        if unknown := options.keys() - ReadingOptions.__annotations__.keys():
            raise ConfigurationError(f"EmbeddingSimilarity has no option {min(unknown)!r}")
        self.name = options.get("name", "embedding_similarity")
        self._engine = engine
        self._reading = Reading(options)
        self._embedder = _Embedder(engine, batch_size, prices)

    def configuration(self) -> dict[str, object]:
        """What its scores depend on."""
        return {**self._reading.configuration(), "engine": self._engine}

    async def __call__(self, case: Case, result: Result, /) -> Score | None:
        accepted = [text for text in self._reading.acceptable(case) if text.strip()]
        if not accepted:
            return None
        said = self._reading.said(result)
        if not said.strip():
            return Score(value=0.0, explanation="an empty answer")
        (vector, cost), *others = await self._embedder.embed([said, *accepted])
        for _, more in others:
            cost = None if cost is None or more is None else EXACT.add(cost, more)
        return Score(value=max(_cosine(vector, other) for other, _ in others), cost_usd=cost)


def _cosine(one: _Vector, other: _Vector) -> float:
    """Of two vectors of length 1."""
    product: float = sum(map(operator.mul, one, other))
    return min(max(product, -1.0), 1.0)


class _Embedder:
    """Asks for vectors: together what comes together, and each text once."""

    def __init__(self, engine: Any, batch_size: int, prices: PriceTable | None) -> None:
        self._engine = engine
        self._batch_size = batch_size
        self._prices = prices
        self._begin()

    def _begin(self) -> None:
        self._kept: OrderedDict[str, _Vector] = OrderedDict()
        self._under_way: dict[str, asyncio.Future[_Embedded]] = {}
        self._waiting: list[str] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def __getstate__(self) -> dict[str, Any]:
        return {"engine": self._engine, "batch_size": self._batch_size, "prices": self._prices}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._engine, self._batch_size, self._prices = state["engine"], state["batch_size"], state["prices"]
        self._begin()

    async def embed(self, texts: Sequence[str]) -> list[_Embedded]:
        """The vectors, of length 1, and what each one cost; what was there already costs nothing."""
        found: dict[str, _Embedded] = {}
        asked: dict[str, asyncio.Future[_Embedded]] = {}
        mine: set[str] = set()
        for text in dict.fromkeys(texts):
            if (vector := self._kept.get(text)) is not None:
                self._kept.move_to_end(text)
                found[text] = vector, Decimal(0)
            else:
                asked[text], first = self._asked(text)
                mine |= {text} if first else set()
        for text, future in asked.items():
            unit, cost = await asyncio.shield(future)  # others wait for it, too
            found[text] = unit, cost if text in mine else Decimal(0)
        return [found[text] for text in texts]

    def _asked(self, text: str) -> tuple[asyncio.Future[_Embedded], bool]:
        """The vector to come, and whether nobody had asked for it."""
        loop = asyncio.get_running_loop()
        future = self._under_way.get(text)
        if future is not None and future.get_loop() is loop:
            return future, False
        future = self._under_way[text] = loop.create_future()
        future.add_done_callback(_seen)
        self._waiting.append(text)
        if len(self._waiting) == 1:  # whatever else is asked before the loop comes round goes along
            loop.call_soon(self._send)
        return future, True

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        for start in range(0, len(waiting), self._batch_size):
            batch = waiting[start : start + self._batch_size]
            task = asyncio.get_running_loop().create_task(self._ask(batch, [self._under_way[one] for one in batch]))
            self._tasks.add(task)  # the loop itself holds tasks weakly
            task.add_done_callback(self._tasks.discard)

    async def _ask(self, texts: Sequence[str], futures: Sequence[asyncio.Future[_Embedded]]) -> None:
        try:
            call = Call(prices=self._prices or PriceTable.default())
            vectors = await embedded(self._engine, texts, call, "embedding_similarity")
            if len(vectors) != len(texts):
                raise EvaluationError(f"the engine gave {len(vectors)} vectors for {len(texts)} texts")
            cost = cost_of_asides(call)
            share = None if cost is None else EXACT.divide(cost, Decimal(len(texts)))
            units = [_unit(vector) for vector in vectors]
        except BaseException as error:
            told = error if isinstance(error, Exception) else EvaluationError("the embedding was stopped")
            for future in futures:
                if not future.done():
                    future.set_exception(told)
            if told is not error:
                raise
        else:
            for text, future, unit in zip(texts, futures, units, strict=True):
                self._keep(text, unit)
                if not future.done():
                    future.set_result((unit, share))
        finally:
            for text, future in zip(texts, futures, strict=True):
                if self._under_way.get(text) is future:
                    del self._under_way[text]

    def _keep(self, text: str, unit: _Vector) -> None:
        self._kept[text] = unit
        if len(self._kept) > _CACHED:
            self._kept.popitem(last=False)


def _seen(future: asyncio.Future[_Embedded]) -> None:
    """Whoever waited may have been stopped: then nobody else looks at the error."""
    if not future.cancelled():
        future.exception()


def _unit(vector: Sequence[float]) -> _Vector:
    length = math.hypot(*vector)
    if not 0 < length < math.inf:
        raise EvaluationError("the engine gave a vector without a direction: all zeros, or not finite")
    return array("f", (value / length for value in vector))
