"""Successive halving: many prompts on few cases, fewer prompts on more.

Source: Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", AISTATS 2016.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmops_sdk.errors import BudgetExceeded
from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation._optimising.trying import ORIGINAL, Tried, Trying
from llmops_sdk.prompts import Prompt

__all__ = ["Halving", "Standing", "halve", "rung_sizes"]

_FEWEST = 6
"""Cases of the first rung: fewer say nothing."""
_MORE_UNSCORED = 0.1
"""A candidate that leaves this share of the cases more without a score than the original does is out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a candidate stood on the largest rung that it was tried on.

    Attributes:
        cases: Cases of the rung that both it and the original have scored.
        score: Its mean score on them.
        difference: That, less the mean score of the original on them.
        unscored: Cases of the rung that it has no score of.
        fate: What became of it, in words.
    """

    cases: int
    score: float
    difference: float
    unscored: int
    fate: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Halving:
    """What the rungs have found.

    Attributes:
        standings: Label -> how that candidate stood.
        order: Labels of the candidates that were left at the end, the best first.
        rungs: Sizes of the rungs that were finished.
        ended: Why it ended before the last rung; `None` where it did not.
    """

    standings: Mapping[str, Standing]
    order: tuple[str, ...]
    rungs: tuple[int, ...]
    ended: str | None


def rung_sizes(candidates: int, cases: int) -> tuple[int, ...]:
    """Cases of each rung: twice as many from one to the next, the last one all of them.

    Example:
        >>> rung_sizes(8, 60), rung_sizes(8, 10), rung_sizes(1, 60)
        ((15, 30, 60), (6, 10), (60,))
    """
    rungs = max(math.ceil(math.log2(max(candidates, 1))), 1)
    sizes = (max(cases >> (rungs - 1 - rung), min(_FEWEST, cases)) for rung in range(rungs))
    return tuple(sorted(set(sizes)))


async def halve(trying: Trying, original: Prompt, candidates: Mapping[str, Prompt], cases: Sequence[Case]) -> Halving:
    """Try candidates on growing numbers of cases, always the first ones, and keep the better half each time.

    Args:
        trying: Runs them.
        original: The prompt that is there: it takes part in every rung, since differences to it are what counts.
        candidates: Label -> prompt.
        cases: The cases, in the order in which rungs take them.
    """
    standings: dict[str, Standing] = {}
    done: list[int] = []
    left = _affordable(trying, tuple(candidates), cases[:_FEWEST])
    fewer = (
        f"the budget reaches for {len(left)} of {len(candidates)} candidates" if len(left) < len(candidates) else None
    )
    if not left:
        return Halving(standings=standings, order=(), rungs=(), ended=fewer)
    for number, size in enumerate(sizes := rung_sizes(len(left), len(cases))):
        fits = trying.purse.affordable(cases[:size], (ORIGINAL, *left))
        short = f"the budget does not reach for {len(left)} candidates on {size} cases"
        if fits < min(size, _FEWEST) or (done and fits <= done[-1]):
            return Halving(standings=standings, order=left, rungs=tuple(done), ended=short)
        prompts = {ORIGINAL: original, **{label: candidates[label] for label in left}}
        try:
            tried = await trying.on(prompts, cases[:fits], what=f"trials {number + 1}")
        except BudgetExceeded:
            return Halving(standings=standings, order=left, rungs=tuple(done), ended=short)
        if not tried.complete and done:  # the rung before has all of its cases, and this one has not
            return Halving(standings=standings, order=left, rungs=tuple(done), ended=short)
        done.append(fits)
        is_last = number + 1 == len(sizes) or fits < size or not tried.complete
        # Of equal ones the shortest wins; until then those go on that change more, which were made later.
        ties = {label: _length(candidates[label]) if is_last else -place for place, label in enumerate(candidates)}
        ranked = _ranked(tried, {label: ties[label] for label in left}, fits, higher=trying.metric.higher_is_better)
        kept = [label for label, standing in ranked.items() if not standing.fate]
        if not is_last:
            kept = kept[: math.ceil(len(left) / 2)]
        standings |= {label: _with_fate(standing, label in kept, fits) for label, standing in ranked.items()}
        left = tuple(kept)
        if fits < size or not tried.complete:
            return Halving(standings=standings, order=left, rungs=tuple(done), ended=short)
        if not left:
            break
    return Halving(standings=standings, order=left, rungs=tuple(done), ended=fewer)


def _affordable(trying: Trying, labels: tuple[str, ...], cases: Sequence[Case]) -> tuple[str, ...]:
    """As many as the fewest cases can be paid for, of each kind some."""
    for number in range(len(labels), 0, -1):
        spread = tuple(labels[place * len(labels) // number] for place in range(number))
        if trying.purse.affordable(cases, (ORIGINAL, *spread)) == len(cases):
            return spread
    return ()


def _ranked(tried: Tried, ties: Mapping[str, int], cases: int, *, higher: bool) -> dict[str, Standing]:
    """The candidates, the best first; of equal ones that with the smallest number in `ties`."""
    before = tried.values(ORIGINAL)
    found = {label: _standing(tried, label, before, cases) for label in ties}
    sign = -1 if higher else 1

    def rank(label: str) -> tuple[bool, float, int]:
        one = found[label]
        return bool(one.fate), math.inf if math.isnan(one.difference) else sign * one.difference, ties[label]

    return {label: found[label] for label in sorted(ties, key=rank)}


def _standing(tried: Tried, label: str, before: Mapping[str, float], cases: int) -> Standing:
    after = tried.values(label)
    both = [case for case in before if case in after]
    unscored = tried.unscored[label]
    fate = ""
    if not both:
        fate = "out: no case has a score of it and of the original"
    elif unscored - tried.unscored[ORIGINAL] > _MORE_UNSCORED * cases:
        fate = f"out: {unscored} of {cases} cases have no score"
    score = statistics.fmean(after[case] for case in both) if both else math.nan
    base = statistics.fmean(before[case] for case in both) if both else math.nan
    return Standing(cases=len(both), score=score, difference=score - base, unscored=unscored, fate=fate)


def _with_fate(one: Standing, kept: bool, cases: int) -> Standing:
    fate = one.fate or ("left at the end" if kept else f"out after {cases} cases")
    return Standing(cases=one.cases, score=one.score, difference=one.difference, unscored=one.unscored, fate=fate)


def _length(prompt: Prompt) -> int:
    examples = prompt.content.examples
    return len(prompt.body) + (0 if examples is None else len(str(examples.plain())))
