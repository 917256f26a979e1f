"""Which policy is best for which engines: the router itself, simulated; and how fast the simulation is.

Each scenario is run with several seeds; figures are means over them. The same seeds give the same figures.

    python benchmarks/simulation.py [--only NAME] [--seeds 3] [--scale 1.0] [--out simulation.md]
    python benchmarks/simulation.py --only latency: how the default strategy was chosen
    python benchmarks/simulation.py --large [--engines 1000] [--requests 1000000]
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import latency_candidates

from llmops_sdk import routers
from llmops_sdk.routers import EngineModel, Simulation, Traffic, simulate

DOCS = Path(__file__).parent.parent / "docs" / "concepts" / "pictures"


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A question, and the engines, the traffic and the policies that answer it."""

    question: str
    engines: Sequence[EngineModel] | Mapping[str, EngineModel]
    traffic: Traffic
    policies: Callable[[], Mapping[str, Any]]
    requests: int = 6_000
    stream: bool = False
    deadline_s: float | None = None
    picture: bool = False


def strategies(*names: str, **options: Any) -> dict[str, Any]:
    return {name: {"strategy": name, **options} for name in names}


LOAD = ("round_robin", "least_busy", "latency", "oracle")
PROVIDER = EngineModel.provider(slots=32)
REPLICA = EngineModel.gpu_8b(cache_tokens=200_000)
CHAT = Traffic(
    rate_per_s=1, prompt_tokens=(150, 1.0), answer_tokens=(200, 0.8), tenants=100, shared_tokens=2000, turns=4
)
PLAIN = Traffic(rate_per_s=1, prompt_tokens=(500, 1.0), answer_tokens=(200, 0.8))

SCENARIOS = {
    "stragglers": Scenario(
        question="Six equal endpoints with stragglers, 32 requests at once each, 70 % busy",
        engines=[PROVIDER] * 6,
        traffic=PLAIN.scaled(46),
        policies=lambda: strategies(*LOAD),
        picture=True,
    ),
    "many": Scenario(
        question="A hundred small engines, 4 requests at once each, 80 % busy",
        engines=[EngineModel(slots=4, jitter=0.5)] * 100,
        traffic=PLAIN.scaled(80),
        policies=lambda: strategies(*LOAD),
        requests=5_000,
    ),
    "unequal": Scenario(
        question="Eight engines, two of them half as fast and one a quarter",
        engines=[EngineModel(slots=16, jitter=0.3)] * 5
        + [EngineModel(slots=16, jitter=0.3).slowed(2)] * 2
        + [EngineModel(slots=16, jitter=0.3).slowed(4)],
        traffic=PLAIN.scaled(18),
        policies=lambda: strategies(*LOAD),
    ),
    "prefixes": Scenario(
        question="Eight replicas of vLLM, conversations of 100 tenants with system prompts of 2,000 tokens",
        engines=[REPLICA] * 8,
        traffic=CHAT.scaled(60),
        policies=lambda: {
            **strategies(*LOAD),
            "prefix_affinity": {"strategy": "prefix_affinity"},
            **{
                f"4,000 characters, load {load}": {"strategy": routers.PrefixAffinity(characters=4000, load=load)}
                for load in (1.1, 1.25, 1.5, 2.0)
            },
        },
        stream=True,
        picture=True,
    ),
    "faults": Scenario(
        question="Four endpoints: one refuses for ten minutes, one fails 30 % of the time, one is four times as slow",
        engines={
            "good": PROVIDER,
            "down": PROVIDER.but(outages=((60, 660),)),
            "flaky": PROVIDER.but(error_rate=0.3),
            "slow": PROVIDER.slowed(4),
        },
        traffic=PLAIN.scaled(14),
        policies=lambda: strategies(*LOAD),
        deadline_s=60,
        picture=True,
    ),
    "hanging": Scenario(
        question="Four endpoints, one of which hangs for ten minutes",
        engines=[*[PROVIDER] * 3, PROVIDER.but(outages=((60, 660, "hang"),))],
        traffic=PLAIN.scaled(14),
        policies=lambda: {**strategies(*LOAD), "least_busy, hedged": {"strategy": "least_busy", "hedge": "p95"}},
        deadline_s=60,
    ),
    "limits": Scenario(
        question="Three providers that take 600 requests a minute each, asked for 25 a second in bursts",
        engines=[EngineModel.provider(requests_per_minute=600)] * 3,
        traffic=Traffic(rate_per_s=25, answer_tokens=(200, 0.8), burst=10),
        policies=lambda: strategies(*LOAD),
        deadline_s=60,
    ),
    "hedges": Scenario(
        question="Six equal endpoints with stragglers, 40 % busy: when and how often to ask a second one",
        engines=[PROVIDER] * 6,
        traffic=PLAIN.scaled(26),
        policies=lambda: {
            "none": {"strategy": "least_busy"},
            **{
                f"p{quantile * 100:.0f}, {share:.0%}": {
                    "strategy": "least_busy",
                    "hedge": routers.Hedge(quantile=quantile, share=share),
                }
                for quantile, share in ((0.9, 0.05), (0.9, 0.1), (0.9, 0.2), (0.95, 0.05), (0.95, 0.1), (0.99, 0.1))
            },
            "oracle": {"strategy": "oracle"},
        },
        picture=True,
    ),
}

