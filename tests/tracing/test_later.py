"""Work that is done later is done: in order, once, whatever fails, and before the process ends."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from llmops_sdk.tracing import _later
from llmops_sdk.tracing._later import Later

FLUSH_S = 10.0


def test_work_is_done_in_order_by_another_thread():
    later, done, threads = Later(), [], set()
    for number in range(1000):
        later.do(lambda n=number: (done.append(n), threads.add(threading.current_thread().name)))
    assert later.flush(FLUSH_S)
    assert done == list(range(1000))
    assert threads == {"llmops_sdk later"}


def test_the_caller_does_what_finds_no_room():
    later, going, threads = Later(most=2), threading.Event(), []
    later.do(going.wait)
    later._now.set()
    while later._queue.qsize():
        time.sleep(0.001)
    for _ in range(3):
        later.do(lambda: threads.append(threading.current_thread()))
    assert threads == [threading.main_thread()]
    going.set()
    assert later.flush(FLUSH_S)
    assert len(threads) == 3


def test_flush_tells_that_it_was_not_done_in_time():
    later, going = Later(), threading.Event()
    later.do(going.wait)
    assert not later.flush(0.01)
    going.set()
    assert later.flush(FLUSH_S)


def test_flush_of_the_work_itself_does_not_wait_for_its_own_end():
    later, flushed = Later(), []
    later.do(lambda: flushed.append(later.flush(FLUSH_S)))
    assert later.flush(FLUSH_S)
    assert len(flushed) == 1


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_what_fails_is_logged_once_and_stops_nothing(caplog, error):
    later, done = Later(), []

    def fail() -> None:
        raise error("odd")

    for _ in range(3):
        later.do(fail)
    later.do(done.append, "after")
    assert later.flush(FLUSH_S)
    assert done == ["after"]
    assert later.faults.count == 3
    assert len(caplog.records) == 1
    assert "fail failed" in caplog.text


def test_one_waking_serves_many():
    later, done = Later(batch=8, soon_s=3600), []
    for number in range(8):
        later.do(done.append, number)
    assert done == []  # it waits for more
    assert later.flush(FLUSH_S)
    assert done == list(range(8))


def test_a_full_batch_does_not_wait():
    later, done = Later(batch=8, soon_s=3600), threading.Event()
    for _ in range(9):
        later.do(int)
    later.do(done.set)
    assert done.wait(FLUSH_S)


def test_the_more_waits_the_more_is_done_between_two_naps(monkeypatch):
    later, going, seen = Later(batch=4, soon_s=0.0), threading.Event(), []
    monkeypatch.setattr(_later, "time", SimpleNamespace(sleep=lambda _: seen.append(" ")))
    later.do(going.wait)
    for _ in range(12):
        later.do(seen.append, ".")
    going.set()
    assert later.flush(FLUSH_S)
    assert len("".join(seen).split()[0]) > 1  # or whoever makes work on and on is never caught up with
    assert [len(one) for one in "".join(seen).split()[-3:]] == [1, 1, 1]  # or each answer waits for several


def test_an_interrupt_of_the_caller_is_not_kept_from_it():
    later = Later(most=0)

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        later.do(interrupt)


def test_a_forked_child_does_its_own_work_and_not_that_of_its_parent():
    later, done = Later(), []
    later.do(done.append, "parent")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        later.do(done.append, "child")
        os.write(write, f"{later.flush(FLUSH_S)} {done}".encode())
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read) as told:
        assert told.read() == "True ['child']"
    assert later.flush(FLUSH_S)
    assert done == ["parent"]


def _child_of_multiprocessing(path: str) -> None:
    Later().do(_write, path)


def _write(path: str) -> None:
    Path(path).write_text("done")


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_child_of_multiprocessing_does_its_work_before_it_ends(tmp_path, method):
    path = tmp_path / "done"
    child = multiprocessing.get_context(method).Process(target=_child_of_multiprocessing, args=(str(path),))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert path.read_text() == "done"


def test_it_is_emptied_at_exit_before_what_was_there_when_it_was_told():
    program = """
import atexit
from llmops_sdk.tracing._later import LATER
LATER.do(int)
atexit.register(lambda: (print("provider ends"), LATER.do(print, "after the end")))
LATER.empty_first_at_exit()
LATER.do(print, "work")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.split("\n")[:3] == ["work", "provider ends", "after the end"]
    assert done.stderr == ""
