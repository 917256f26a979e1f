"""Which texts of a run are kept, and how guards clean them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from llmops_sdk.calls import Call, GuardChecked, Rendered
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards import Guard
from llmops_sdk.loops import run_sync
from llmops_sdk.messages import Document
from llmops_sdk.monitoring._records import StoredScore
from llmops_sdk.tracing._content import content_of

__all__ = ["Kept", "Texts", "cleaned", "guards_of"]

WITHHELD = "[withheld]"
"""Stands for a text in which a guard found something that it could not take out."""

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
        content = content_of(call)
        variables = None if content.question is None else _variables(call)
        if not self._guards:
            return content.question, content.answer, variables
        question, answer, variables = cleaned([content.question, content.answer, variables], self._guards)
        return question, answer, variables

    def said(self, score: StoredScore) -> StoredScore:
        """A score as it is kept. Why a program or a model gave it may quote the answer; what a person wrote is kept."""
        if score.explanation is None or not (self._wanted or score.by == "human"):
            return replace(score, explanation=None)
        if not self._guards:
            return score
        return replace(score, explanation=cleaned([score.explanation], self._guards)[0])


def _variables(call: Call) -> Mapping[str, Any] | None:
    """The variables as texts, unless a guard found something in what they became."""
    verdicts = [event.verdict for event in call.events if isinstance(event, GuardChecked) and event.stage == "input"]
    if any(verdict.findings or verdict.action != "allow" for verdict in verdicts):
        return None
    rendered = next((event for event in call.events if isinstance(event, Rendered)), None)
    if rendered is None or rendered.variables is None:
        return None
    return {str(name): _plain(value, call) for name, value in rendered.variables.items()}


def _plain(value: Any, call: Call) -> Any:
    if isinstance(value, Document):
        return {"id": call.hidden(value.id), "text": call.hidden(value.text)}
    if isinstance(value, list | tuple):
        return [_plain(one, call) for one in value]
    if isinstance(value, Mapping):
        return {call.hidden(str(name)): _plain(one, call) for name, one in value.items()}
    return call.hidden_in(value) if value is None or isinstance(value, int | float) else call.hidden(str(value))


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
