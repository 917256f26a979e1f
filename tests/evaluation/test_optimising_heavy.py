"""Optimising with a real model: examples teach the small one the form of the answer."""

from __future__ import annotations

from typing import Any

import pytest

from llmops_sdk import Engine, Prompt, Scripted
from llmops_sdk.evaluation import Case, metric, optimise

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore::DeprecationWarning")]

_GOOD = ("wonderful", "lovely", "great", "excellent", "charming", "superb", "delightful", "brilliant")
_BAD = ("awful", "terrible", "boring", "horrible", "dreadful", "bad", "disappointing", "poor")
_OF = ("film", "meal", "hotel", "book", "concert")


def reviews() -> list[Case]:
    return [
        Case(input={"review": f"The {of} was {word}."}, expected=label)
        for of in _OF
        for label, words in (("positive", _GOOD), ("negative", _BAD))
        for word in words
    ]


@metric(bounds=(0, 1))
def named(case: Case, result: Any) -> bool:
    """Whether the first word is the class."""
    return bool(result.text.strip().lower().startswith(case.expected))


def test_examples_teach_a_small_model_the_form_of_the_answer() -> None:
    prompt = Prompt.from_string("Review: {{ review }}", name="reviews", temperature=0, max_tokens=4)
    told = "[system]\nSay `positive` or `negative` and nothing else.\n\n[user]\nReview: {{ review }}"
    with Engine.open("embedded:") as engine:
        found = optimise(prompt, reviews(), named, engine, proposer=Scripted(told), candidates=4, shots=4)
    assert found.contrast is not None, str(found)
    assert found.contrast.comparison is not None
    assert found.verdict == "better"
    assert found.contrast.comparison.difference > 0.3
    assert found.prompt.content.examples is not None
    assert found.prompt.parameters == prompt.parameters
