"""Which texts of a run are kept, and how guards clean them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from llmops_sdk.calls import Call
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards import Guard
from llmops_sdk.loops import run_sync
from llmops_sdk.monitoring._records import StoredScore
from llmops_sdk.tracing import ContentPolicy, content_of

__all__ = ["Kept", "Texts", "cleaned", "guards_of"]

WITHHELD = "[withheld]"
"""Stands for a text in which a guard found something that it could not take out."""

_MOST_OF_A_NAME, _MOST_OF_AN_EXPLANATION = 200, 10_000
"""Characters of what evaluators and people say."""
_POLICY = ContentPolicy(max_characters=1_000_000)

Texts = tuple[str | None, str | None, Mapping[str, Any] | None]
"""Question, answer and variables."""


class Kept:
    """What is kept of the texts of runs: only what the guards of the pipeline let pass unseen or made clean.

    Args:
        wanted: Whether anything is kept; guards that read it once more before it is kept.
    """

    def __init__(self, wanted: bool | Sequence[Guard]) -> None:
        self._wanted = bool(wanted) or not isinstance(wanted, bool)
        self._guards = () if isinstance(wanted, bool) else guards_of(wanted, "content")

    def texts(self, call: Call) -> Texts:
        """The texts of a run that has ended. Called in a thread without a loop."""
        if not self._wanted:
            return None, None, None
        content = content_of(call, _POLICY)
        variables = None if content.variables is None else _read(content.variables)
        if not self._guards:
            return content.question, content.answer, variables
        question, answer, variables = cleaned([content.question, content.answer, variables], self._guards)
        return question, answer, variables

    def said(self, score: StoredScore) -> StoredScore:
        """A score as it is kept, its texts cut to what is reasonable.

        Why a program or a model gave it may quote the answer; what a person wrote is kept.
        """
        score = replace(score, name=score.name[:_MOST_OF_A_NAME], label=score.label and score.label[:_MOST_OF_A_NAME])
        if score.explanation is None or not (self._wanted or score.by == "human"):
            return replace(score, explanation=None)
        said = score.explanation[:_MOST_OF_AN_EXPLANATION]
        return replace(score, explanation=cleaned([said], self._guards)[0] if self._guards else said)


def _read(variables: str) -> Mapping[str, Any] | None:
    try:
        read: Mapping[str, Any] = json.loads(variables)
    except ValueError:  # more than a million characters, so it was cut
        return None
    return read


def guards_of(given: Any, option: str) -> tuple[Guard, ...]:
    """The guards that clean texts.

    Raises:
        ConfigurationError: It is no sequence of guards.
    """
    if isinstance(given, str) or not isinstance(given, Sequence) or not all(isinstance(one, Guard) for one in given):
        raise ConfigurationError(
            f"`{option}` takes a list of guards, such as `[guards.PII(), guards.Secrets()]`, not {given!r}"
        )
    return tuple(given)


def cleaned(values: list[Any], guards: Sequence[Guard]) -> list[Any]:
    """The values with every text in them as the guards leave it, or `"[withheld]"`."""

    async def clean() -> list[Any]:
        return [await _cleaned(value, guards) for value in values]

    return run_sync(clean, method="cleaned()")


async def _cleaned(value: Any, guards: Sequence[Guard]) -> Any:
    if isinstance(value, Mapping):
        return {name: await _cleaned(one, guards) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [await _cleaned(one, guards) for one in value]
    if not isinstance(value, str) or not value:
        return value
    for guard in guards:
        try:
            verdict = await guard.acheck(value)
        except Exception:  # noqa: BLE001  (what could not be read is not kept)
            return WITHHELD
        if verdict.action == "rewrite" and verdict.text is not None:
            value = verdict.text
        elif verdict.action != "allow" or verdict.findings:
            return WITHHELD
    return value
