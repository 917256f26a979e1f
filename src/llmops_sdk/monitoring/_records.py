"""What a monitor keeps: one record for each kind of row of its store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, TypeAlias

__all__ = ["By", "Kind", "Score", "StoredRun", "StoredScore", "StoredSignal"]

Kind: TypeAlias = Literal["rate", "value"]
"""A `"rate"` is of things that happen or do not (values 0.0 and 1.0), a `"value"` is any number."""
By: TypeAlias = Literal["code", "llm", "human"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What an evaluator says of an answer.

    Attributes:
        score: A number, by custom `0 <= score <= 1` with 1 the best; `None` where there is only a label.
        label: A word for it.
        explanation: Why.
        cost_usd: US dollars that it took to say so; `None` where it took nothing, or nobody knows.
    """

    score: float | None = None
    label: str | None = None
    explanation: str | None = None
    cost_usd: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """A run that was observed.

    Attributes:
        id: The call's.
        at: When it began, in seconds since the epoch.
        pipeline: Name of the pipeline.
        outcome: `"ok"`, `"blocked"`, `"cancelled"` or the name of an error class.
        tags: Those of its tags that are kept, by name, as texts.
        seconds: From its start to its end.
        cost_usd: US dollars; `None` where nobody knows.
        input_tokens: Of all its attempts; `None` where nobody counted.
        output_tokens: The same of what came back.
        model: The model that answered.
        engine: Name of the engine that answered.
        prompt: Name of the prompt.
        prompt_version: The version that was asked for.
        prompt_commit: The commit that this was.
        blocked_by: Name of the guard that blocked it.
        sampled: Whether it was drawn for the evaluators.
        question: The last message that was sent; kept only where content is kept, like what follows.
        answer: What the caller got.
        variables: What the prompt was rendered with, as texts.
    """

    id: str
    at: float
    pipeline: str
    outcome: str
    tags: Mapping[str, str] = field(default_factory=dict)
    seconds: float
    cost_usd: Decimal | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    model: str | None = None
    engine: str | None = None
    prompt: str | None = None
    prompt_version: str | None = None
    prompt_commit: str | None = None
    blocked_by: str | None = None
    sampled: bool = False
    question: str | None = None
    answer: str | None = None
    variables: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSignal:
    """One number that was read off a run.

    Attributes:
        run: Id of the call.
        at: When the run began, in seconds since the epoch.
        name: Of the signal.
        kind: Whether it is a rate (`value` is 0.0 or 1.0) or a value.
        value: The number.
        label: What it says in words: the language, the guard.
    """

    run: str
    at: float
    name: str
    kind: Kind
    value: float
    label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredScore:
    """What an evaluator or a person said of a run.

    Attributes:
        run: Id of the call, which may not be in the store (yet).
        at: When it was said, in seconds since the epoch.
        name: Of the evaluator, or `"feedback"`.
        score: See `Score`, as `label`, `explanation` and `cost_usd`.
        by: Who said it.
        error: Why there is no score: the class of what was raised. Its message might quote a text.
    """

    run: str
    at: float
    name: str
    score: float | None = None
    label: str | None = None
    explanation: str | None = None
    by: By = "code"
    error: str | None = None
    cost_usd: Decimal | None = None
