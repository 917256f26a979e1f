"""Evaluators: what people hand in (functions, guards, judges), as one kind of thing."""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, TypeAlias

from llmops_sdk.calls import Call
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.given import is_number
from llmops_sdk.guards import Guard, Judge
from llmops_sdk.monitoring._observed import Observed
from llmops_sdk.monitoring._records import By, Score
from llmops_sdk.protocols import GuardContext
from llmops_sdk.usage import EXACT
from llmops_sdk.verdicts import Verdict

__all__ = ["Evaluator", "EvaluatorLike", "Vector", "embedder", "evaluators_of", "scores_of"]

_MOST_CHARACTERS = 8_000
"""Of an answer that is embedded: models for it read little more."""

_MOST_SCORES = 100
"""Of one evaluator for one run."""

_One: TypeAlias = "bool | float | str | Score | Verdict | None"
EvaluatorLike: TypeAlias = (
    "Guard | Callable[[Observed], _One | Mapping[str, _One] | Awaitable[_One | Mapping[str, _One]]]"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluator:
    """Says how good an answer is.

    Attributes:
        name: Under which its scores are kept.
        by: Whether a program or a model says it.
        ask: Gives what it says of a run; a coroutine function, unless it `blocks`.
        blocks: Whether it has to be called in a thread.
    """

    name: str
    by: By
    ask: Callable[[Observed], Any]
    blocks: bool


class Vector(list[float]):
    """The embedding of an answer: what the evaluator behind the signal `embedding` says."""


def evaluators_of(given: Sequence[EvaluatorLike] | Mapping[str, EvaluatorLike]) -> tuple[Evaluator, ...]:
    """The evaluators, each with a name.

    Raises:
        ConfigurationError: One cannot be called, has no name, or the name of another.
    """
    if isinstance(given, str) or not isinstance(given, Mapping | Sequence):
        raise ConfigurationError(
            f"`evaluators` is a list of functions and guards, or a mapping of names to them, not {given!r}"
        )
    pairs: Iterable[tuple[str | None, Any]] = (
        given.items() if isinstance(given, Mapping) else ((None, one) for one in given)
    )
    found = [_evaluator(name, one) for name, one in pairs]
    names = [one.name for one in found]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ConfigurationError(
            f"two evaluators are called {min(twice)!r}; give names: `evaluators={{'first': ..., 'second': ...}}`"
        )
    return tuple(found)


def _evaluator(name: str | None, given: Any) -> Evaluator:
    if name is None:
        name = getattr(given, "name", None) or getattr(given, "__name__", None)
    if isinstance(given, type) or not (callable(given) or isinstance(given, Guard)):
        raise ConfigurationError(f"{given!r} is no evaluator: give a function of an observed run, or a guard")
    if not isinstance(name, str) or not name.strip() or name == "<lambda>":
        raise ConfigurationError(f"the evaluator {given!r} has no name; write `evaluators={{'polite': ...}}`")
    if isinstance(given, Guard):
        by: By = "llm" if isinstance(given, Judge) else "code"
        return Evaluator(name=name, by=by, ask=_guarding(given), blocks=False)
    waits = inspect.iscoroutinefunction(given) or inspect.iscoroutinefunction(type(given).__call__)
    return Evaluator(name=name, by=getattr(given, "by", "code"), ask=given, blocks=not waits)


def _guarding(guard: Guard) -> Callable[[Observed], Awaitable[Score | None]]:
    async def ask(run: Observed) -> Score | None:
        if run.response is None:
            return None
        call = Call(prices=run.call.prices)
        context = GuardContext(call=call, stage="output", origin="output", request=run.request)
        verdict = await guard.acheck(run.answer, context)
        return replace(_score(verdict), cost_usd=EXACT.add(call.spent_usd, call.estimated_usd) or None)

    return ask


def embedder(engine: Any) -> Evaluator:
    """An evaluator that gives the embedding of the answer.

    Raises:
        ConfigurationError: The engine embeds no texts.
    """
    if not callable(getattr(engine, "aembed", None)):
        raise ConfigurationError(
            f"`embed` is an engine with `aembed`, such as `Engine.open('openai:MODEL')`, not {engine!r}"
        )

    async def ask(run: Observed) -> Vector | None:
        if not run.answer:
            return None
        (vector,) = await engine.aembed([run.answer[:_MOST_CHARACTERS]])
        return Vector(vector)

    return Evaluator(name="embedding", by="llm", ask=ask, blocks=False)


def scores_of(name: str, said: Any) -> dict[str, Score]:
    """What an evaluator said, as scores by name; empty where it had nothing to say of this run.

    Raises:
        TypeError: It is none of the things that an evaluator may say.
        ValueError: A number is not finite, or it is more than 100 scores.
    """
    if said is None:
        return {}
    if isinstance(said, Mapping):
        if len(said) > _MOST_SCORES:
            raise ValueError(f"an evaluator gives at most {_MOST_SCORES} scores, not {len(said)}")
        return {f"{name}.{part}": _score(one) for part, one in said.items() if one is not None}
    return {name: _score(said)}


def _score(said: Any) -> Score:
    if isinstance(said, Verdict):
        if said.error is not None:
            raise RuntimeError("the guard itself failed")
        return Score(score=1.0 - said.score, label=said.action, explanation=said.reason or None)
    score = Score(score=float(said)) if is_number(said) or isinstance(said, bool) else said
    if isinstance(score, str):
        return Score(label=score)
    if not isinstance(score, Score):
        raise TypeError(f"an evaluator says a bool, a number, a label, a `Score`, or a mapping of these, not {said!r}")
    if score.score is not None and not math.isfinite(score.score):
        raise ValueError(f"a score is a finite number, not {score.score}")
    for text in (score.label, score.explanation):
        if not (text is None or isinstance(text, str)):
            raise TypeError(f"a label and an explanation are texts, not {text!r}")
    return score if score.cost_usd is None else replace(score, cost_usd=_money(score.cost_usd))


def _money(usd: Any) -> Decimal:
    if isinstance(usd, bool) or not isinstance(usd, Decimal | int | float):
        raise TypeError(f"`cost_usd` is an amount of US dollars, not {usd!r}")
    amount = Decimal(str(usd))
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"`cost_usd` is an amount of US dollars from 0 on, not {usd}")
    return amount
