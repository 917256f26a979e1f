"""What stays behind when a vLLM engine is opened, asked and closed again and again in one process.

python benchmarks/vllm_open_close.py [--times 20] [--threads 2] [--out benchmarks/results/vllm_open_close.md]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import platform
import tempfile
import threading
import time
from datetime import date
from pathlib import Path

STEPS = ("import", "configure", "core", "weights", "kv_cache", "warm_up", "report", "connect")


def held() -> tuple[int, int, int, int, float]:
    """File descriptors, threads, child processes, folders of cores, and resident MiB of this process."""
    gc.collect()
    children = sum(
        1
        for stat in Path("/proc").glob("[0-9]*/stat")
        if (text := _read(stat)) and text.rpartition(")")[2].split()[1] == str(os.getpid())
    )
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return (
        len(list(Path("/proc/self/fd").iterdir())),
        threading.active_count(),
        children,
        len(list(Path(tempfile.gettempdir()).glob("llmops-vllm-*"))),
        pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
    )


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # the process has ended meanwhile
        return ""


async def once(threads: int) -> tuple[float, float, dict[str, float]]:
    from llmops_sdk import Engine
    from llmops_sdk.messages import Message, Request

    began = time.perf_counter()
    engine = Engine.open("embedded:", cpu_threads=threads, kv_cache_gib=0.25, progress=False)
    await engine.agenerate(Request(messages=(Message.user("Hello"),), max_tokens=4))
    opened = time.perf_counter()
    steps = dict(engine.startup)
    await engine.aclose()
    return opened - began, time.perf_counter() - opened, steps


async def measure(times: int, threads: int) -> list[str]:
    rows = [
        "| time | open and ask, s | close, s | files | threads | children | folders | MiB | "
        + " | ".join(STEPS)
        + " |",
        "|" + "---|" * (8 + len(STEPS)),
    ]
    for number in range(1, times + 1):
        opened, closed, steps = await once(threads)
        files, running, children, folders, mib = held()
        rows.append(
            f"| {number} | {opened:.1f} | {closed:.1f} | {files} | {running} | {children} | {folders} | {mib:.0f} | "
            + " | ".join(f"{steps.get(step, 0.0):.2f}" for step in STEPS)
            + " |"
        )
        print(rows[-1], flush=True)
    return rows


def _conditions(threads: int, load: float) -> str:
    return (
        f"{date.today()}; {os.cpu_count()} cores, no GPU; Python {platform.python_version()}; SmolLM2-135M-Instruct, "
        f"{threads} compute thread(s); load average of the machine when it began: {load:.1f}. After each closing: file "
        "descriptors, threads, child processes, folders for temporary files, resident memory of the application's "
        "process. Then where the start spent its time, in seconds."
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--times", type=int, default=20)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--out", type=Path)
    options = arguments.parse_args()
    load = os.getloadavg()[0]
    rows = asyncio.run(measure(options.times, options.threads))
    text = "\n".join(
        [
            "# A vLLM engine opened and closed again and again in one process",
            "",
            _conditions(options.threads, load),
            "",
            *rows,
            "",
            "Made by `python benchmarks/vllm_open_close.py`.",
            "",
        ]
    )
    if options.out:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
