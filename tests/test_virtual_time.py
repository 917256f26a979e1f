"""Hours pass in no time, and everything that waits by the loop agrees on how late it is."""

import asyncio
import threading
import time

import pytest

from llmops_sdk import Call, Router, Scripted, errors
from llmops_sdk.virtual_time import run_in_virtual_time


def test_sleeps_timeouts_and_calls_agree_on_the_time():
    async def main():
        call = Call(deadline_s=100.0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await asyncio.sleep(3600)
        return call.remaining_s()

    started = time.perf_counter()
    assert run_in_virtual_time(main()) == pytest.approx(40.0)
    assert time.perf_counter() - started < 30


def test_what_a_router_waits_for_passes_at_once():
    async def main():
        router = Router([Scripted(errors.RateLimitError("later", retry_after_s=600.0), "b")])
        started = asyncio.get_running_loop().time()
        answer = await ("hello" | router).arun()
        return answer.text, asyncio.get_running_loop().time() - started

    assert run_in_virtual_time(main()) == ("b", pytest.approx(600.0))


def test_time_outside_stays_what_it_is():
    async def main():
        await asyncio.sleep(10_000)

    run_in_virtual_time(main())
    assert Call().clock is time.perf_counter


def test_threads_are_waited_for_when_nothing_else_will_happen():
    async def main():
        woken = asyncio.Event()
        loop = asyncio.get_running_loop()
        threading.Timer(0.01, loop.call_soon_threadsafe, [woken.set]).start()
        await woken.wait()
        return True

    assert run_in_virtual_time(main())
