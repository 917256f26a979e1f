"""The judgement: the winner of the search against the original, on cases that the search never saw."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmops_sdk.errors import BudgetExceeded
from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation._experiment import Contrast, Experiment
from llmops_sdk.evaluation._optimising.halving import Halving
from llmops_sdk.evaluation._optimising.trying import ORIGINAL, Tried, Trying
from llmops_sdk.prompts import Prompt

if TYPE_CHECKING:
    from llmops_sdk.evaluation.statistics import Verdict

__all__ = ["Judgement", "judge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the unseen cases say; the fields are those of `Optimisation`."""

    verdict: Verdict
    why: str
    winner: str | None = None
    contrast: Contrast | None = None
    experiment: Experiment | None = None
    ended: str | None = None


async def judge(
    original: Prompt, candidates: Mapping[str, Prompt], halving: Halving, trying: Trying, cases: Sequence[Case]
) -> Judgement:
    """Judge the winner, where there is one.

    Args:
        original: The prompt that is there.
        candidates: Label -> prompt, of all that were tried.
        halving: What the search has found.
        trying: Runs them.
        cases: The cases that judge; with too small a budget the first ones of them, in their own order.
    """
    if not candidates:
        return Judgement(verdict="cannot tell", why="cannot tell: there was no candidate to try")
    if not halving.rungs:
        return Judgement(verdict="cannot tell", why="cannot tell: the budget ended before any candidate was tried")
    label = _winner(halving, higher=trying.metric.higher_is_better)
    if label is None:
        why = "cannot tell: no candidate did better than the original in the search, so none was judged"
        return Judgement(verdict="cannot tell", why=why)
    fits = trying.purse.affordable(cases, (ORIGINAL, label), reserved=True)
    ended = None if fits == len(cases) else f"the budget reaches for {fits} of the {len(cases)} cases that judge"
    try:
        prompts = {ORIGINAL: original, label: candidates[label]}
        if not fits:
            return _unjudged(label, ended)
        tried = await trying.on(prompts, cases[:fits], what="judgement", reserved=True)
        if not tried.complete:
            ended = f"the budget was used up in the midst of the judgement on {fits} of {len(cases)} cases"
    except BudgetExceeded:
        return _unjudged(label, f"the budget does not reach for the judgement on {fits} cases")
    contrast = next((one for one in tried.experiment.contrasts if one.score == trying.metric.name), None)
    verdict, why = _verdict(contrast, tried, label)
    return Judgement(
        verdict=verdict, why=why, winner=label, contrast=contrast, experiment=tried.experiment, ended=ended
    )


def _winner(halving: Halving, *, higher: bool) -> str | None:
    for label in halving.order:
        difference = halving.standings[label].difference
        if not math.isnan(difference) and (difference > 0 if higher else difference < 0):
            return label
    return None


def _unjudged(label: str, ended: str | None) -> Judgement:
    why = f"cannot tell: {label} won the search, and the budget did not reach for its judgement"
    return Judgement(verdict="cannot tell", why=why, winner=label, ended=ended)


def _verdict(contrast: Contrast | None, tried: Tried, label: str) -> tuple[Verdict, str]:
    if contrast is None or contrast.comparison is None:
        return "cannot tell", f"cannot tell: no case has a score of both {label} and the original"
    comparison = contrast.comparison
    more = tried.unscored[label] - tried.unscored[ORIGINAL]
    said = f"{label} against the original: {comparison}"
    if any(tried.unscored.values()):
        said += f"; without a score: {tried.unscored[label]} cases of it, {tried.unscored[ORIGINAL]} of the original"
    if comparison.verdict == "better" and more > 0:
        # On cases that both have scored it is better; where it has failed nobody knows.
        return "cannot tell", f"cannot tell: {said}, but it leaves {more} more cases without a score"
    return comparison.verdict, said
