"""What is asked: when, how long the prompts and answers are, and what they have in common."""

from __future__ import annotations

import functools
import heapq
import itertools
import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from llmops_sdk.calls import Call
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.given import is_number
from llmops_sdk.routers._simulation.arrival import NO_TAGS, Arrival
from llmops_sdk.routers._simulation.traffic_log import arrivals, arrivals_of_calls

__all__ = ["Lengths", "Traffic"]

Lengths: TypeAlias = "int | tuple[float, float]"
"""Tokens: always the same number; or the mean of a gamma distribution and its coefficient of variation (standard
deviation / mean), where 1 is the exponential distribution."""
_NUMBERS = (
    "rate_per_s", "tenants", "tenant_skew", "shared_tokens", "turns", "think_s", "swing", "period_s", "burst",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What is asked of a router. Made up by the figures below, or read from a log with `Traffic.from_log`.

    Conversations begin by a Poisson process. Each belongs to a tenant, whose system prompt all of its conversations
    share; the prompt of a turn is that, the turns so far with their answers, and something new.

    Attributes:
        rate_per_s: Requests a second in the mean, `> 0`.
        prompt_tokens: Tokens of a prompt that are new in it; see `Lengths`.
        answer_tokens: Tokens of an answer.
        tenants: How many tenants there are; `0`: nothing is shared.
        tenant_skew: Exponent of Zipf's law: the n-th tenant's share is in proportion to `1 / n ** tenant_skew`, `>= 0`.
        shared_tokens: Tokens of a tenant's system prompt, `>= 0`.
        turns: Turns of a conversation in the mean (geometrically distributed), `>= 1`.
        think_s: Seconds from one turn of a conversation to the next in the mean, `>= 0`.
        swing: How far the rate goes up and down in a period: between `1 - swing` and `1 + swing` times the mean,
            `0 <= swing <= 1`.
        period_s: Seconds of a period, `> 0`; a day by default.
        burst: Conversations that begin at the same moment in the mean (geometrically distributed), `>= 1`.

    Raises:
        ConfigurationError: A figure makes no sense.

    Example:
        >>> traffic = Traffic(rate_per_s=100, prompt_tokens=(200, 1.0), answer_tokens=50)
        >>> [round(one.at, 3) for one in itertools.islice(traffic.arrivals(seed=1), 3)]
        [0.021, 0.028, 0.056]
    """

    rate_per_s: float = 1.0
    prompt_tokens: Lengths = (500, 1.0)
    answer_tokens: Lengths = (200, 1.0)
    tenants: int = 0
    tenant_skew: float = 1.0
    shared_tokens: int = 0
    turns: float = 1.0
    think_s: float = 10.0
    swing: float = 0.0
    period_s: float = 86_400.0
    burst: float = 1.0
    _recorded: tuple[Arrival, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        for name in _NUMBERS:
            if not is_number(getattr(self, name)):
                raise ConfigurationError(f"`{name}` of a Traffic has to be a number, not {getattr(self, name)!r}")
        checks = {
            "rate_per_s": (0 < self.rate_per_s < math.inf, "over 0"),
            "tenants": (self.tenants >= 0, "0 or more"),
            "tenant_skew": (0 <= self.tenant_skew < math.inf, "0 or more"),
            "shared_tokens": (self.shared_tokens >= 0, "0 or more"),
            "turns": (1 <= self.turns < math.inf, "1 or more"),
            "think_s": (0 <= self.think_s < math.inf, "0 or more"),
            "swing": (0 <= self.swing <= 1, "from 0 to 1"),
            "period_s": (0 < self.period_s < math.inf, "over 0"),
            "burst": (1 <= self.burst < math.inf, "1 or more"),
        }
        for name, (holds, should) in checks.items():
            if not holds:
                raise ConfigurationError(f"`{name}` of a Traffic has to be {should}, not {getattr(self, name)!r}")
        for name in ("prompt_tokens", "answer_tokens"):
            _lengths(name, getattr(self, name), random.Random(0))
        if self.shared_tokens and not self.tenants:
            raise ConfigurationError("`shared_tokens` are a tenant's: write `tenants=1`, too, or leave them out")

    @staticmethod
    def from_log(path: str | Path) -> Traffic:
        """Traffic as it was, from a log of your own: JSON lines (`.jsonl`, `.ndjson`, `.json`) or CSV with a head line.

        Fields of a line: `time` (seconds, or ISO 8601), `prompt_tokens`, `answer_tokens`; and if you like `prefix` (the
        key of a beginning that other prompts have, too: the name of a prompt, a tenant), `prefix_tokens` (how long it
        is; by default as long as the shortest prompt with that key) and `tags` (an object; in CSV, columns
        `tags.NAME`). Lines of `tracing.to_json(call)` do as well. The order of the lines does not matter. A line
        costs about 300 bytes of memory.

        Raises:
            ConfigurationError: A line is wrong; the message names it.
            OSError: The file cannot be read.
        """
        return Traffic._of(arrivals(Path(path)), str(path))

    @staticmethod
    def from_calls(calls: Iterable[Call]) -> Traffic:
        """Traffic as it was, from the records of runs: those that were answered, with the tokens that were billed."""
        return Traffic._of(arrivals_of_calls(calls), "the calls")

    @staticmethod
    def _of(arrivals: Iterable[Arrival], source: str) -> Traffic:
        ordered = sorted(arrivals, key=lambda one: one.at)
        if not ordered:
            raise ConfigurationError(f"no request was answered in {source}")
        first = ordered[0].at
        recorded = tuple(one._replace(number=number, at=one.at - first) for number, one in enumerate(ordered))
        rate = len(recorded) / recorded[-1].at if recorded[-1].at > 0 else 1.0
        return Traffic(rate_per_s=rate, _recorded=recorded)

    def scaled(self, factor: float) -> Traffic:
        """The same traffic, `factor` times as dense.

        Raises:
            ConfigurationError: `factor` is not over 0.
        """
        if not 0 < factor < math.inf:
            raise ConfigurationError(f"traffic is scaled by a number over 0, not {factor!r}")
        recorded = tuple(one._replace(at=one.at / factor) for one in self._recorded)
        return replace(self, rate_per_s=self.rate_per_s * factor, _recorded=recorded)

    @property
    def requests(self) -> int | None:
        """How many requests there are, `None`: as many as one likes."""
        return len(self._recorded) or None

    def arrivals(self, *, seed: int = 0) -> Iterator[Arrival]:
        """The requests in the order in which they come; without end if they are made up."""
        return iter(self._recorded) if self._recorded else _made_up(self, random.Random(f"traffic {seed}"))


class _Conversation:
    __slots__ = ("history", "key", "left", "tenant")

    def __init__(self, key: str, tenant: int, left: int) -> None:
        self.key = key
        self.tenant = tenant
        self.left = left
        self.history = 0


def _made_up(traffic: Traffic, rng: random.Random) -> Iterator[Arrival]:
    prompt = _lengths("prompt_tokens", traffic.prompt_tokens, rng)
    answer = _lengths("answer_tokens", traffic.answer_tokens, rng)
    pick = _zipf(traffic, rng)
    starts = _starts(traffic, rng)
    upcoming: list[tuple[float, int, _Conversation]] = []
    begun = itertools.count()
    start = next(starts)
    for number in itertools.count():
        if not upcoming or start <= upcoming[0][0]:
            serial = next(begun)
            talk = _Conversation(f"conversation {serial}", pick(), _geometric(traffic.turns, rng))
            at, start = start, next(starts)
        else:
            at, _, talk = heapq.heappop(upcoming)
        talk.left -= 1
        new, said = prompt(), answer()
        shared = traffic.shared_tokens if talk.tenant >= 0 else 0
        before: tuple[tuple[str, int], ...] = ((f"tenant {talk.tenant}", shared),) if shared else ()
        after = before
        if talk.history:
            before = (*before, (talk.key, talk.history))
        prompt_tokens = shared + talk.history + new
        if traffic.turns > 1:
            talk.history += new + said
            after = (*after, (talk.key, talk.history))
        if talk.left:
            heapq.heappush(upcoming, (at + rng.expovariate(1.0) * traffic.think_s, next(begun), talk))
        tags = {"tenant": str(talk.tenant)} if talk.tenant >= 0 else NO_TAGS
        yield Arrival(number, at, prompt_tokens, said, before, after, tags)


def _starts(traffic: Traffic, rng: random.Random) -> Iterator[float]:
    """When conversations begin: a Poisson process of bursts, thinned where the rate is low."""
    most = traffic.rate_per_s / traffic.turns / traffic.burst * (1 + traffic.swing)
    at = 0.0
    while True:
        at += rng.expovariate(most)
        if traffic.swing:
            now = 1 + traffic.swing * math.sin(2 * math.pi * at / traffic.period_s)
            if rng.random() * (1 + traffic.swing) > now:
                continue
        for _ in range(_geometric(traffic.burst, rng)):
            yield at


def _geometric(mean: float, rng: random.Random) -> int:
    return 1 if mean == 1 else 1 + int(math.log(1.0 - rng.random()) / math.log(1 - 1 / mean))


def _zipf(traffic: Traffic, rng: random.Random) -> Any:
    if not traffic.tenants:
        return lambda: -1
    sums = list(itertools.accumulate((n + 1) ** -traffic.tenant_skew for n in range(traffic.tenants)))
    tenants = range(traffic.tenants)
    return lambda: rng.choices(tenants, cum_weights=sums)[0]


def _lengths(name: str, lengths: Lengths, rng: random.Random) -> Any:
    """A function that draws a number of tokens, 1 at least."""
    mean, spread = lengths if isinstance(lengths, tuple) and len(lengths) == 2 else (lengths, 0.0)
    if not (is_number(mean) and is_number(spread) and 1 <= mean < math.inf and 0 <= spread < math.inf):
        raise ConfigurationError(
            f"`{name}` is a number of tokens, 1 or more, or `(mean, coefficient of variation)`, not {lengths!r}"
        )
    if not spread:
        return lambda: round(mean)
    if spread == 1:
        return lambda: max(round(rng.expovariate(1.0) * mean), 1)
    return functools.partial(_gamma, rng, 1 / spread**2, mean * spread**2)


def _gamma(rng: random.Random, shape: float, scale: float) -> int:
    return max(round(rng.gammavariate(shape, scale)), 1)
