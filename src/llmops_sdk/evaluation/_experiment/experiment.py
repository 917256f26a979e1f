"""`Experiment`: what was found, from the file that keeps it."""

from __future__ import annotations

import functools
import importlib
import tempfile
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from llmops_sdk.evaluation._experiment.contrasts import Contrast
from llmops_sdk.evaluation._judges.calibration import Calibration

if TYPE_CHECKING:
    from llmops_sdk.evaluation._running.plan import MetricPlan, Plan
    from llmops_sdk.evaluation._running.store import Store
    from llmops_sdk.evaluation.statistics import Corrected
    from llmops_sdk.evaluation.statistics import Scores as CaseScores

__all__ = ["Experiment"]


class Experiment:
    """What `evaluate` found. `print` it for the verdicts."""

    def __init__(
        self, store: Store, plan: Plan, *, name: str, folder: tempfile.TemporaryDirectory[str] | None = None
    ) -> None:
        self._store = store
        self._plan = plan
        self._folder = folder  # is deleted with this object
        self.name = name

    @property
    def id(self) -> str:
        """32 hexadecimal digits: of the pipelines, metrics, cases and repeats."""
        return self._plan.id

    @functools.cached_property
    def contrasts(self) -> tuple[Contrast, ...]:
        """Each pipeline against the base, by each score; p-values are corrected for their number (Holm)."""
        statistics: Any = importlib.import_module("llmops_sdk.evaluation.statistics")
        base = self._plan.base
        found = [
            (name, label, one, self._scores.get((name, base), {}), self._scores.get((name, label), {}))
            for name, one in self._names.items()
            for label in self._plan.arms
            if label != base
        ]
        compared = [
            statistics.compare(before, after, higher_is_better=one.higher_is_better)
            if before.keys() & after.keys()
            else None
            for _, _, one, before, after in found
        ]
        p_values = statistics.adjusted([one.p_value for one in compared if one is not None])
        corrected = iter(p_values)
        compared = [None if one is None else one.with_p_value(next(corrected)) for one in compared]
        return tuple(
            Contrast(
                score=name,
                base=base,
                new=label,
                comparison=comparison,
                failed=sum(self._failed[name, arm] for arm in (base, label)),
                inapplicable=sum(self._inapplicable[name, arm] for arm in (base, label)),
                corrected=None if comparison is None else _corrected(one, before, after),
            )
            for (name, label, one, before, after), comparison in zip(found, compared, strict=True)
        )

    @functools.cached_property
    def _names(self) -> dict[str, MetricPlan]:
        """Name of a score -> its metric, in the order in which they were given."""
        names = {name for name, _ in self._scores}
        return {
            name: one
            for one in self._plan.metrics
            for name in sorted(names)
            if name == one.name or name.startswith(f"{one.name}.")
        }

    @functools.cached_property
    def _scores(self) -> dict[tuple[str, str], dict[str, list[float]]]:
        """Name and label -> case -> its scores."""
        self._failed: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._inapplicable: defaultdict[tuple[str, str], int] = defaultdict(int)
        found: defaultdict[tuple[str, str], dict[str, list[float]]] = defaultdict(dict)
        for one in self._store.scores(self.id, self._plan.metrics):
            if one.error is not None:
                self._failed[one.name, one.arm] += 1
            elif one.score.value is None:
                self._inapplicable[one.name, one.arm] += 1
            else:
                found[one.name, one.arm].setdefault(one.case, []).append(one.score.value)
        return dict(found)

    def __str__(self) -> str:
        return "\n".join(map(str, self.contrasts))

    def __repr__(self) -> str:
        return f"<Experiment {self.name!r}: {', '.join(self._plan.arms)}>"


def _corrected(one: MetricPlan, before: CaseScores, after: CaseScores) -> Corrected | None:
    if one.calibration is None:
        return None
    return Calibration.from_json(one.calibration).difference(before, after)
