"""An experiment as a data frame."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from llmops_sdk.errors import MissingDependencyError

if TYPE_CHECKING:
    from llmops_sdk.evaluation._running.plan import Plan
    from llmops_sdk.evaluation._running.reading import Cell, Reading

__all__ = ["frame"]

_COLUMNS = (
    "case", "cluster", "tags", "arm", "repeat", "outcome", "seconds", "cost_usd", "score", "value", "label",
    "explanation", "state", "error", "judging_usd",
)  # fmt: skip


def frame(reading: Reading, plan: Plan) -> Any:
    """One row for each cell and score, and one for each cell that has no score at all.

    Raises:
        MissingDependencyError: pandas is not installed.
    """
    try:
        pandas = importlib.import_module("pandas")
    except ImportError as exc:
        raise MissingDependencyError("`to_pandas()`", package="pandas", extra="pandas") from exc
    cases = {position: (cluster, ", ".join(tags)) for position, _, cluster, tags in reading.cases()}
    found: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
    for cell in reading.cells():
        cluster, tags = cases[cell.position]
        cost = None if cell.cost_usd is None else float(cell.cost_usd)
        outcome = "failed" if cell.error is not None else "blocked" if cell.record.get("blocked") else "ok"
        about = (cell.case, cluster, tags, cell.arm, cell.repeat, outcome, cell.seconds, cost)
        for row in _scores(cell):
            for name, value in zip(_COLUMNS, (*about, *row), strict=True):
                found[name].append(value)
    made = pandas.DataFrame(found)
    for name in ("seconds", "cost_usd", "value", "judging_usd"):
        made[name] = made[name].astype("float64")  # what is missing is NaN, also where all of it is
    made["arm"] = pandas.Categorical(made["arm"], categories=list(plan.arms))
    for name in ("outcome", "score", "state"):
        made[name] = made[name].astype("category")
    return made


def _scores(cell: Cell) -> list[tuple[Any, ...]]:
    if not cell.scores:
        state = "failed" if cell.error is not None else "missing"
        return [(None, None, None, None, state, cell.error, None)]
    return [
        (
            one.name,
            one.score.value,
            one.score.label,
            one.score.explanation,
            "failed" if one.error is not None else "not applicable" if one.score.value is None else "scored",
            one.error,
            None if one.score.cost_usd is None else float(one.score.cost_usd),
        )
        for one in cell.scores
    ]