COLUMNS = ("policy", "failed", "p50, s", "p99, s", "first token p99, s", "attempts", "wasted tokens", "prefix hits",
           "max/mean")  # fmt: skip


def table(results: Sequence[Simulation]) -> str:
    """Means over the seeds; behind each, how far the seeds lie apart."""
    lines = [" | ".join(COLUMNS), " | ".join(["---", *["---:"] * (len(COLUMNS) - 1)])]
    for rows in zip(*results, strict=True):
        sent = rows[0].sent

        def both(values: Sequence[float]) -> str:
            return f"{statistics.fmean(values):.2f} ± {(max(values) - min(values)) / 2:.2f}"

        lines.append(
            " | ".join(
                (
                    rows[0].policy,
                    f"{statistics.fmean(row.failed for row in rows) / sent:.2%}",
                    both([row.p50_s for row in rows]),
                    both([row.p99_s for row in rows]),
                    both([row.first_token_p99_s for row in rows]),
                    f"{statistics.fmean(row.attempts_per_answer for row in rows):.3f}",
                    f"{statistics.fmean(row.wasted_tokens for row in rows):,.0f}",
                    f"{statistics.fmean(row.prefix_hit_rate for row in rows):.1%}",
                    f"{statistics.fmean(row.imbalance for row in rows):.2f}",
                )
            )
        )
    return "".join(f"| {line} |\n" for line in lines)


def run(name: str, scenario: Scenario, seeds: int, scale: float) -> str:
    requests = max(round(scenario.requests * scale), 200)
    began = time.perf_counter()
    results = [
        simulate(
            scenario.policies(),
            scenario.engines,
            scenario.traffic,
            requests=requests,
            seed=seed,
            stream=scenario.stream,
            deadline_s=scenario.deadline_s,
        )
        for seed in range(1, seeds + 1)
    ]
    took = time.perf_counter() - began
    picture = ""
    if scenario.picture:
        DOCS.mkdir(exist_ok=True)
        results[0].save(DOCS / f"simulation-{name}.svg")
        picture = f"![{scenario.question}](../../docs/concepts/pictures/simulation-{name}.svg)\n\n"
    return (
        f"## {name}\n\n{scenario.question}. {requests:,} requests, {seeds} seeds, simulated in {took:.0f} s.\n\n"
        f"{table(results)}\n{picture}"
    )


def large(engines: int, requests: int, strategy: str) -> str:
    model = EngineModel(step_s=0.02, slots=8, jitter=0.3)
    traffic = Traffic(rate_per_s=engines * 2.8, prompt_tokens=100, answer_tokens=(100, 1.0))
    began, cpu = time.perf_counter(), time.process_time()
    result = simulate(strategy, [model] * engines, traffic, requests=requests, seed=1, progress=True)
    took, busy = time.perf_counter() - began, time.process_time() - cpu
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return (
        f"| {strategy} | {engines:,} | {requests:,} | {took:.0f} s | {busy:.0f} s | {busy / requests * 1e6:.0f} us "
        f"| {memory:.0f} MiB | {result[strategy].p99_s!r} |\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=(*SCENARIOS, "latency"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--strategy", default="least_busy")
    parser.add_argument("--engines", type=int, default=1000)
    parser.add_argument("--requests", type=int, default=1_000_000)
    arguments = parser.parse_args()
    if arguments.large:
        print(large(arguments.engines, arguments.requests, arguments.strategy))
        return
    parts = [
        (
            f"# Simulated policies\n\n{date.today()}; Python {platform.python_version()}, one core of {os.cpu_count()}."
            " Behind each mean, half the distance between the highest and the lowest of the seeds.\n\n"
        )
    ]
    for name, scenario in SCENARIOS.items():
        if arguments.only in (None, name):
            parts.append(run(name, scenario, arguments.seeds, arguments.scale))
            print(parts[-1], flush=True)
    if arguments.only in (None, "latency"):
        parts.append(latency_candidates.report(arguments.seeds, arguments.scale))
        print(parts[-1], flush=True)
    if arguments.out is not None:
        arguments.out.write_text("".join(parts) + "Made by `python benchmarks/simulation.py`.\n")


if __name__ == "__main__":
    main()
