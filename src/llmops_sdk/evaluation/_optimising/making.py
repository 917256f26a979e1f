"""Candidates: the prompt with other instructions, with other examples, or with both."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from llmops_sdk.errors import BudgetExceeded, ConfigurationError, EvaluationError, PromptError
from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation._optimising.checking import Refused, checked
from llmops_sdk.evaluation._optimising.demonstrations import (
    Demonstration,
    demonstrations_of,
    example_sets,
    is_right,
)
from llmops_sdk.evaluation._optimising.outcome import Candidate
from llmops_sdk.evaluation._optimising.proposals import (
    PROPOSER,
    UsableProposal,
    description_of,
    failures_of,
    requests_for,
)
from llmops_sdk.evaluation._optimising.purse import WRITER
from llmops_sdk.evaluation._optimising.trying import ORIGINAL, Trying
from llmops_sdk.evaluation.metrics import Score
from llmops_sdk.pipelines import Pipeline, Result
from llmops_sdk.prompts import Prompt

__all__ = ["Made", "make_candidates"]

_PROBED = 4
"""Training cases that are run to learn what a run costs."""
_UNPAID = "the budget did not reach for it"
_SHARE = Decimal("0.25")
"""Of what the search may spend then, for the answers to training cases, and for proposals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """The candidates, and what the budget did not reach for."""

    candidates: tuple[Candidate, ...]
    ended: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Learnt:
    """How the prompt does on training cases: those that were run, what came, its scores, and whether it was right."""

    cases: Sequence[Case]
    answers: Mapping[str, Result]
    scores: Mapping[str, Score]
    right: Mapping[str, bool]
    ended: str | None


async def make_candidates(
    prompt: Prompt,
    train: Sequence[Case],
    trying: Trying,
    write: Callable[[Prompt], Pipeline],
    *,
    count: int,
    shots: int,
    seed: int,
) -> Made:
    """Make `count` candidates: a third of each kind, where each kind is possible.

    Args:
        prompt: The prompt that is there.
        train: All that candidates are made from.
        trying: Runs the prompt.
        write: Makes the pipeline that proposes instructions of the prompt for that.
        count: How many.
        shots: Most examples of a candidate; 0 for none.
        seed: Draws.
    """
    learnt = await _learn(prompt, train, trying)
    of_kind = count if not shots else math.ceil(count / 3)
    proposed, ended = await _proposed(prompt, learnt, trying, write, count=of_kind, seed=seed)
    sets: list[tuple[Demonstration, ...]] = []
    if shots and count > of_kind:
        shown = await demonstrations_of(prompt, learnt.cases, learnt.answers, learnt.right)
        most = max(min(of_kind, count - of_kind), 1)
        sets = example_sets(shown, shots=shots, count=most, seed=seed)
    found = [*proposed, *(_with_examples(prompt, chosen, f"examples {n}") for n, chosen in enumerate(sets, 1))]
    usable = [each for each in _without_twins(proposed) if each.prompt is not None]
    pairs = [(one, n) for shift in range(len(sets)) for one, n in _paired(usable, len(sets), shift)]
    for one, n in pairs[: max(count - len(found), 0)]:
        assert one.prompt is not None
        both = _with_examples(one.prompt, sets[n], f"{one.label} + examples {n + 1}", both=True)
        found.append(both)
    short = [each for each in (learnt.ended, ended) if each is not None]
    return Made(candidates=tuple(_without_twins(found)), ended="; ".join(short) or None)


def _paired(usable: Sequence[Candidate], sets: int, shift: int) -> list[tuple[Candidate, int]]:
    return [(one, (number + shift) % sets) for number, one in enumerate(usable)]


async def _learn(prompt: Prompt, train: Sequence[Case], trying: Trying) -> _Learnt:
    """Run the prompt on the training cases, as far as the budget reaches."""
    tried = None
    cases: Sequence[Case] = ()
    for wanted in sorted({min(_PROBED, len(train)), len(train)}):
        fits = trying.purse.affordable(train[:wanted], (ORIGINAL,), share=_SHARE)
        if fits <= len(cases):
            break
        try:
            tried = await trying.on({ORIGINAL: prompt}, train[:fits], what="training", share=_SHARE)
        except BudgetExceeded:
            break
        cases = train[:fits]
    answers = {} if tried is None else tried.results(ORIGINAL)
    errors = {} if tried is None else tried.errors[ORIGINAL]
    cases = [case for case in cases if case.id in answers or case.id in errors]  # as far as the budget reached
    values = {} if tried is None else tried.values(ORIGINAL)
    if cases and not values:
        first = next(iter(errors.values()), "the metric does not apply to any of them")
        raise EvaluationError(f"none of {len(cases)} training cases has a score, so there is nothing to learn: {first}")
    ended = None if len(cases) == len(train) else f"the budget reaches for {len(cases)} of {len(train)} training cases"
    scores = {} if tried is None else tried.scores[ORIGINAL]
    return _Learnt(cases=cases, answers=answers, scores=scores, right=is_right(trying.metric, values), ended=ended)


async def _proposed(
    prompt: Prompt, learnt: _Learnt, trying: Trying, write: Callable[[Prompt], Pipeline], *, count: int, seed: int
) -> tuple[list[Candidate], str | None]:
    """Proposals of instructions, and what the budget did not reach for."""
    if not learnt.cases:
        return [], None
    failures = failures_of(learnt.cases, learnt.answers, learnt.scores, learnt.right)
    asked = requests_for(prompt, description_of(learnt.cases), failures, count=count, seed=seed)
    tried = None
    with contextlib.suppress(BudgetExceeded):
        pipelines = {WRITER: write(PROPOSER)}
        tried = await trying.run(pipelines, asked, UsableProposal(prompt), what="proposals", share=_SHARE)
    answers = {} if tried is None else tried.results(WRITER)
    errors = {} if tried is None else tried.errors[WRITER]
    found = []
    for number, case in enumerate(asked, 1):
        label = f"instructions {number}"
        try:
            if case.id not in answers:
                raise Refused(f"the proposer failed: {errors[case.id]}" if case.id in errors else _UNPAID)
            made = checked(prompt, answers[case.id].text)
            found.append(Candidate(label=label, kind="instructions", prompt=made))
        except Refused as exc:
            found.append(Candidate(label=label, kind="instructions", refused=str(exc)))
    unpaid = sum(one.refused == _UNPAID for one in found)
    return found, f"{unpaid} of {count} proposals were not paid for" if unpaid else None


def _with_examples(prompt: Prompt, chosen: Sequence[Demonstration], label: str, *, both: bool = False) -> Candidate:
    examples = [one.example for one in chosen]
    try:
        made = prompt.with_examples(examples, count=None, select="first", seed=0)
    except (PromptError, ConfigurationError) as exc:
        return Candidate(label=label, kind="both" if both else "examples", refused=f"the examples do not fit: {exc}")
    return Candidate(label=label, kind="both" if both else "examples", prompt=made)


def _without_twins(found: Sequence[Candidate]) -> list[Candidate]:
    """The candidates; of those that are the same only the first one is tried."""
    seen: dict[str, str] = {}
    kept = []
    for one in found:
        twin = None if one.prompt is None else seen.setdefault(one.prompt.hash, one.label)
        if twin is not None and twin != one.label:
            kept.append(Candidate(label=one.label, kind=one.kind, refused=f"it is the same as {twin}"))
        else:
            kept.append(one)
    return kept
