"""How `latency` was chosen: what it could have been, in many situations. Run by `simulation.py --only latency`."""

from __future__ import annotations

import asyncio
import math
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from llmops_sdk.messages import Request
from llmops_sdk.routers import EngineModel, Latency, LeastBusy, Leg, RoundRobin, Router, Simulation, Traffic, simulate
from llmops_sdk.routers._legs.pace import Pace, Usual

ROUTERS = 8


class BySeconds(Pace):
    """Whole answers by their seconds, whatever their length."""

    __slots__ = ()

    def answered(self, took: float, tokens: int | None = None) -> None:
        super().answered(took)


class Exact(Pace):
    """Slowness as it is measured, not softened."""

    __slots__ = ()

    def _weigh(self) -> None:
        self.slowness = (self._late + 5.0) / (self._due + 5.0) / (1.0 - self._failing)


class Peak(Pace):
    """Peak EWMA of the seconds: a slow answer counts at once, and is forgotten over ten seconds of better ones."""

    __slots__ = ("_since",)

    def answered(self, took: float, tokens: int | None = None) -> None:
        now = asyncio.get_running_loop().time()
        since, self._since = getattr(self, "_since", now), now
        if took > self.average_s:
            self.average_s = took
        else:
            kept = math.exp((since - now) / 10.0)
            self.average_s = self.average_s * kept + took * (1 - kept)

    def heard(self, took: float) -> None:
        self.answered(took)

    def gave_up(self, took: float, *, streamed: bool, failed: bool) -> None:
        if took > self.average_s:
            self.answered(took)


class TwoChoices:
    """The better of two drawn by lot, by their average times the load."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def order(self, legs: Sequence[Leg], request: Request, /) -> Iterator[Leg]:
        first = min(self._random.sample(legs, min(2, len(legs))), key=_cost)
        yield first
        yield from sorted((leg for leg in legs if leg is not first), key=_cost)

    def reason(self, leg: Leg, /) -> str:
        return "the better of two"


def _cost(leg: Leg) -> float:
    return (leg.latency_s or 1e-6) * (leg.in_flight + 1)


class FourDrawn(Latency):
    """Of more than sixteen engines four are compared."""

    def _some(self, twice: Sequence[Leg], count: int) -> Sequence[Leg]:
        return super()._some(twice, count) if count <= 16 else self._random.sample(twice[:count], 4)


class ByLot:
    """Stands for what spreads the load over several processes, each with a router of its own."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def order(self, legs: Sequence[Leg], request: Request, /) -> list[Leg]:
        return self._random.sample(legs, len(legs))

    def reason(self, leg: Leg, /) -> str:
        return "by lot"


