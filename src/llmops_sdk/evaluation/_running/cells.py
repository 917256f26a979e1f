"""What an experiment consists of, and what of it is still to be done: found by key, some cases at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from llmops_sdk.evaluation._running.plan import Arm, Plan, pair_key, run_key
from llmops_sdk.evaluation._running.scoring import Asked
from llmops_sdk.evaluation._running.store import CellRow, KeptCase, KeptRun, Store
from llmops_sdk.pipelines import Result

__all__ = ["Cell", "Group", "Pair", "Planner", "asked_of"]

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
    def given_up(self) -> bool:
        """Whether it has failed and is not tried again."""
        return self.kept is not None and self.kept.failed

    @property
    def done(self) -> bool:
        """Whether nothing is to be done for it."""
        return self.kept is not None and not self.asked and not self.read


class Pair(NamedTuple):
    """A run that is to be compared with the base's.

    Attributes:
        label: Of its pipeline.
        key: Of the two.
        asked: Metrics that have to compare them.
        again: Keys of those among them that had failed.
    """

    label: str
    key: bytes
    asked: list[Asked]
    again: set[bytes]


@dataclass(slots=True, kw_only=True, eq=False)
class Group:
    """The cells of one case in one repeat; pairwise metrics compare them.

    Attributes:
        case: The case, with its place.
        cells: All of them, in the order of the pipelines.
        pairs: Those of them that are to be compared.
        scores: Label -> name -> value, as far as they are known.
        results: Label -> what pairwise metrics wait for.
        left: Cells that are still to be done.
    """

    case: KeptCase
    cells: tuple[Cell, ...]
    pairs: list[Pair] = field(default_factory=list)
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
        retry_runs: Whether runs that had failed are tried again.
        retry_scores: Whether metrics that had failed are.
    """

    def __init__(
        self,
        plan: Plan,
        arms: Sequence[Arm],
        asked: Sequence[Asked],
        store: Store,
        *,
        retry_runs: bool,
        retry_scores: bool,
    ) -> None:
        self.arms = arms
        self.base = plan.base
        self._id = plan.id
        self._plan = plan
        self._single = [one for one in asked if not one.metric.pairwise]
        self._pairwise = [one for one in asked if one.metric.pairwise]
        self._store = store
        self._retry_runs = retry_runs
        self._retry_scores = retry_scores

    def groups(self) -> Iterator[list[Group]]:
        """All of them, some at a time, in the order in which they are to be done."""
        for cases in self._store.cases(self._plan.dataset, shuffled=self._plan.sequential):
            places = [(case, repeat) for case in cases for repeat in range(self._plan.repeats)]
            keys = [
                {arm.label: run_key(arm, case.case, case.hash, repeat) for arm in self.arms} for case, repeat in places
            ]
            pairs = [self._pairs(of_group) for of_group in keys]
            runs = self._store.runs([key for of_group in keys for key in of_group.values()])
            scored = self._store.scored([key for of_group in (*keys, *pairs) for key in of_group.values()])
            yield [
                self._group(place, of_group, of_pairs, runs, scored)
                for place, of_group, of_pairs in zip(places, keys, pairs, strict=True)
            ]

    def _pairs(self, keys: Mapping[str, bytes]) -> dict[str, bytes]:
        if not self._pairwise:
            return {}
        return {label: pair_key(keys[self.base], key) for label, key in keys.items() if label != self.base}

    def _group(
        self,
        place: tuple[KeptCase, int],
        keys: Mapping[str, bytes],
        pairs: Mapping[str, bytes],
        runs: Mapping[bytes, KeptRun],
        scored: Mapping[bytes, _Scored],
    ) -> Group:
        case, repeat = place
        cells = {
            arm.label: self._cell((self._id, case.position, repeat, arm.label, keys[arm.label]), arm, runs, scored)
            for arm in self.arms
        }
        group = Group(case=case, cells=tuple(cells.values()))
        for label, cell in cells.items():
            group.scores[label] = {} if cell.kept is None else _values(scored.get(cell.key, {}))
        base = cells[self.base]
        for label, key in pairs.items():
            known, cell = scored.get(key, {}), cells[label]
            group.scores[label] |= _values(known)
            missing = self._missing(self._pairwise, known)
            if missing and not base.given_up and not cell.given_up:
                group.pairs.append(Pair(label, key, missing, {one.key for one in missing if one.key in known}))
                base.read = cell.read = True
        group.left = sum(not cell.done for cell in group.cells)
        return group

    def _cell(self, row: CellRow, arm: Arm, runs: Mapping[bytes, KeptRun], scored: Mapping[bytes, _Scored]) -> Cell:
        kept, known = runs.get(row[4]), scored.get(row[4], {})
        if kept is None or (kept.failed and self._retry_runs):
            before = Decimal(0) if kept is None else kept.cost_usd
            return Cell(arm=arm, row=row, kept=None, before=before, asked=self._single, again=set())
        missing = self._missing(asked_of(self._single, failed=kept.failed), known)
        return Cell(arm=arm, row=row, kept=kept, asked=missing, again={one.key for one in missing if one.key in known})

    def _missing(self, asked: list[Asked], known: _Scored) -> list[Asked]:
        """Those that have not scored, and of those that failed the ones that are tried again."""
        return [one for one in asked if (known.get(one.key) is None if self._retry_scores else one.key not in known)]


def asked_of(asked: list[Asked], *, failed: bool) -> list[Asked]:
    """Those that are called for a run: few are for one that failed."""
    return [one for one in asked if one.metric.scores_failures] if failed else asked


def _values(scored: _Scored) -> dict[str, float]:
    """The scores that are numbers, by name."""
    return {name: value for scores in scored.values() for name, value in (scores or {}).items() if value is not None}
