"""Signals from the text of the answer; a run without one has none of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmops_sdk.guards import Refusal, Repetition
from llmops_sdk.guards._language.profiles import UNKNOWN, identify
from llmops_sdk.monitoring._observed import Observed

__all__ = ["length", "other_language", "refusal", "repetition"]

_HEAD = 1_000
"""Characters of a text that tell its language, and whether it refuses: models do so in their first words."""
_TAIL = 8_200
"""Characters at the end that are searched for a loop: a model that runs into one hardly ever leaves it. The longest one
that counts has 8,048."""
_SURE = 0.5

_refusal = Refusal()
_repetition = Repetition(action="flag")


def length(run: Observed) -> float | None:
    """Characters of the answer."""
    return None if run.response is None else float(len(run.answer))


def refusal(run: Observed) -> tuple[bool, str | None] | None:
    """Whether the model refused; the label is the language of the refusal."""
    return _found(run.answer[:_HEAD], _refusal.check)


def repetition(run: Observed) -> tuple[bool, str | None] | None:
    """Whether the answer runs in a loop."""
    return _found(run.answer[-_TAIL:], _repetition.check)


def _found(text: str, check: Callable[[str], Any]) -> tuple[bool, str | None] | None:
    if not text:
        return None
    findings = check(text).findings
    return bool(findings), findings[0].rule or None if findings else None


def other_language(run: Observed) -> tuple[bool, str | None] | None:
    """Whether the answer is in another language than the question; the label is the language of the answer.

    `None` where one of the two is too short to tell.
    """
    answer = identify(_sample(run.answer)) if run.answer else None
    if answer is None or answer.language == UNKNOWN or answer.confidence < _SURE:
        return None
    question = identify(_sample(run.question))
    if question.language == UNKNOWN or question.confidence < _SURE:
        return None
    return answer.language != question.language, answer.language


def _sample(text: str) -> str:
    """Both ends of a text: prompts begin with what was retrieved, and answers may change their language half way."""
    return text if len(text) <= 2 * _HEAD else f"{text[:_HEAD]}\n{text[-_HEAD:]}"
