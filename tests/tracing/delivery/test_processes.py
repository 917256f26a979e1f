"""Ways in which processes end, split and stand still: what had ended, or was counted as delivered, is there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

_BEGINNING = """
import json, multiprocessing, os, signal, sys, threading, time
from llmops_sdk import Pipeline, Scripted, tracing

def say(**values):
    print(json.dumps(values), flush=True)

def run(number, traced, name="n"):
    Pipeline("{{ q }}", Scripted("Hi."), hooks=[traced]).run(q="x", tags={name: str(number)})
"""

_LOAD = (
    _BEGINNING
    + """
traced = tracing.setup(sys.argv[1], every_s=0.02)
for number in range(10**9):
    run(number, traced)
    say(ended=number, delivered=traced.counts.delivered)
"""
)


@pytest.fixture
def lines(begin):
    """The lines that a program prints, as they come, and its process."""

    def lines(program, *arguments):
        child = begin(program, *arguments)
        return child, map(json.loads, child.stdout)

    return lines


def numbers(most):
    return {str(number) for number in range(most + 1)}


def test_sigterm_in_the_middle_of_load_loses_nothing_that_had_ended(lines, collector):
    child, said = lines(_LOAD, collector.url)
    before = next(line for line in said if line["delivered"] > 20)
    child.terminate()
    last = [before, *said][-1]  # it goes on while the spans are sent
    assert child.wait(20) == -signal.SIGTERM
    assert numbers(before["ended"]) <= collector.tags("n")
    assert len(collector.spans) >= last["delivered"]
    assert len(collector.ids) == len(set(collector.ids))


def test_a_dead_collector_does_not_keep_a_process_from_ending_at_sigterm(lines, collector):
    collector.answers = lambda: "hang"
    child, said = lines(_LOAD.replace("every_s=0.02", "every_s=0.02, exit_s=0.3"), collector.url)
    next(line for line in said if line["ended"] > 20)
    child.terminate()
    assert child.wait(20) == -signal.SIGTERM


def test_a_second_sigterm_ends_at_once(lines, collector):
    collector.answers = lambda: "hang"
    program = (
        _BEGINNING
        + """
traced = tracing.setup(sys.argv[1], exit_s=3600)
run(1, traced)
while True:
    say(handled=signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
"""
    )
    child, said = lines(program, collector.url)
    assert next(said) == {"handled": False}
    child.terminate()
    next(line for line in said if line["handled"])
    child.terminate()
    assert child.wait(20) == -signal.SIGTERM


def test_sigterm_while_the_main_thread_holds_the_lock_is_flushed(lines, collector):
    program = (
        _BEGINNING
        + """
traced = tracing.setup(sys.argv[1], every_s=3600)
run(1, traced)
from llmops_sdk.tracing._later import LATER
LATER.flush(5)
with traced._delivery._changed:  # as if it had been stopped while it puts a span in
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.2)
signal.pause()
"""
    )
    child, _ = lines(program, collector.url)
    assert child.wait(20) == -signal.SIGTERM
    assert collector.tags("n") == {"1"}


def test_the_applications_own_handler_is_left_alone(lines, collector):
    program = (
        _BEGINNING
        + """
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
traced = tracing.setup(sys.argv[1], every_s=3600)
run(1, traced)
os.kill(os.getpid(), signal.SIGTERM)
"""
    )
    child, _ = lines(program, collector.url)
    assert child.wait(20) == 7
    assert collector.tags("n") == {"1"}


def test_kill_9_loses_nothing_that_was_counted_as_delivered(lines, collector):
    child, said = lines(_LOAD, collector.url)
    last = next(line for line in said if line["delivered"] > 200)
    child.kill()
    for line in said:
        last = line
    assert len(collector.spans) >= last["delivered"]


def test_the_end_of_a_short_program_sends_what_it_made(collector):
    # From the command line, and not from the nursery: with imports of its own.
    program = _BEGINNING + "run(1, tracing.setup(sys.argv[1], every_s=3600))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program, collector.url]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert collector.tags("n") == {"1"}
    assert ended.stderr == ""


def test_a_thousand_runs_in_flight_at_the_end_are_all_accounted_for(lines, collector):
    program = (
        _BEGINNING
        + """
import asyncio, atexit
traced = tracing.setup(sys.argv[1])
slow = Pipeline("{{ q }}", Scripted("Hi.", delay_s=3600), hooks=[traced])

