"""`Panel`: several judges at the same time, and one score of them."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Iterable, Sequence
from typing import Any

from llmops_sdk.errors import ConfigurationError, JudgementError, LlmopsError
from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation._judges.assessor import Assessor
from llmops_sdk.evaluation._judges.voting import Vote, decided, vote_of
from llmops_sdk.evaluation.metrics import Score
from llmops_sdk.usage import total

__all__ = ["Panel"]


class Panel(Assessor):
    """Has several judges judge each answer, all at once. Small models of different families err differently.

    A judge that fails is named in the score's details, and the others decide; only where all fail, the cell fails.

    Args:
        judges: Two at least, with different names and the same scale; all of single answers, or all pairwise.
        vote: How their values become one: `"majority"` (without one, the value nearest to 0), `"mean"` or `"median"`.
        name: Of its scores.

    Raises:
        ConfigurationError: These judges make no panel.
    """

    def __init__(self, judges: Sequence[Assessor], /, *, vote: Vote = "majority", name: str = "panel") -> None:
        if len(judges) < 2 or not all(isinstance(one, Assessor) for one in judges):
            raise ConfigurationError(f"a panel has two judges at least, not {judges!r}")
        if len({one.name for one in judges}) < len(judges):
            raise ConfigurationError("two judges of the panel have the same name: give each a `name` of its own")
        first = judges[0]
        if any(
            (one.pairwise, one.bounds, one.scale.values) != (first.pairwise, first.bounds, first.scale.values)
            for one in judges
        ):
            raise ConfigurationError("the judges of a panel have the same scale, and are all pairwise, or none is")
        self.name = name
        self._judges = tuple(judges)
        self._vote = vote_of(vote)
        self.scale, self.bounds, self.pairwise = first.scale, first.bounds, first.pairwise
        self.about = "; ".join(f"{one.name}: {one.about}" for one in judges)
        self.unpinned = tuple(dict.fromkeys(why for one in judges for why in one.unpinned))

    @property
    def identity(self) -> Any:
        """All that its judgements depend on."""
        return ["panel", self._vote, {one.name: one.identity for one in self._judges}]

    async def assess(self, case: Case, /, *answers: str) -> Score:
        """Have all judge. See `Assessor.assess`."""
        said = await asyncio.gather(*(one.assess(case, *answers) for one in self._judges), return_exceptions=True)
        scores: dict[str, Score] = {}
        failed: dict[str, str] = {}
        costs = []
        for judge, one in zip(self._judges, said, strict=True):
            if isinstance(one, Score):
                scores[judge.name] = one
            elif isinstance(one, LlmopsError):
                failed[judge.name] = f"{type(one).__name__}: {one}"
            else:
                raise one
            costs.append(getattr(one, "cost_usd", None))
        cost = total(costs)
        if not scores:
            raise JudgementError(
                "all judges failed: " + "; ".join(f"{k}: {v}" for k, v in failed.items()), cost_usd=cost
            )
        values = {name: one.value for name, one in scores.items() if one.value is not None}
        if not values:
            return Score(cost_usd=cost)
        details = {
            "votes": values,
            "labels": {name: scores[name].label for name in values},
            "spread": max(values.values()) - min(values.values()),
            "failed": failed,
            "judges": {name: dict(scores[name].details) for name in values},
        }
        reasons = [f"{name}: {scores[name].explanation}" for name in values if scores[name].explanation]
        return Score(
            value=decided(list(values.values()), self._vote),
            explanation="\n".join(reasons) or None,
            details=details,
            cost_usd=cost,
        )

    def agreement(self, scores: Iterable[Score], /) -> float:
        """Krippendorff's alpha of the judges, from the panel's scores: 1 is full agreement, 0 that of chance.

        For pass and fail and for preferences by names, for grades by their distances. `nan` where fewer than two
        judges have judged, or all have said the same of everything.
        """
        rows = [[one.details["votes"].get(judge.name) for judge in self._judges] for one in scores if one.details]
        statistics: Any = importlib.import_module("llmops_sdk.evaluation.statistics")
        nominal = self.pairwise or self.scale.binary
        return float(statistics.krippendorff_alpha(rows, distance="nominal" if nominal else "interval"))

    def __repr__(self) -> str:
        return f"<Panel {self.name!r}: {', '.join(one.name for one in self._judges)}>"
