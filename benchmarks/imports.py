"""What `import llmops_sdk` costs beside `import asyncio` and the peers: `nox -s bench -- imports.py`.

Each import is timed in new processes, one of each in turn, so that what else the machine does meets all alike. The
figures that count are ratios. With `--check` only the SDK is timed, and more than the budget is an error.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import platform
import statistics
import subprocess
import sys
from pathlib import Path

BASE = "import asyncio"
OWN = "import llmops_sdk"
FACE = "from llmops_sdk import Engine, Pipeline, Prompt, Router, guards"
PEERS = {"openai": "openai", "litellm": "litellm", "langchain_core": "langchain-core", "dspy": "dspy"}
BUDGET = 1.5
"""Most that `import llmops_sdk` may take, as a multiple of `import asyncio`."""

Runs = list[tuple[float, int]]
"""Seconds and number of loaded modules of each run."""

TIMER = """
import sys, time
before, started = set(sys.modules), time.perf_counter()
{statement}
print(time.perf_counter() - started, len(set(sys.modules) - before))
"""
LANGCHAIN = "from langchain_core.runnables import Runnable"
"""`import langchain_core` alone loads next to nothing; this is the least that is useful."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="time only the SDK, and fail when it is over the budget")
    parser.add_argument("--rounds", type=int, default=15, help="new processes for each import")
    options = parser.parse_args()
    statements = {BASE: "", OWN: ""}
    absent = []
    if not options.check:
        statements[FACE] = ""
        for module, distribution in PEERS.items():
            if importlib.util.find_spec(module) is None:
                absent.append(module)
            else:
                statement = LANGCHAIN if module == "langchain_core" else f"import {module}"
                statements[statement] = importlib.metadata.version(distribution)
    times = measure(list(statements), options.rounds)
    page = report(times, statements, absent, options.rounds)
    print(page)
    if options.check:
        ratio = median(times[OWN]) / median(times[BASE])
        if ratio > BUDGET:
            sys.exit(f"`{OWN}` takes {ratio:.2f} x `{BASE}`; the budget is {BUDGET} x")
    else:
        (Path(__file__).parent / "results" / "imports.md").write_text(page)


def measure(statements: list[str], rounds: int) -> dict[str, Runs]:
    """Seconds and number of modules of each import, `rounds` times, after one round that fills the caches."""
    times: dict[str, Runs] = {statement: [] for statement in statements}
    for number in range(rounds + 1):
        for statement in statements:
            code = TIMER.format(statement=statement)
            done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
            seconds, modules = done.stdout.split()[-2:]
            if number:
                times[statement].append((float(seconds), int(modules)))
    return times


def median(runs: Runs) -> float:
    return statistics.median(seconds for seconds, _ in runs)


def report(times: dict[str, Runs], statements: dict[str, str], absent: list[str], rounds: int) -> str:
    base = median(times[BASE])
    lines = [
        "# Imports",
        "",
        f"Made by `nox -s bench -- imports.py`. Median of {rounds} new processes each, in turn.",
        f"Python {platform.python_version()}, {platform.machine()}.",
        "",
        "| import | version | ms | × `import asyncio` | modules loaded |",
        "|---|---|---:|---:|---:|",
    ]
    for statement, runs in times.items():
        own, version = median(runs), statements[statement]
        lines.append(f"| `{statement}` | {version} | {own * 1000:.2f} | {own / base:.2f} | {runs[0][1]} |")
    if absent:
        lines += ["", f"Not installed, so not measured: {', '.join(absent)}."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