async def main():
    asks = [asyncio.ensure_future(slow.arun(q="x")) for _ in range(1000)]
    await asyncio.sleep(0)
    await asyncio.sleep(0.1)

atexit.unregister(traced.close)
asyncio.run(main())
done = traced.close(30)
counts = traced.counts
say(made=counts.made, delivered=counts.delivered, rejected=counts.rejected, dropped=counts.dropped)
"""
    )
    child, said = lines(program, collector.url)
    counts = next(said)
    assert child.wait(20) == 0
    assert counts["made"] >= 1000
    assert counts["made"] == counts["delivered"] + counts["rejected"] + counts["dropped"]
    assert counts["delivered"] == len(collector.spans) >= 1000


@pytest.mark.parametrize("leave", ["sys.exit(0)", "traced.close(); os._exit(0)"])
def test_a_fork_in_the_middle_of_load_sends_each_span_once(lines, collector, leave):
    program = (
        _BEGINNING
        + f"""
traced = tracing.setup(sys.argv[1], every_s=0.01)
over = threading.Event()
def load():
    while not over.is_set():
        run(0, traced, "thread")
threading.Thread(target=load, daemon=True).start()
children = []
for child in range(5):
    for number in range(5):
        run(f"{{child}}-{{number}}", traced, "parent")
    if not (pid := os.fork()):
        for number in range(5):
            run(f"{{child}}-{{number}}", traced, "child")
        {leave}
    children.append(pid)
over.set()
codes = [os.waitpid(pid, 0)[1] for pid in children]
done = traced.close()
say(codes=codes, done=done, lost=traced.counts.rejected + traced.counts.dropped)
"""
    )
    child, said = lines(program, collector.url)
    assert next(said) == {"codes": [0] * 5, "done": True, "lost": 0}
    assert child.wait(20) == 0
    wanted = {f"{child}-{number}" for child in range(5) for number in range(5)}
    assert collector.tags("parent") == wanted
    assert collector.tags("child") == wanted
    assert len(collector.ids) == len(set(collector.ids))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_children_of_multiprocessing_send_before_they_leave(lines, collector, method):
    program = (
        _BEGINNING
        + f"""
traced = tracing.setup(sys.argv[1], every_s=3600)

def work(number):
    run(number, traced)

if __name__ == "__main__":
    work(0)
    processes = multiprocessing.get_context("{method}")
    child = processes.Process(target=work, args=(1,))
    child.start()
    child.join()
    with processes.Pool(1) as pool:
        pool.map(work, [2])
"""
    )
    child, _ = lines(program, collector.url)
    assert child.wait(30) == 0
    assert collector.tags("n") == numbers(2)
    assert len(collector.ids) == len(set(collector.ids))


def test_a_process_that_stood_still_goes_on(lines, collector):
    child, said = lines(_LOAD, collector.url)
    next(line for line in said if line["delivered"] > 20)
    os.kill(child.pid, signal.SIGSTOP)
    had = len(collector.spans)
    os.kill(child.pid, signal.SIGCONT)
    last = next(line for line in said if line["delivered"] > had + 20)
    child.terminate()
    assert list(said)
    assert child.wait(20) == -signal.SIGTERM
    assert numbers(last["ended"]) <= collector.tags("n")


def test_gunicorn_with_preloading(lines, collector, until, tmp_path):
    pytest.importorskip("gunicorn")
    (tmp_path / "web.py").write_text(
        _BEGINNING
        + f"""
traced = tracing.setup({collector.url!r}, every_s=3600)

def app(environ, start_response):
    run(environ["PATH_INFO"][1:], traced)
    start_response("200 OK", [])
    return []
"""
    )
    program = f"""
import sys
from gunicorn.app.wsgiapp import run
sys.argv = ["gunicorn", "--preload", "--workers=2", "--bind=unix:{tmp_path}/s", "--pythonpath={tmp_path}", "web:app"]
run()
"""
    import http.client
    import socket

    child, _ = lines(program)
    until((tmp_path / "s").exists)
    for number in range(10):
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(f"{tmp_path}/s")
        connection.request("GET", f"/{number}")
        assert connection.getresponse().status == 200
        connection.close()
    child.terminate()
    assert child.wait(30) == 0
    assert collector.tags("n") == numbers(9)
