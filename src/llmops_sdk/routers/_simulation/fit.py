"""A model fitted to a real engine: a small load is sent, and four numbers are found by least squares."""

from __future__ import annotations

import asyncio
import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from llmops_sdk.calls import CLOCK
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.messages import Message, Request
from llmops_sdk.routers._simulation.batch import Batch, Job

if TYPE_CHECKING:
    from llmops_sdk.engines import Plan
    from llmops_sdk.routers._simulation.model import EngineModel

__all__ = ["Fit", "Measured", "fit", "measure", "planned"]


class Measured(NamedTuple):
    """`concurrency` requests, sent at once to an engine with nothing else to do.

    `first_token_s`: the mean over them until their first token came; `all_s`: until the last of them had ended.
    """

    concurrency: int
    prompt_tokens: float
    answer_tokens: float
    first_token_s: float
    all_s: float

    @property
    def tokens_per_s(self) -> float:
        """Of all answers together."""
        return self.concurrency * self.answer_tokens / self.all_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A model, and how far it is from what was measured.

    Attributes:
        model: The model.
        measured: What was measured.
        modelled: The same loads, sent to the model.
        error: The largest relative error of tokens a second, `0.1` is 10 %.
        first_token_error: The largest relative error of the time to the first token.
    """

    model: EngineModel
    measured: tuple[Measured, ...]
    modelled: tuple[Measured, ...]
    error: float
    first_token_error: float

    def __str__(self) -> str:
        model = self.model
        lines = [
            (
                f"step {model.step_s * 1000:.2f} ms + {model.step_per_request_s * 1000:.3f} ms for each request, "
                f"{model.prefill_tokens_per_s:,.0f} tokens/s of prompts, {model.overhead_s * 1000:.0f} ms besides; "
                f"off by {self.error:.0%} at most, the first token by {self.first_token_error:.0%}"
            ),
            "at once  tokens/s: measured  modelled  first token: measured  modelled",
        ]
        lines += [
            f"{real.concurrency:7d} {real.tokens_per_s:19.1f} {made.tokens_per_s:9.1f} "
            f"{real.first_token_s:20.3f} s {made.first_token_s:7.3f} s"
            for real, made in zip(self.measured, self.modelled, strict=True)
        ]
        return "\n".join(lines)


def fit(kind: type[EngineModel], measured: Iterable[Measured], **known: Any) -> Fit:
    """Find `step_s`, `step_per_request_s`, `prefill_tokens_per_s` and `overhead_s`.

    With `n` requests of `p` and `t` tokens at once the model says: the last one has ended after
    `overhead + n p / prefill + t (step + per_request n)`, and the first tokens come in the mean after
    `overhead + (n + 1) / 2 (p / prefill + per_request) + step`. Those equations, each divided by what was measured so
    that relative errors count, are solved by least squares with all four numbers at 0 or more.

    Raises:
        ConfigurationError: There are not two different concurrencies, or a figure is no positive number.
    """
    rows = tuple(sorted(Measured(*one) for one in measured))
    if len({one.concurrency for one in rows}) < 2:
        raise ConfigurationError(
            "a fit needs measurements at two different numbers of requests at once, 1 and 16 for example"
        )
    if any(not 0 < value < math.inf for one in rows for value in one):
        raise ConfigurationError("a measurement has positive numbers only: requests, tokens and seconds")
    equations: list[tuple[list[float], float]] = []
    for n, prompt, answer, first_s, all_s in rows:
        equations.append(([answer / all_s, answer * n / all_s, n * prompt / all_s, 1 / all_s], 1.0))
        half = (n + 1) / 2
        equations.append(([1 / first_s, half / first_s, half * prompt / first_s, 1 / first_s], 1.0))
    step, per_request, read, overhead = _non_negative(equations)
    figures = {
        "step_s": max(step, 1e-6),
        "step_per_request_s": per_request,
        "prefill_tokens_per_s": 1 / read if read > 0 else math.inf,
        "overhead_s": overhead,
        "source": f"fitted to {len(rows)} loads",
    }
    model = kind(**{**figures, **known})
    modelled = tuple(_modelled(model, one) for one in rows)
    pairs = list(zip(rows, modelled, strict=True))
    return Fit(
        model=model,
        measured=rows,
        modelled=modelled,
        error=max(abs(made.tokens_per_s / real.tokens_per_s - 1) for real, made in pairs),
        first_token_error=max(abs(made.first_token_s / real.first_token_s - 1) for real, made in pairs),
    )


def planned(kind: type[EngineModel], plan: Plan, efficiency: float) -> EngineModel:
    """The model of a plan's bounds."""
    if not 0 < efficiency <= 1:
        raise ConfigurationError(f"`efficiency` is over 0 and at most 1, not {efficiency!r}")
    if len(plan.loads) < 2 or plan.prefill_tokens_per_s is None:
        raise ConfigurationError(f"the plan of {plan.model} on {plan.hardware} knows no speed; see its `verdict`")
    # The bounds hold for requests of the plan's length, so their context is in the cost of each request.
    rows = [([1 / step, load.concurrency / step], 1.0) for load in plan.loads
            for step in [load.concurrency / load.decode_tokens_per_s]]  # fmt: skip
    step, per_request = _non_negative(rows)
    return kind(
        step_s=step / efficiency,
        step_per_request_s=per_request / efficiency,
        prefill_tokens_per_s=plan.prefill_tokens_per_s * efficiency,
        slots=plan.max_requests,
        cache_tokens=max(plan.kv_cache_tokens - plan.concurrency * plan.context, 0),
        source=f"plan of {plan.model} on {plan.hardware}, {efficiency:.0%} of its bounds",
    )


