"""What monitoring costs: on the path of a run, and on the monitor's own thread.

python benchmarks/monitoring.py [--runs 20000]
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import tempfile
import time
from decimal import Decimal
from pathlib import Path

from llmops_sdk.calls import AttemptEnded, AttemptStarted, Call, Ended, GuardChecked, Rendered, Routed, Started
from llmops_sdk.engines import Scripted
from llmops_sdk.messages import Choice, Document, Message, PromptRef, Request, Response, Usage
from llmops_sdk.monitoring import Monitor
from llmops_sdk.verdicts import Verdict

ANSWER = (
    "The opening hours of the library changed in spring: on weekdays it opens at nine and closes at six, and on "
    "Saturdays it is open until noon. If you have to return a book outside of these hours, use the box at the door. "
) * 3
DOCUMENT = Document(id="hours", text="The library opens at nine on weekdays and closes at six. " * 10)


def run(call: Call) -> Call:
    """A run as a pipeline records it: a render, a guard, a route, an attempt, a guard."""
    request = Request(
        messages=(Message.user("When does the library open on weekdays, please, and when on Saturdays?"),)
    )
    response = Response(choices=(Choice(text=ANSWER),), usage=Usage(input_tokens=900, output_tokens=90), model="m")
    t = call.started
    events = [
        Started(t, "support", False),
        Rendered(t, t, PromptRef(name="answer", version="prod"), request, {"documents": [DOCUMENT]}),
        GuardChecked(t, t, "pii", "input", Verdict.allow(), 0.0),
        Routed(t, "router", ("cloud",), ()),
        AttemptStarted(t, "cloud", 1),
        AttemptEnded(
            t, t + 0.5, "cloud", "openai", 1, request, response, response.usage, Decimal("0.0002"), None, False, None, 0
        ),
        GuardChecked(t, t, "secrets", "output", Verdict.allow(), 0.0),
        Ended(t + 0.5, "ok", None, response),
    ]
    for event in events:
        call.record(event)
    return call


def on_the_path(folder: Path, runs: int) -> None:
    """The CPU time that a hook adds to a run on its own thread."""

    def timed(hooks: tuple[Monitor, ...]) -> float:
        calls = [Call(hooks=hooks) for _ in range(runs)]
        started = time.thread_time()
        for call in calls:
            run(call)
        return (time.thread_time() - started) / runs * 1e6

    monitor = Monitor(store=folder / "path.db", queue=10 * runs)
    bare = min(timed(()) for _ in range(5))
    watched = min(timed((monitor,)) for _ in range(5))
    print(f"on the path: {watched - bare:.2f} us of CPU for each run ({bare:.2f} us without a monitor)")
    monitor.close(60)


def wait_for_room(monitor: Monitor) -> None:
    """A loop that outruns the monitor's thread would measure how quickly runs are left out."""
    while monitor._batches.fill > 0.4:
        time.sleep(0.001)


def in_the_background(folder: Path, runs: int) -> None:
    """How many runs a second the monitor's thread takes, and what memory it needs for them."""
    monitor = Monitor(store=folder / "background.db", queue=runs * 2)
    started = time.perf_counter()
    for _ in range(runs):
        run(Call(hooks=(monitor,)))
        wait_for_room(monitor)
    assert monitor.flush(120)
    seconds = time.perf_counter() - started
    size = sum(path.stat().st_size for path in folder.glob("background.db*"))
    print(f"in the background: {runs / seconds:,.0f} runs/s; {size / runs:.0f} bytes of file for each")
    print(f"counts: {monitor.counts}")
    monitor.close()


def latency(folder: Path, runs: int) -> None:
    """What a pipeline's caller waits longer, with the monitor's thread at work beside it."""

    async def timed(pipeline: object) -> float:
        started = time.perf_counter()
        for _ in range(runs):
            await pipeline.arun(name="Ada")
        return (time.perf_counter() - started) / runs * 1e6

    pipeline = "Say hello to {{ name }}" | Scripted(ANSWER)
    with Monitor(pipeline, store=folder / "latency.db", queue=10 * runs) as monitor:
        watched = monitor.pipeline
        bare = min(asyncio.run(timed(pipeline)) for _ in range(3))
        slower = min(asyncio.run(timed(watched)) for _ in range(3))
        print(f"a run back to back: {bare:.0f} us without, {slower:.0f} us with the monitor's thread beside it")


def memory(folder: Path, runs: int) -> None:
    """Whether memory stays flat."""
    with Monitor(store=folder / "memory.db") as monitor:
        for step in range(5):
            for _ in range(runs // 5):
                run(Call(hooks=(monitor,)))
                wait_for_room(monitor)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"memory after {(step + 1) * runs // 5:,} runs: {peak:.0f} MiB at most")


def main() -> None:
    """Measure all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--only", choices=("path", "background", "latency", "memory"))
    given = parser.parse_args()
    parts = {"path": on_the_path, "background": in_the_background, "latency": latency, "memory": memory}
    with tempfile.TemporaryDirectory() as folder:
        for name, part in parts.items():
            if given.only in (None, name):
                part(Path(folder), given.runs if name in ("background", "memory") else 2_000)


if __name__ == "__main__":
    main()
