"""A caller may leave at any moment: whatever was begun for him is stopped, and whatever was set aside is free again."""

import asyncio
import contextlib
from contextvars import copy_context
from decimal import Decimal

import pytest

from llmops_sdk import errors
from llmops_sdk.calls import CLOCK, AttemptEnded, AttemptStarted, Call
from llmops_sdk.costs import PriceTable
from llmops_sdk.engines import Engine, Scripted
from llmops_sdk.messages import Chunk, Request, Usage
from llmops_sdk.protocols import Capabilities
from llmops_sdk.routers import Leg, Limit, Router
from llmops_sdk.virtual_time import VirtualTimeLoop, run_in_virtual_time

CUT = errors.EngineConnectionError("cut")


def asked(**options):
    return Request(messages=Request.of("hello").messages, call=Call(**options))


def legs_of(router):
    for leg in router.legs:
        yield leg
        if isinstance(leg.engine, Router):
            yield from legs_of(leg.engine)


class Steps(Engine):
    """Says the texts, waits where there is a number, raises what is an error."""

    provider = "openai"
    model = "gpt-4o-mini"

    def __init__(self, name, *steps, continues=None):
        self.name = name
        self._steps = steps
        self._continues = continues
        self.at_work = 0

    @property
    def capabilities(self):
        return Capabilities(continues=self._continues)

    async def astream(self, request):
        self.at_work += 1
        try:
            for step in self._steps:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, str):
                    yield Chunk(text=step, model=self.model, engine=self.name)
                else:
                    await asyncio.sleep(step)
            yield Chunk(finish_reason="stop", usage=Usage(input_tokens=1, output_tokens=2))
        finally:
            self.at_work -= 1


def routed(*engines, **options):
    return Router([*engines], **{"strategy": "priority", "hedge": 0.1, **options})


def limited(engine):
    return Leg(engine, limits=Limit(concurrent=1))


SITUATIONS = {
    "retries": lambda: routed(Steps("a", 0.1, CUT), Steps("b", 0.1, CUT), hedge=None, retries=4),
    "second wins": lambda: routed(Steps("a", 2, "x"), Steps("b", 0.3, "x", 0.1, "y"), Steps("c", 1)),
    "first wins": lambda: routed(Steps("a", 0.15, "x", 0.1, "y"), Steps("b", 0.3, "xy"), Steps("c", 1)),
    "both break": lambda: routed(Steps("a", 0.15, CUT), Steps("b", 0.3, "x", CUT), Steps("c", 1, "xyz")),
    "both at once": lambda: routed(Steps("a", 0.2, "x"), Steps("b", 0.1, "x"), Steps("c", 0.1, "x")),
    "limits": lambda: routed(limited(Steps("a", 0.2, "x", 0.1, CUT)), limited(Steps("b", "x", 0.1, "y"))),
    "resumed": lambda: routed(
        Steps("a", 0.2, "x ", 3), Steps("b", 0.2, "y", 0.1, CUT, continues=True), Steps("c", "z", continues=True),
        chunk_timeout_s=1, first_chunk_timeout_s=1,
    ),
    "routers among the engines": lambda: routed(
        routed(Steps("a", 0.2, "x", CUT), Steps("b", 0.2, "x", 0.1, CUT), Steps("d", 0.4, "x"), hedge=0.05, name="one"),
        routed(Steps("a", 0.2, "x", CUT), Steps("b", 0.2, "x", 0.1, "y"), name="two"),
        hedge=0.15,
    ),
}  # fmt: skip


class StepwiseLoop(VirtualTimeLoop):
    """Counts the callbacks that it runs while `victim` is at work, and cancels it after number `at`."""

    def __init__(self):
        super().__init__()
        self.victim = None
        self.count = self.at = 0

    def _counted(self, callback):
        def run(*args):
            callback(*args)
            if self.victim is not None and not self.victim.done():
                self.count += 1
                if self.count == self.at:
                    self.victim.cancel()

        return run

    def call_soon(self, callback, *args, context=None):
        return super().call_soon(self._counted(callback), *args, context=context)

    def call_at(self, when, callback, *args, context=None):
        return super().call_at(when, self._counted(callback), *args, context=context)


