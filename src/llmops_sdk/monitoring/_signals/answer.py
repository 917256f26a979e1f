"""Signals from the text of the answer; a run without one has none of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmops_sdk.guards import Refusal, Repetition
from llmops_sdk.guards._language.profiles import UNKNOWN, identify
from llmops_sdk.monitoring._observed import Observed

__all__ = ["length", "other_language", "refusal", "repetition"]

_MOST_CHARACTERS = 20_000
"""Of a text that is searched: an answer that loops or changes its language does so in its first pages."""
_SURE = 0.5

_refusal = Refusal()
_repetition = Repetition(action="flag")


def length(run: Observed) -> float | None:
    """Characters of the answer."""
    return None if run.response is None else float(len(run.answer))


def refusal(run: Observed) -> tuple[bool, str | None] | None:
    """Whether the model refused; the label is the language of the refusal."""
    return _found(run, _refusal.check)


def repetition(run: Observed) -> tuple[bool, str | None] | None:
    """Whether the answer runs in a loop."""
    return _found(run, _repetition.check)


def _found(run: Observed, check: Callable[[str], Any]) -> tuple[bool, str | None] | None:
    if not run.answer:
        return None
    findings = check(run.answer[:_MOST_CHARACTERS]).findings
    return bool(findings), findings[0].rule or None if findings else None


def other_language(run: Observed) -> tuple[bool, str | None] | None:
    """Whether the answer is in another language than the question; the label is the language of the answer.

    `None` where one of the two is too short to tell.
    """
    answer = identify(run.answer[:_MOST_CHARACTERS]) if run.answer else None
    if answer is None or answer.language == UNKNOWN or answer.confidence < _SURE:
        return None
    question = identify(run.question[:_MOST_CHARACTERS])
    if question.language == UNKNOWN or question.confidence < _SURE:
        return None
    return answer.language != question.language, answer.language