CANDIDATES: dict[str, tuple[Callable[[int], Any], type[Pace]]] = {
    "round_robin": (lambda seed: RoundRobin(), Pace),
    "least_busy": (lambda seed: LeastBusy(), Pace),
    "peak EWMA, better of two": (TwoChoices, Peak),
    "by seconds": (lambda seed: Latency(seed=seed), BySeconds),
    "not softened": (lambda seed: Latency(seed=seed), Exact),
    "four drawn": (lambda seed: FourDrawn(seed=seed), Pace),
    "latency": (lambda seed: Latency(seed=seed), Pace),
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A situation in which all candidates are tried."""

    name: str
    engines: Sequence[EngineModel]
    traffic: Traffic
    requests: int = 2_500
    stream: bool = False
    deadline_s: float | None = None
    routers: int = 1


def plain(rate_per_s: float, **options: Any) -> Traffic:
    return Traffic(rate_per_s=rate_per_s, prompt_tokens=(500, 1.0), answer_tokens=(200, 0.8), **options)


SLOTS = EngineModel(slots=4, jitter=0.3)  # an answer takes 4 s, so one engine answers one request a second
QUICK = SLOTS.slowed(0.5)
BATCH = EngineModel(step_s=0.01, step_per_request_s=0.001, slots=32, jitter=0.2, prefill_tokens_per_s=20_000)
PROVIDER = EngineModel.provider(slots=32)
CHAT = Traffic(
    rate_per_s=30, prompt_tokens=(150, 1.0), answer_tokens=(200, 0.8), tenants=100, shared_tokens=2000, turns=4
)

CASES = (
    Case(name="3 equal, 30 % busy", engines=[SLOTS] * 3, traffic=plain(0.9), requests=1_500),
    Case(name="3 equal, 80 % busy", engines=[SLOTS] * 3, traffic=plain(2.4)),
    Case(name="10 equal, 80 % busy", engines=[SLOTS] * 10, traffic=plain(8)),
    Case(name="10 equal, 80 % busy, streams", engines=[SLOTS] * 10, traffic=plain(8), stream=True),
    Case(name="10 equal, 80 % busy, 8 routers", engines=[SLOTS] * 10, traffic=plain(8), routers=ROUTERS),
    Case(name="100 equal, 80 % busy", engines=[SLOTS] * 100, traffic=plain(80), requests=4_000),
    Case(name="4 equal that batch, 70 % busy, streams", engines=[BATCH] * 4, traffic=plain(12), stream=True),
    Case(name="3 of 6 twice as quick, 20 % busy", engines=[SLOTS, QUICK] * 3, traffic=plain(1.8)),
    Case(name="3 of 6 twice as quick, 80 % busy", engines=[SLOTS, QUICK] * 3, traffic=plain(7.2)),
    Case(name="3 of 6 twice as quick, from cold", engines=[SLOTS, QUICK] * 3, traffic=plain(7.2), requests=200),
    Case(name="5 of 10 twice as quick, 80 % busy, 8 routers", engines=[SLOTS, QUICK] * 5, traffic=plain(12),
         routers=ROUTERS),
    Case(name="30 of 60 twice as quick, 80 % busy", engines=[SLOTS] * 30 + [QUICK] * 30, traffic=plain(72),
         requests=4_000),
    Case(name="1 of 10 five times as slow, 50 % busy", engines=[SLOTS] * 9 + [SLOTS.slowed(5)], traffic=plain(4.6)),
    Case(name="1 of 10 five times as slow, 80 % busy, streams", engines=[SLOTS] * 9 + [SLOTS.slowed(5)],
         traffic=plain(7.3), stream=True),
    Case(name="1 of 4 that batch three times as slow", engines=[BATCH] * 3 + [BATCH.slowed(3)], traffic=plain(8)),
    Case(name="stragglers", engines=[PROVIDER] * 6, traffic=plain(46)),
    Case(name="1 of 4 fails at once, each time", engines=[SLOTS] * 3 + [SLOTS.but(error_rate=1)], traffic=plain(2.1)),
    Case(name="1 of 4 fails at once, 40 %", engines=[SLOTS] * 3 + [SLOTS.but(error_rate=0.4)], traffic=plain(2.4)),
    Case(name="1 of 4 hangs for 200 s", engines=[PROVIDER] * 3 + [PROVIDER.but(outages=((30, 230, "hang"),))],
         traffic=plain(14), requests=4_000, deadline_s=60),
    Case(name="3 that take 600 a minute, asked for 1,500", engines=[PROVIDER.but(requests_per_minute=600)] * 3,
         traffic=plain(25, burst=10), deadline_s=60),
    Case(name="4 replicas with prefix caches, streams", engines=[EngineModel.gpu_8b(cache_tokens=200_000)] * 4,
         traffic=CHAT, requests=1_500, stream=True),
)  # fmt: skip


def policy(case: Case, candidate: str, seed: int) -> Callable[[Sequence[Any]], Router]:
    make, kind = CANDIDATES[candidate]

    def router(engines: Sequence[Any], number: int = 0) -> Router:
        made = Router(engines, strategy=make(seed * 100 + number), name=f"router-{number}")
        usual = Usual()
        for leg in made.legs:
            leg.pace = kind()
            leg.pace.usual = usual
        return made

    def routers(engines: Sequence[Any]) -> Router:
        return Router([router(engines, number) for number in range(case.routers)], strategy=ByLot(seed))

    return router if case.routers == 1 else routers


def tried(case: Case, seed: int, scale: float) -> Simulation:
    return simulate(
        {name: policy(case, name, seed) for name in CANDIDATES},
        case.engines,
        case.traffic,
        requests=max(round(case.requests * scale), 200),
        seed=seed,
        stream=case.stream,
        deadline_s=case.deadline_s,
    )


def report(seeds: int, scale: float) -> str:
    began = time.perf_counter()
    results = [[tried(case, seed, scale) for seed in range(1, seeds + 1)] for case in CASES]
    took = time.perf_counter() - began
    parts = [
        (
            f"## How `latency` was chosen\n\n{len(CASES)} situations, {len(CANDIDATES)} candidates, {seeds} seeds, "
            f"simulated in {took:.0f} s. All begin cold. Engines have 4 slots and take 4 s for a mean answer, where "
            "nothing else is said; 8 routers are 8 processes that know nothing of each other.\n\n"
        )
    ]
    for title, field in (
        ("Half of the answers, s", "p50_s"),
        ("99 of 100 answers, s", "p99_s"),
        ("99 of 100 first tokens, s", "first_token_p99_s"),
        ("Requests without an answer", "failed"),
        ("Attempts for each answer", "attempts_per_answer"),
    ):
        rows = [[cell(result, name, field) for name in CANDIDATES] for result in results]
        kept = [(case, row) for case, row in zip(CASES, rows, strict=True) if len(set(row)) > 1]
        lines = [" | ".join([title, *CANDIDATES]), " | ".join(["---", *["---:"] * len(CANDIDATES)])]
        lines += [" | ".join([case.name, *row]) for case, row in kept]
        parts.append("".join(f"| {line} |\n" for line in lines) + "\n")
    return "".join(parts)


def cell(results: Sequence[Simulation], name: str, field: str) -> str:
    values = [getattr(result[name], field) for result in results]
    mean = statistics.fmean(values)
    if field in ("failed", "attempts_per_answer"):
        return f"{mean:.1f}" if field == "failed" else f"{mean:.3f}"
    return f"{mean:.2f} ± {(max(values) - min(values)) / 2:.2f}"
