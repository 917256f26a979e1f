"""A map whose rows are asked by an executor: what the checkpoint has is left out, and the order is put right."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from typing import Any

from llmops_sdk.errors import EngineError
from llmops_sdk.pipelines._checkpoint import Checkpoint
from llmops_sdk.pipelines._mapping import Executor, RowSource
from llmops_sdk.pipelines._result import Result

__all__ = ["run_elsewhere"]


async def run_elsewhere(
    executor: Executor,
    pipeline: Any,
    source: RowSource,
    options: Mapping[str, Any],
    checkpoint: Checkpoint | None,
    *,
    ordered: bool,
) -> AsyncGenerator[Result, None]:
    """A result for each row of `source`; all rows are read first."""
    try:
        rows = await source.rest()
    finally:
        source.close()
    results = _asked(executor, pipeline, rows, options, checkpoint)
    if ordered:
        results = _in_order(results, range(len(rows)))
    async with contextlib.aclosing(results):
        async for result in results:
            yield result


async def _asked(
    executor: Executor, pipeline: Any, rows: list[Any], options: Mapping[str, Any], checkpoint: Checkpoint | None
) -> AsyncGenerator[Result, None]:
    keys: dict[int, str] = {}
    to_ask: list[tuple[int, Any]] = []
    for index, row in enumerate(rows):
        if checkpoint is not None:
            keys[index], found = checkpoint.find(index, row)
            if found is not None:
                yield found
                continue
        to_ask.append((index, row))
    if not to_ask:
        return
    results = executor.results(pipeline, to_ask, options)
    given = 0
    try:
        async for result in results:
            given += 1
            if checkpoint is not None:
                assert result.index is not None
                checkpoint.add(keys[result.index], result)
            yield result
    finally:
        close = getattr(results, "aclose", None)
        if close is not None:
            await close()
    if given != len(to_ask):
        raise EngineError(f"{executor!r} gave {given} results for {len(to_ask)} rows")


async def _in_order(results: AsyncIterator[Result], indexes: Iterable[int]) -> AsyncGenerator[Result, None]:
    """`results` in the order of their `indexes`; those that are early wait."""
    waiting: dict[int, Result] = {}
    due = iter(indexes)
    index = next(due, None)
    async for result in results:
        assert result.index is not None
        waiting[result.index] = result
        while index is not None and index in waiting:
            yield waiting.pop(index)
            index = next(due, None)
