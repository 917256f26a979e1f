"""Demonstrations: questions with right answers, as examples in a prompt.

Source: Khattab et al., "DSPy: Compiling Declarative Language Model Calls into Self-Improving Pipelines", ICLR 2024: a
pipeline's own answers that a metric finds right (`BootstrapFewShot`), and labels (`LabeledFewShot`).
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llmops_sdk.engines import Scripted
from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation.metrics import Metric
from llmops_sdk.pipelines import Pipeline, Result
from llmops_sdk.prompts import Example, Prompt

__all__ = ["Demonstration", "demonstrations_of", "example_sets", "is_right"]

_BEST = 1 / 3
"""Share of the answers that count as right where the metric has no best score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demonstration:
    """A case with an answer to show.

    Attributes:
        case: The case.
        example: As the prompt shows it.
        own: Whether the pipeline gave the answer itself; else it is what the case expects.
    """

    case: Case
    example: Example
    own: bool


def is_right(metric: Metric, scores: Mapping[str, float]) -> Mapping[str, bool]:
    """Id of a case -> whether its answer counts as right.

    Right is the metric's best score; where it has none, the best third of the scores.
    """
    low, high = metric.bounds
    best = high if metric.higher_is_better else low
    sign = 1 if metric.higher_is_better else -1
    if math.isfinite(best):
        return {case: sign * value >= sign * best for case, value in scores.items()}
    ranked = sorted((sign * value for value in scores.values()), reverse=True)
    least = ranked[max(math.ceil(len(ranked) * _BEST) - 1, 0)] if ranked else math.inf
    return {case: sign * value >= least for case, value in scores.items()}


async def demonstrations_of(
    prompt: Prompt, cases: Sequence[Case], answers: Mapping[str, Result], right: Mapping[str, bool]
) -> list[Demonstration]:
    """What the cases can show: the pipeline's own answer where that was right, and else what is expected.

    Where the prompt has an output, only answers that have its form are shown.
    """
    asked = _asked_in_question(prompt)
    found = []
    for case in cases:
        own = right.get(case.id, False) and case.id in answers and not answers[case.id].blocked
        answer = answers[case.id].text if own else case.expected
        if answer is None or answer == "":
            continue
        variables = {name: value for name, value in case.input.items() if name in asked}
        example = Example(variables=variables, answer=answer)
        if await _fits(prompt, example):
            found.append(Demonstration(case=case, example=example, own=own))
    return found


def _asked_in_question(prompt: Prompt) -> frozenset[str]:
    """Variables that the question of an example uses: long texts elsewhere in the prompt are not said again."""
    own = [one for one in prompt.sections if one.kind == "examples" and one.text]
    asking = own or [one for one in prompt.sections if one.kind in ("message", "more") and one.role == "user"]
    return frozenset(use.variable for use in prompt.uses() if use.section in asking)


async def _fits(prompt: Prompt, example: Example) -> bool:
    """Whether an answer has the form that the prompt asks for, as a pipeline would read it."""
    output = prompt.output_for(None)
    if output is None:
        return True
    reading = Pipeline(Prompt.from_string("?", output=replace(output, repairs=0)), Scripted(example.answer_text))
    return (await reading.arun()).output_error is None


def example_sets(
    found: Sequence[Demonstration], *, shots: int, count: int, seed: int
) -> list[tuple[Demonstration, ...]]:
    """Different sets of demonstrations, `shots` at most in each.

    The first one prefers the pipeline's own answers, the second one labels; those that follow are drawn.
    """
    draw = random.Random(seed)
    sets: dict[tuple[str, ...], tuple[Demonstration, ...]] = {}
    for number in range(4 * count):
        mixed = list(found)
        draw.shuffle(mixed)
        size = shots
        if number < 2:
            mixed.sort(key=lambda one: one.own, reverse=number == 0)
        else:
            size = draw.randint(1, shots)
        chosen = _varied(mixed, size)
        if chosen and len(sets) < count:
            sets.setdefault(tuple(sorted(one.case.id for one in chosen)), chosen)
    return list(sets.values())


def _varied(mixed: Sequence[Demonstration], size: int) -> tuple[Demonstration, ...]:
    """The first ones, of as many clusters and with as many different answers as there are."""
    chosen: list[Demonstration] = []
    rest = list(mixed)
    while rest and len(chosen) < size:
        seen: set[Any] = {one.example.answer_text for one in chosen}
        clusters = {one.case.cluster for one in chosen if one.case.cluster is not None}
        free = [one for one in rest if one.case.cluster not in clusters]
        if not free:
            break
        best = next((one for one in free if one.example.answer_text not in seen), free[0])
        chosen.append(best)
        rest.remove(best)
    return tuple(chosen)
