"""The data of a report's case browser, within a bound of bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmops_sdk.evaluation._experiment.words import share
from llmops_sdk.evaluation._report.choosing import chosen
from llmops_sdk.evaluation._report.texts import as_text, cut, script_json, visible

if TYPE_CHECKING:
    from llmops_sdk.evaluation._cases import Case
    from llmops_sdk.evaluation._experiment.columns import Columns
    from llmops_sdk.evaluation._running.plan import Plan
    from llmops_sdk.evaluation._running.reading import Cell, Reading

__all__ = ["MOST_BYTES", "Browsed", "browsed"]

MOST_BYTES = 24_000_000
"""Of all texts of a report."""
_AT_ONCE = 50
"""Cases that are in memory at once."""
_SHORT = 2_000
_MOST_STEPS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Browsed:
    """What the browser is given.

    Attributes:
        json: For the script.
        cases: Number of the cases in it.
        full: Whether more were wanted, but the bound was reached.
    """

    json: str
    cases: int
    full: bool


def browsed(reading: Reading, columns: Columns, plan: Plan, most: int) -> Browsed:
    """The cases that are shown one by one."""
    arms, names = list(plan.arms), list(columns.names)
    tags = list(columns.tags)
    numbers = {tag: number for number, tag in enumerate(tags)}
    wanted = chosen(columns, plan, most)
    kept: list[str] = []
    size = 0
    for case, cells in _in_order(reading, wanted):
        text = script_json(_case(case, cells, arms, names, numbers))
        size += len(text.encode())
        if size > MOST_BYTES and kept:
            break
        kept.append(text)
    head = script_json(
        {
            "arms": [visible(label) for label in arms],
            "base": arms.index(plan.base),
            "scores": [
                {
                    "name": visible(name),
                    "share": share(one.bounds, one.unit),
                    "unit": visible(one.unit),
                    "higher": one.higher_is_better,
                    "pairwise": one.pairwise,
                }
                for name, one in columns.names.items()
            ],
            "tags": [visible(tag) for tag in tags],
        }
    )
    return Browsed(json=f'{head[:-1]},"cases":[{",".join(kept)}]}}', cases=len(kept), full=len(kept) < len(wanted))


def _in_order(reading: Reading, positions: Sequence[int]) -> Iterator[tuple[Case, list[Cell]]]:
    for start in range(0, len(positions), _AT_ONCE):
        some = positions[start : start + _AT_ONCE]
        cases = reading.contents(some)
        cells: dict[int, list[Cell]] = {position: [] for position in some}
        for cell in reading.cells(some):
            cells[cell.position].append(cell)
        yield from ((cases[position], cells[position]) for position in some)


def _case(case: Case, cells: list[Cell], arms: list[str], names: list[str], tags: Mapping[str, int]) -> dict[str, Any]:
    return {
        "id": cut(case.id, _SHORT),
        "tags": [tags[tag] for tag in case.tags if tag in tags],
        "cluster": None if case.cluster is None else cut(case.cluster, _SHORT),
        "input": cut(as_text(case.input)),
        "expected": None if case.expected is None else cut(as_text(case.expected)),
        "metadata": cut(as_text(dict(case.metadata)), _SHORT) if case.metadata else None,
        "runs": [[_run(cell, names) for cell in cells if cell.arm == label] for label in arms],
    }


def _run(cell: Cell, names: list[str]) -> dict[str, Any]:
    scores: list[list[Any]] = []
    for one in cell.scores:
        error = None if one.error is None else cut(one.error)
        # A metric that failed may give several scores: the error stands with each of them.
        for name in [one.name] if one.name in names else [name for name in names if name.startswith(f"{one.name}.")]:
            said = one.score
            scores.append([names.index(name), said.value, _maybe(said.label), _maybe(said.explanation), error])
    return {
        "text": cut(cell.text),
        "error": None if cell.error is None else cut(cell.error),
        "blocked": bool(cell.record.get("blocked")),
        "seconds": cell.seconds,
        "cost": None if cell.cost_usd is None else f"{cell.cost_usd:f}",
        "route": visible(" → ".join(str(one.get("model") or one["engine"]) for one in cell.record.get("attempts", ()))),
        "trace": _trace(cell.record),
        "scores": sorted(scores, key=lambda one: one[0]),
    }


def _maybe(text: str | None) -> str | None:
    return None if text is None else cut(text)


def _trace(record: Mapping[str, Any]) -> list[str]:
    """What happened, in order, in a line each."""
    steps = [_attempt(one, "asked") for one in record.get("attempts", ())]
    steps += [_attempt(one, f"{one.get('asker', 'a guard')} asked") for one in record.get("asides", ())]
    for one in record.get("verdicts", ()):
        said = "skipped" if one.get("skipped") else str(one.get("action", "allow"))
        reason = f": {one['reason']}" if one.get("reason") else ""
        steps.append((float("inf"), f"guard {one.get('guard')} ({one.get('stage')}): {said}{reason}"))
    error = record.get("error")
    if error is not None:
        steps.append((float("inf"), f"failed: {error['class']}: {error['message']}"))
    steps.sort(key=lambda step: step[0])
    return [cut(text, _SHORT) for _, text in steps[:_MOST_STEPS]]


def _attempt(one: Mapping[str, Any], asked: str) -> tuple[float, str]:
    model = f", {one['model']}" if one.get("model") else ""
    said = f"{one['started']:.3f} to {one['ended']:.3f} s: {asked} {one['engine']}{model}"
    return one["started"], said + (f": {one['error']}" if one.get("error") else "")