def left_over(router, call):
    """Whatever has not been put away."""
    found = [repr(task) for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for leg in legs_of(router):
        circuit = leg.breaker
        at_work = getattr(leg.engine, "at_work", 0)
        counts = at_work, leg.in_flight, len(circuit._under_way), len(circuit._late)
        if any(counts) or circuit._probe is not None:
            found.append(f"{leg.name}: {counts} {circuit._probe}")
    gate = router._table.gate
    if gate is not None:
        found += [why for leg in router.legs if (why := gate.refusal(leg, Request.of("hello"), Call())) is not None]
        found += map(repr, gate.lines._lines)
    started, ended = (sum(isinstance(one, kind) for one in call.events) for kind in (AttemptStarted, AttemptEnded))
    if call._held or started != ended or len(router._table.runs):
        found.append(f"held {call._held}, {started} attempts of which {ended} ended, {len(router._table.runs)} runs")
    return found


def cancelled_at(step, situation, *, stream, reads_s):
    """How many steps there were before the end, and what was left over by then."""

    async def main(loop):
        router = SITUATIONS[situation]()
        request = asked(budget_usd=Decimal(1), prices=PriceTable.default(), deadline_s=20)

        async def victim():
            if not stream:
                await router.agenerate(request)
                return
            async with contextlib.aclosing(router.astream(request)) as chunks:
                async for _ in chunks:
                    if reads_s:
                        await asyncio.sleep(reads_s)

        loop.at, loop.victim = step, asyncio.create_task(victim())
        with contextlib.suppress(errors.LlmopsError, asyncio.CancelledError):
            await loop.victim
        assert loop.victim.cancelled() or not step or step >= loop.count
        loop.victim = None
        return loop.count, left_over(router, request.call)

    def run():
        with asyncio.Runner(loop_factory=StepwiseLoop) as runner:
            CLOCK.set(runner.get_loop().time)
            return runner.run(main(runner.get_loop()), context=copy_context())

    return copy_context().run(run)


@pytest.mark.parametrize(("stream", "reads_s"), [(False, 0), (True, 0), (True, 0.07)])
@pytest.mark.parametrize("situation", SITUATIONS)
def test_caller_that_is_cancelled_after_any_step_leaves_nothing_behind(situation, stream, reads_s):
    steps, found = cancelled_at(0, situation, stream=stream, reads_s=reads_s)
    assert (steps > 5, found) == (True, [])
    for step in range(1, steps + 1):
        _, found = cancelled_at(step, situation, stream=stream, reads_s=reads_s)
        assert found == [], f"cancelled after step {step} of {steps}"


class Asks(Engine):
    """Awaits what it was given, and says what that gives."""

    def __init__(self, name, work):
        self.name = name
        self._work = work
        self.asked = 0

    async def agenerate(self, request):
        self.asked += 1
        return await Scripted(await self._work()).agenerate(request)

    async def astream(self, request):
        self.asked += 1
        yield Chunk(text=await self._work())


async def made_an_error_of_it():
    try:
        await asyncio.sleep(100)
    except asyncio.CancelledError:
        raise errors.EngineConnectionError("closed") from None


async def said(router, *, stream):
    if not stream:
        return (await router.agenerate(asked())).text
    return "".join([chunk.text async for chunk in router.astream(asked())])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("hedge", [None, 50])
def test_engine_that_makes_an_error_of_its_cancellation_does_not_send_the_request_elsewhere(hedge, stream):
    async def main():
        other = Scripted("never asked", name="other")
        router = routed(Asks("first", made_an_error_of_it), other, hedge=hedge)
        task = asyncio.create_task(said(router, stream=stream))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert other.requests == []
        assert router.legs[0].breaker.failures == 0

    run_in_virtual_time(main())


async def cancels_itself():
    await asyncio.sleep(0.3)
    raise asyncio.CancelledError


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("hedge", [None, 0.1])
def test_engine_whose_own_work_is_cancelled_has_failed_and_another_one_is_asked(hedge, stream):
    async def main():
        engines = Asks("one", cancels_itself), Asks("two", cancels_itself)
        assert await said(routed(*engines, Scripted("yes", name="other"), hedge=hedge), stream=stream) == "yes"
        with pytest.raises(errors.AllEnginesFailed, match="its work was cancelled, and not by us"):
            await said(routed(*engines, hedge=hedge), stream=stream)

    run_in_virtual_time(main())


def test_caller_that_was_cancelled_may_still_ask_engines_that_fail():
    async def fails():
        raise ZeroDivisionError

    async def main():
        async def last_words():
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                return await said(routed(Asks("one", fails), Scripted("goodbye", name="other")), stream=False)

        task = asyncio.create_task(last_words())
        await asyncio.sleep(1)
        task.cancel()
        assert await task == "goodbye"

    run_in_virtual_time(main())
