"""Runs cells by an executor, such as Ray: all that have to be run first, pipeline by pipeline; scores are made here."""

from __future__ import annotations

import contextlib
from decimal import Decimal
from typing import Any, Literal

from llmops_sdk.evaluation._costs import paid_for
from llmops_sdk.evaluation._running.cells import Planner
from llmops_sdk.evaluation._running.progress import Progress
from llmops_sdk.evaluation._running.store import CellRow
from llmops_sdk.evaluation._running.working import RunOptions
from llmops_sdk.evaluation._running.writing import Writer
from llmops_sdk.pipelines import Executor

__all__ = ["run_elsewhere"]


async def run_elsewhere(
    executor: Literal["ray"] | Executor, planner: Planner, writer: Writer, progress: Progress, options: RunOptions
) -> set[bytes]:
    """Ask for all answers that are not there; each is kept as soon as it has come back. Gives the keys of these runs.

    Memory: the inputs of one pipeline's cases; an executor takes all rows at once.
    """
    made: set[bytes] = set()
    for arm in planner.arms:
        rows: list[tuple[CellRow, Decimal | None]] = []
        inputs: list[Any] = []
        for groups in planner.groups():
            for group in groups:
                for cell in group.cells:
                    if cell.arm is arm and cell.kept is None:
                        rows.append((cell.row, cell.before))
                        inputs.append(group.case.case.input)
        if not inputs:
            continue
        results = arm.pipeline.aimap(
            inputs,
            ordered=False,
            executor=executor,
            concurrency=options.concurrency,
            deadline_s=options.deadline_s,
            tags=options.tags,
            hooks=options.hooks,
        )
        async with contextlib.aclosing(results):
            async for result in results:
                assert result.index is not None
                row, before = rows[result.index]
                cost, estimated = paid_for(result)
                writer.add_run(row, result, None if estimated else cost, before=before)
                progress.cell(result)
                made.add(row[4])
                writer.check()
    writer.flush()
    return made
