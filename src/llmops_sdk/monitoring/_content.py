"""Which texts of a run are kept, and how guards clean them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from llmops_sdk.calls import Call
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards import Guard
from llmops_sdk.monitoring._records import StoredScore
from llmops_sdk.tracing import ContentPolicy, content_of

__all__ = ["Kept", "Texts", "cleaned", "cleaning"]

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
        self._cleaning = None if isinstance(wanted, bool) else cleaning(wanted, "content")

    def texts(self, call: Call) -> Texts:
        """The texts of a run that has ended. Called in a thread without a loop."""
        if not self._wanted:
            return None, None, None
        content = content_of(call, _POLICY)
        variables = None if content.variables is None else _read(content.variables)
        question, answer, variables = cleaned([content.question, content.answer, variables], self._cleaning)
        return question, answer, variables

    def said(self, score: StoredScore) -> StoredScore:
        """A score as it is kept, its texts cut to what is reasonable.

        Why a program or a model gave it may quote the answer; what a person wrote is kept.
        """
        score = replace(score, name=score.name[:_MOST_OF_A_NAME], label=score.label and score.label[:_MOST_OF_A_NAME])
        if score.explanation is None or not (self._wanted or score.by == "human"):
            return replace(score, explanation=None)
        said = score.explanation[:_MOST_OF_AN_EXPLANATION]
        return replace(score, explanation=cleaned([said], self._cleaning)[0])


def _read(variables: str) -> Mapping[str, Any] | None:
    try:
        read: Mapping[str, Any] = json.loads(variables)
    except ValueError:  # more than a million characters, so it was cut
        return None
    return read


def cleaning(guards: Any, option: str) -> ContentPolicy:
    """What cleans texts by these guards, as tracing does.

    Raises:
        ConfigurationError: It is no sequence of guards.
    """
    if isinstance(guards, str) or not isinstance(guards, Sequence) or not all(isinstance(one, Guard) for one in guards):
        raise ConfigurationError(
            f"`{option}` takes a list of guards, such as `[guards.PII(), guards.Secrets()]`, not {guards!r}"
        )
    return ContentPolicy(redact=guards)


def cleaned(values: list[Any], by: ContentPolicy | None) -> list[Any]:
    """The values with every text in them as the guards leave it, or `"[withheld]"`."""
    if by is None:
        return values
    clean = by.cleaner()
    return [clean(value, "output") for value in values]
