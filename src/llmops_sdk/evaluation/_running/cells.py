"""What an experiment consists of, and what of it is still to be done: found by key, some cases at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from llmops_sdk.evaluation._running.plan import Arm, Plan, pair_key, run_key
from llmops_sdk.evaluation._running.scoring import Asked
from llmops_sdk.evaluation._running.store import CellRow, KeptCase, KeptRun, Store
from llmops_sdk.pipelines import Result

__all__ = ["Cell", "Group", "Planner"]

_Scored = Mapping[bytes, "dict[str, float | None] | None"]


@dataclass(slots=True, kw_only=True, eq=False)
class Cell:
    """One run of one case by one pipeline, with what is to be done for it.

    Attributes:
        arm: The pipeline.
        row: How it is kept.
        kept: What was there of it; `None` where it has to be run, because it never was, or because it had failed.
        before: US dollars that earlier tries which failed have cost.
        asked: Metrics that have to score it.
        again: Keys of those among them that had failed.
        read: Whether a pairwise metric needs its result.
    """

    arm: Arm
    row: CellRow
    kept: KeptRun | None
    before: Decimal | None = Decimal(0)
    asked: list[Asked]
    again: set[bytes]
    read: bool = False

    @property
    def key(self) -> bytes:
        """Of its run."""
        return self.row[4]

    @property
    def done(self) -> bool:
        """Whether nothing is to be done for it."""
        return self.kept is not None and not self.asked and not self.read


@dataclass(slots=True, kw_only=True, eq=False)
class Group:
    """The cells of one case in one repeat; pairwise metrics compare them.

    Attributes:
        case: The case, with its place.
        cells: All of them, in the order of the pipelines.
        pairs: Label of each pipeline but the base -> pairwise metrics that have to compare it with the base.
        again: Keys of those among them that had failed, by label.
        scores: Label -> name -> value, as far as they are known.
        results: Label -> what pairwise metrics wait for.
        left: Cells that are still to be done.
    """

    case: KeptCase
    cells: tuple[Cell, ...]
    pairs: dict[str, list[Asked]] = field(default_factory=dict)
    again: dict[str, set[bytes]] = field(default_factory=dict)
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    results: dict[str, Result] = field(default_factory=dict)
    left: int = 0


class Planner:
    """Finds out what is to be done.

    Args:
        plan: The experiment.
        arms: Its pipelines.
        asked: Its metrics.
        store: Where the rest is.
        retry_failed: Whether runs and metrics that had failed are tried again.
    """

    def __init__(
        self, plan: Plan, arms: Sequence[Arm], asked: Sequence[Asked], store: Store, *, retry_failed: bool
    ) -> None:
        self._id = plan.id
        self._plan = plan
        self._arms = arms
        self._single = [one for one in asked if not one.metric.pairwise]
        self._pairwise = [one for one in asked if one.metric.pairwise]
        self._store = store
        self._retry_failed = retry_failed

    def groups(self) -> Iterator[list[Group]]:
        """All of them, some at a time, in the order in which they are to be done."""
        for cases in self._store.cases(self._plan.dataset, shuffled=self._plan.sequential):
            places = [(case, repeat) for case in cases for repeat in range(self._plan.repeats)]
            keys = [self._keys(case, repeat) for case, repeat in places]
            runs = self._store.runs([key for of_group in keys for key, _ in of_group])
            scored = self._store.scored([key for of_group in keys for both in of_group for key in both if key])
            yield [
                self._group(case, repeat, of_group, runs, scored)
                for (case, repeat), of_group in zip(places, keys, strict=True)
            ]

    def _keys(self, case: KeptCase, repeat: int) -> list[tuple[bytes, bytes | None]]:
        """Key of the run of each pipeline, and of it and the base's run; `None` for the base."""
        keys = {arm.label: run_key(arm, case.case, case.hash, repeat) for arm in self._arms}
        base = keys[self._plan.base]
        pairwise = bool(self._pairwise)
        return [
            (key, pair_key(base, key) if pairwise and label != self._plan.base else None) for label, key in keys.items()
        ]

    def _group(
        self,
        case: KeptCase,
        repeat: int,
        keys: list[tuple[bytes, bytes | None]],
        runs: Mapping[bytes, KeptRun],
        scored: Mapping[bytes, _Scored],
    ) -> Group:
        cells = tuple(
            self._cell((self._id, case.position, repeat, arm.label, *both), arm, runs, scored)
            for arm, both in zip(self._arms, keys, strict=True)
        )
        group = Group(case=case, cells=cells)
        for cell in cells:
            label, pair = cell.arm.label, cell.row[5]
            found = [scored.get(cell.key, {})]
            if pair is not None:
                known = scored.get(pair, {})
                found.append(known)
                missing = self._missing(self._pairwise, known)
                if missing and not self._given_up(group, cell):
                    group.pairs[label] = missing
                    group.again[label] = {one.key for one in missing if one.key in known}
            group.scores[label] = {
                name: value
                for of_run in found
                for scores in of_run.values()
                for name, value in (scores or {}).items()
                if value is not None
            }
        if group.pairs:
            for cell in cells:
                cell.read = cell.arm.label in group.pairs or cell.arm.label == self._plan.base
        group.left = sum(not cell.done for cell in cells)
        return group

    def _given_up(self, group: Group, cell: Cell) -> bool:
        """Whether one of the two has no answer, and will not be asked for one."""
        base = next(one for one in group.cells if one.arm.label == self._plan.base)
        return any(one.kept is not None and one.kept.failed for one in (base, cell))

    def _cell(
        self, row: CellRow, arm: Arm, runs: Mapping[bytes, KeptRun], scored: Mapping[bytes, _Scored]
    ) -> Cell:
        kept, known = runs.get(row[4]), scored.get(row[4], {})
        if kept is None or (kept.failed and self._retry_failed):
            before = Decimal(0) if kept is None else kept.cost_usd
            return Cell(arm=arm, row=row, kept=None, before=before, asked=self._single, again=set())
        missing = [] if kept.failed else self._missing(self._single, known)
        return Cell(arm=arm, row=row, kept=kept, asked=missing, again={one.key for one in missing if one.key in known})

    def _missing(self, asked: list[Asked], known: _Scored) -> list[Asked]:
        """Those that have not scored, and of those that failed the ones that are tried again."""
        return [
            one for one in asked if (known.get(one.key) is None if self._retry_failed else one.key not in known)
        ]
