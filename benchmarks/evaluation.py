"""What an evaluation costs beside the runs themselves: CPU per cell, memory over the number of cases, and resuming.

The engine answers at once, in this process, so that all that is measured is work of this library. A cell is one run of
one case by one pipeline; bare runs are `pipeline.arun` in as many tasks.

    python benchmarks/evaluation.py [--cases 5000] [--rounds 3] [--many 100000] [--out FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from llmops_sdk import Engine
from llmops_sdk.evaluation import Case, Dataset, aevaluate, metric, metrics
from llmops_sdk.messages import Choice, Request, Response, Usage

CONCURRENCY = 64


class Immediate(Engine):
    """Answers at once, and keeps nothing."""

    provider = "benchmark"
    model = "immediate"

    def configuration(self) -> dict[str, Any]:
        return {}

    async def agenerate(self, request: Request) -> Response:
        return Response(choices=(Choice(text="7"),), usage=Usage(input_tokens=4, output_tokens=1))


PIPELINES = {"base": "{{ q }}" | Immediate(), "new": "Answer: {{ q }}" | Immediate()}


def cases(number: int) -> Dataset:
    def read() -> Iterator[Case]:
        for one in range(number):
            yield Case(input={"q": f"What is {one}?"}, expected=str(one))

    return Dataset(read)


@metric(version="1")
def polite(case: Case, result: Any) -> bool:
    return "please" in result.text


async def bare(data: Dataset) -> None:
    todo = iter([(pipeline, case.input) for case in data for pipeline in PIPELINES.values()])

    async def work() -> None:
        for pipeline, given in todo:
            await pipeline.arun(given)

    await asyncio.gather(*(work() for _ in range(CONCURRENCY)))


async def ours(data: Dataset, given: Sequence[Any], store: Path) -> None:
    await aevaluate(PIPELINES, data, given, store=store, progress=False, concurrency=CONCURRENCY)


async def cpu_per_cell(number: int, rounds: int, given: Sequence[Any]) -> tuple[float, float]:
    """Milliseconds of CPU for a bare run, and what an evaluation needs beyond it; medians of rounds in turns."""
    data, cells = cases(number), number * len(PIPELINES)
    await bare(data)
    seconds: list[tuple[float, float]] = []
    for _ in range(rounds):
        began = time.process_time()
        await bare(data)
        between = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            await ours(data, given, Path(folder, "e.db"))
        seconds.append((between - began, time.process_time() - between))
    alone = statistics.median(one for one, _ in seconds)
    beyond = statistics.median(two - one for one, two in seconds)
    return alone * 1000 / cells, beyond * 1000 / cells


async def resuming(number: int) -> tuple[float, float]:
    """Seconds, and seconds of CPU, for an experiment of so many cells that is finished."""
    with tempfile.TemporaryDirectory() as folder:
        await ours(cases(number // 2), [metrics.Exact()], Path(folder, "e.db"))
        began, cpu = time.perf_counter(), time.process_time()
        await ours(cases(number // 2), [metrics.Exact()], Path(folder, "e.db"))
        return time.perf_counter() - began, time.process_time() - cpu


def memory(number: int) -> tuple[float, float]:
    """MiB at most, and seconds, of a process that evaluates so many cases."""
    program = (
        "import asyncio, resource, tempfile, sys; from pathlib import Path; import evaluation\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    given = [evaluation.metrics.Exact()]\n"
        "    asyncio.run(evaluation.ours(evaluation.cases(int(sys.argv[1])), given, Path(folder, 'e.db')))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    began = time.perf_counter()
    told = subprocess.run(
        [sys.executable, "-c", program, str(number)],
        cwd=Path(__file__).parent,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(told.stdout), time.perf_counter() - began


def report(arguments: argparse.Namespace) -> str:
    load = os.getloadavg()[0]
    lines = [
        "# What an evaluation costs beside its runs",
        "",
        f"{date.today()}; {os.cpu_count()} cores; Python {platform.python_version()}; load average of the machine",
        f"when it began: {load:.1f}. Two pipelines, {CONCURRENCY} runs under way, an engine that answers at once.",
        "",
        f"## CPU, {arguments.cases:,} cases",
        "",
        "| Metrics | bare `arun`, ms/cell | `evaluate` beyond it, ms/cell |",
        "|---|---|---|",
    ]
    for name, given in (
        ("none", []),
        ("`Exact`", [metrics.Exact()]),
        ("`Exact` and a function, in a thread", [metrics.Exact(), polite]),
    ):
        alone, beyond = asyncio.run(cpu_per_cell(arguments.cases, arguments.rounds, given))
        lines.append(f"| {name} | {alone:.3f} | {beyond:.3f} |")
    lines += ["", "## Memory", "", "| Cases | cells | most memory, MiB | seconds |", "|---|---|---|---|"]
    for number in (100, arguments.many // 10, arguments.many):
        most, seconds = memory(number)
        lines.append(f"| {number:,} | {2 * number:,} | {most:.0f} | {seconds:.1f} |")
    again, cpu = asyncio.run(resuming(10_000))
    lines += [
        "",
        "## Going on",
        "",
        f"A finished experiment of 10,000 cells, called again: {again:.2f} s ({cpu:.2f} s of CPU), with",
        "reading the cases.",
        "",
        "Made by `python benchmarks/evaluation.py`.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--many", type=int, default=100_000)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "evaluation.md")
    arguments = parser.parse_args()
    text = report(arguments)
    arguments.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
