"""What an engine is like: how fast, how many at once, what it refuses, and what it charges."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from llmops_sdk.costs import Price
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.given import is_number
from llmops_sdk.routers._simulation.fit import Fit, Measured, fit, measure, planned

if TYPE_CHECKING:
    from llmops_sdk.engines import Plan

__all__ = ["EngineModel", "Outage"]

_Outages: TypeAlias = "tuple[Outage, ...]"


class Outage(NamedTuple):
    """A time in which an engine does not work.

    `"refuse"`: what is under way breaks, and what comes is refused at once. `"hang"`: it stands still, answers nobody,
    and goes on afterwards as if nothing had been.
    """

    start_s: float
    end_s: float
    kind: Literal["refuse", "hang"] = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineModel:
    """What an engine is like. All of it is optional: without anything, every token of an answer takes 20 ms.

    The engine batches continuously, as vLLM does. Up to `slots` requests run at once, the others wait, first come first
    served. A prompt is read at `prefill_tokens_per_s`, one prompt after the other, and meanwhile the running requests
    stand still (the same work in total as when both share the steps). Then each step gives every running request one
    token, and takes `step_s + step_per_request_s * running + step_per_token_s * tokens in the running requests`.

    Attributes:
        step_s: Seconds that a step takes at least, `>= 0`.
        step_per_request_s: Seconds more for each running request, `>= 0`.
        step_per_token_s: Seconds more for each token of the running requests (their prompt, and half of their answer:
            the mean over its length), `>= 0`.
        prefill_tokens_per_s: Tokens of prompts read in a second, `> 0`; by default they take no time.
        overhead_s: Seconds besides for each request: network, gateway, tokenizer. They pass at the end, `>= 0`.
        slots: Requests that run at once, `>= 1`; `None`: as many as come.
        cache_tokens: Tokens that the prefix cache holds, least recently used out first; `0`: there is none.
        cache_block: Tokens of a block of that cache: prompts are found again in whole blocks, `>= 1`.
        jitter: Spread of the answers: each takes as many steps as it has tokens times a lognormal factor of mean 1,
            whose logarithm has this standard deviation, `>= 0`.
        tail: Stragglers: each answer's steps are multiplied by a Pareto factor with this exponent, `> 1`, and mean 1;
            the smaller, the heavier. `None`: none.
        error_rate: Share of requests that are answered by a server error, `0 <= error_rate <= 1`.
        requests_per_minute: Requests that are taken in each minute of the clock; those above get a 429 with
            `Retry-After`.
        tokens_per_minute: The same for tokens, prompt and answer, counted when a request is taken.
        outages: When it does not work.
        cold_start_s: Seconds that it takes to start when its first request comes, `>= 0`.
        price: What it charges, `None`: nobody knows.
        source: Where the figures come from.

    Raises:
        ConfigurationError: A figure makes no sense.

    Example:
        >>> model = EngineModel(step_s=0.01, step_per_request_s=0.0005, slots=64)
        >>> round(model.tokens_per_s(1)), round(model.tokens_per_s(64))
        (95, 1524)
    """

    step_s: float = 0.02
    step_per_request_s: float = 0.0
    step_per_token_s: float = 0.0
    prefill_tokens_per_s: float = math.inf
    overhead_s: float = 0.0
    slots: int | None = None
    cache_tokens: int = 0
    cache_block: int = 16
    jitter: float = 0.0
    tail: float | None = None
    error_rate: float = 0.0
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    outages: _Outages = ()
    cold_start_s: float = 0.0
    price: Price | None = None
    source: str = ""

    def __post_init__(self) -> None:
        for name in (*_NUMBERS, *_NUMBERS_OR_NONE):
            given = getattr(self, name)
            _require(self, name, is_number(given) or (given is None and name in _NUMBERS_OR_NONE), "a number")
        for name in (*_TIMES, "cache_tokens"):
            _require(self, name, 0 <= getattr(self, name) < math.inf, "0 or more")
        _require(self, "step_s", self.step_s + self.step_per_request_s > 0, "over 0, or each request costs time")
        _require(self, "prefill_tokens_per_s", self.prefill_tokens_per_s > 0, "over 0")
        _require(self, "slots", self.slots is None or self.slots >= 1, "1 or more, or None")
        _require(self, "cache_block", self.cache_block >= 1, "1 or more")
        _require(self, "tail", self.tail is None or self.tail > 1, "over 1, or None")
        _require(self, "error_rate", 0 <= self.error_rate <= 1, "from 0 to 1")
        for name in ("requests_per_minute", "tokens_per_minute"):
            given = getattr(self, name)
            _require(self, name, given is None or given > 0, "over 0, or None")
        try:
            outages = tuple(sorted(Outage(*one) for one in self.outages))
        except TypeError:
            raise ConfigurationError(
                f"`outages` of an EngineModel are like [(60.0, 90.0, 'hang')], not {self.outages!r}"
            ) from None
        for one in outages:
            if not 0 <= one.start_s < one.end_s < math.inf or one.kind not in ("refuse", "hang"):
                raise ConfigurationError(f"an outage is `(start_s, end_s, 'refuse' or 'hang')`, not {tuple(one)!r}")
        for one, after in itertools.pairwise(outages):
            if after.start_s < one.end_s:
                raise ConfigurationError(f"two outages overlap: {tuple(one)!r} and {tuple(after)!r}")
        object.__setattr__(self, "outages", outages)

    def but(self, **changes: Any) -> EngineModel:
        """The same engine with other figures: `model.but(error_rate=0.1)`."""
        try:
            return replace(self, **changes)
        except TypeError:
            known = [one.name for one in fields(self)]
            wrong = ", ".join(repr(name) for name in changes if name not in known)
            raise ConfigurationError(f"an EngineModel has no {wrong}; it has {', '.join(known)}") from None

    def slowed(self, factor: float) -> EngineModel:
        """The same engine, but everything that it does takes `factor` times as long."""
        return self.but(
            **{name: getattr(self, name) * factor for name in _TIMES if name.startswith("step")},
            prefill_tokens_per_s=self.prefill_tokens_per_s / factor,
        )

    def step(self, running: int, tokens: float = 0.0) -> float:
        """Seconds of a step with `running` requests of `tokens` tokens together."""
        return self.step_s + self.step_per_request_s * running + self.step_per_token_s * tokens

    def tokens_per_s(self, running: int, tokens: float = 0.0) -> float:
        """Tokens per second of `running` requests together, while no prompt is read."""
        return running / self.step(running, tokens)

    @staticmethod
    def provider(**changes: Any) -> EngineModel:
        """An endpoint of a large provider: 80 tokens/s whatever the load, 0.4 s to begin, and stragglers.

        The shape of such services and not the figures of one: put in your own.
        """
        return EngineModel(step_s=0.0125, overhead_s=0.4, jitter=0.3, tail=2.5, source="an assumption").but(**changes)

    @staticmethod
    def gpu_8b(**changes: Any) -> EngineModel:
        """A replica of vLLM with a model of 8 billion parameters on one large GPU.

        At 70 % of the bounds that `engines.plan` gives for Llama 3.1 8B in bfloat16 on an H100 with 80 GB: 4.5 ms to
        read the weights in each step, 39 ns to read the cache of a token, 68,500 tokens of prompts a second. About half
        of the room for the cache is left for prefixes.
        """
        return EngineModel(
            step_s=0.0064,
            step_per_token_s=5.6e-8,
            prefill_tokens_per_s=48_000,
            overhead_s=0.01,
            slots=256,
            cache_tokens=200_000,
            source="engines.plan for Llama 3.1 8B on an H100, 70 % of its bounds",
        ).but(**changes)

    @staticmethod
    def smollm2_cpu(**changes: Any) -> EngineModel:
        """`embedded:` with SmolLM2-135M on two cores: fitted to `benchmarks/results/batching.md`."""
        return EngineModel(
            step_s=0.0352,
            step_per_request_s=0.00176,
            prefill_tokens_per_s=394.0,
            slots=64,
            source="EngineModel.fit of benchmarks/results/batching.md, 2026-11-24",
        ).but(**changes)

    @staticmethod
    def planned(plan: Plan, *, efficiency: float = 0.7, **changes: Any) -> EngineModel:
        """The engine of a plan (`engines.plan(...)`), at `efficiency` of its bounds.

        Raises:
            ConfigurationError: The plan knows no speed, or `efficiency` is not over 0 and at most 1.
        """
        return planned(EngineModel, plan, efficiency).but(**changes)

    @staticmethod
    def fit(measured: Iterable[Measured], **known: Any) -> Fit:
        """Fit a model to what was measured; see `Fit`. `known`: figures that are not fitted, such as `slots`."""
        return fit(EngineModel, measured, **known)

    @staticmethod
    async def measure(
        engine: Any,
        /,
        *,
        concurrency: Iterable[int] = (1, 4, 16),
        prompt_tokens: int = 128,
        answer_tokens: int = 64,
        rounds: int = 2,
        timeout_s: float = 300.0,
    ) -> Fit:
        """Send a small load to a real engine, and fit a model to how it answers.

        It costs money where the engine does: `sum(concurrency) * rounds` requests, 42 by default, of about
        `prompt_tokens` words and at most `answer_tokens` tokens each.

        Args:
            engine: Any engine.
            concurrency: How many requests are sent at once, one batch for each number; two different ones at least.
            prompt_tokens: Length of the prompts, in short words; `>= 1`.
            answer_tokens: Most tokens of the answers, `>= 2`.
            rounds: How often each batch is sent; the median counts, `>= 1`.
            timeout_s: For all of it.

        Raises:
            ConfigurationError: The arguments make no sense, or the engine counts no tokens.
            EngineError: The engine failed.
            TimeoutError: It took longer than `timeout_s`.
        """
        loads = await measure(
            engine,
            concurrency=tuple(concurrency),
            prompt_tokens=prompt_tokens,
            answer_tokens=answer_tokens,
            rounds=rounds,
            timeout_s=timeout_s,
        )
        return EngineModel.fit(loads)


_TIMES = ("step_s", "step_per_request_s", "step_per_token_s", "overhead_s", "jitter", "cold_start_s")
_NUMBERS = (*_TIMES, "cache_tokens", "cache_block", "prefill_tokens_per_s", "error_rate")
_NUMBERS_OR_NONE = ("slots", "tail", "requests_per_minute", "tokens_per_minute")


def _require(model: EngineModel, name: str, holds: bool, should: str) -> None:
    given = getattr(model, name)
    if not holds or (isinstance(given, float) and math.isnan(given)):
        raise ConfigurationError(f"`{name}` of an EngineModel has to be {should}, not {given!r}")