def _modelled(model: EngineModel, load: Measured) -> Measured:
    """What the model makes of a load."""
    batch = Batch(model, 0.0)
    jobs = [Job(load.prompt_tokens, load.prompt_tokens + load.answer_tokens / 2, load.answer_tokens)
            for _ in range(load.concurrency)]  # fmt: skip
    for job in jobs:
        batch.add(job, 0.0)
    end = 0.0
    while (at := batch.next_at()) < math.inf:
        batch.advance(at)
        end = at
    first_s = statistics.fmean(job.first_at for job in jobs) + model.overhead_s
    return load._replace(first_token_s=first_s, all_s=end + model.overhead_s)


def _non_negative(equations: Sequence[tuple[list[float], float]]) -> list[float]:
    """Least squares with all unknowns at 0 or more: the most negative one is set to 0 until there is none."""
    unknowns = list(range(len(equations[0][0])))
    while unknowns:
        matrix = [[sum(row[i] * row[j] for row, _ in equations) for j in unknowns] for i in unknowns]
        right = [sum(row[i] * value for row, value in equations) for i in unknowns]
        found = _solved(matrix, right)
        lowest = min(range(len(found)), key=lambda index: found[index])
        if found[lowest] >= 0:
            break
        del unknowns[lowest]
    result = [0.0] * len(equations[0][0])
    for index, value in zip(unknowns, found, strict=True):
        result[index] = value
    return result


def _solved(matrix: list[list[float]], right: list[float]) -> list[float]:
    """The solution of a small system of linear equations, by Gauss; what cannot be told apart is 0."""
    size = len(right)
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    scale = max(abs(value) for row in matrix for value in row)
    for column in range(size):
        pivot = max(range(column, size), key=lambda index: abs(rows[index][column]))
        rows[column], rows[pivot] = rows[pivot], rows[column]
        head = rows[column]
        if abs(head[column]) <= 1e-13 * scale:
            continue
        for row in rows:
            if row is not head:
                share = row[column] / head[column]
                row[column:] = [value - share * above for value, above in zip(row[column:], head[column:], strict=True)]
    return [rows[i][size] / rows[i][i] if abs(rows[i][i]) > 1e-13 * scale else 0.0 for i in range(size)]


async def measure(
    engine: Any,
    *,
    concurrency: tuple[int, ...],
    prompt_tokens: int,
    answer_tokens: int,
    rounds: int,
    timeout_s: float,
) -> tuple[Measured, ...]:
    """How an engine answers a small load; see `EngineModel.measure`."""
    if len(set(concurrency)) < 2 or min(concurrency) < 1:
        raise ConfigurationError(
            f"`concurrency` is two different numbers at least, such as (1, 16), not {concurrency!r}"
        )
    wanted = {"prompt_tokens": (prompt_tokens, 1), "answer_tokens": (answer_tokens, 2), "rounds": (rounds, 1)}
    for name, (given, least) in wanted.items():
        if given < least:
            raise ConfigurationError(f"`{name}` is {least} or more, not {given!r}")
    loads: dict[int, list[Measured]] = defaultdict(list)
    async with asyncio.timeout(timeout_s):
        await _load(engine, 1, prompt_tokens, answer_tokens, "warm-up")
        for number in range(rounds):
            for at_once in sorted(set(concurrency)):
                loads[at_once].append(await _load(engine, at_once, prompt_tokens, answer_tokens, f"{number}"))
    return tuple(_median(many) for many in loads.values())


def _median(loads: list[Measured]) -> Measured:
    return Measured(loads[0].concurrency, *(statistics.median(values) for values in list(zip(*loads, strict=True))[1:]))


async def _load(engine: Any, at_once: int, prompt_tokens: int, answer_tokens: int, salt: str) -> Measured:
    clock = CLOCK.get()
    began = clock()

    async def one(number: int) -> tuple[float, int, int]:
        # The beginning differs, so that no prefix cache helps.
        text = f"{salt} {at_once} {number}: " + "tell me a long story, " * (prompt_tokens // 5)
        request = Request(messages=(Message.user(text),), max_tokens=answer_tokens, temperature=0.0)
        first_at, usage = 0.0, None
        async for chunk in engine.astream(request):
            if (chunk.text or chunk.reasoning) and not first_at:
                first_at = clock()
            usage = chunk.usage or usage
        if usage is None or not usage.output_tokens:
            raise ConfigurationError(f"the engine {engine.name!r} counts no tokens in streams, so it cannot be fitted")
        return (first_at or clock()) - began, usage.input_tokens, usage.output_tokens

    answers = await asyncio.gather(*(one(number) for number in range(at_once)))
    all_s = clock() - began
    first_s, prompts, outputs = (statistics.fmean(values) for values in zip(*answers, strict=True))
    return Measured(at_once, prompts, outputs, first_s, all_s)
