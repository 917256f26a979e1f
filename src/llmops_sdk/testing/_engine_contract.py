"""The suite that engines of your own inherit: what a pipeline relies on in an engine, as tests."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import threading
import time
import unittest
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, ClassVar, get_args

from llmops_sdk.calls import Call
from llmops_sdk.errors import AllEnginesFailed, ClosedError, EngineError
from llmops_sdk.messages import Chunk, ChunkJoiner, FinishReason, Message, Request, Response, ToolCall, Usage
from llmops_sdk.protocols import EngineLike
from llmops_sdk.testing._contract_steps import PATIENCE_S, T, expect, run, through_pickle

__all__ = ["EngineContract"]

_REACTION_S = 2.0
"""Seconds that an engine may take to notice that it has been cancelled; generous, since test machines are busy."""


class EngineContract:
    """What a pipeline relies on in an engine. Inherit it in your own suite, under a name that starts with `Test`.

    Attributes:
        reports_usage: Whether answers and streams say how many tokens they took.
        supports_n: Whether one request can ask for several answers.
        holds_resources: Whether the engine holds something real (sockets, a process), and so raises `ClosedError`
            after it was closed.
        patience_s: Seconds for one test, the start of an engine among them.

    Example:
        >>> from llmops_sdk import Scripted
        >>> class TestScripted(EngineContract):
        ...     def make_engine(self):
        ...         return Scripted("Hello")
        >>> TestScripted().test_stream_joins_to_a_response()
    """

    reports_usage: ClassVar[bool] = True
    supports_n: ClassVar[bool] = True
    holds_resources: ClassVar[bool] = False
    patience_s: ClassVar[float] = PATIENCE_S

    def make_engine(self) -> EngineLike:
        """A new engine, ready to answer `make_request()`. Each test makes one and closes it; see `shared_engine`."""
        raise NotImplementedError("write `def make_engine(self): return MyEngine(...)`")

    def shared_engine(self) -> EngineLike | None:
        """One engine for all tests that do not need to close theirs, where a start takes long; `None`: there is none.

        Whoever makes it closes it. Each test runs an event loop of its own, so it has to live on one that stays:
        `engine.start()` puts a `vllm:` engine on the SDK's own.
        """
        return None

    def make_request(self) -> Request:
        """What the tests ask. Its answer should take a few chunks."""
        return Request(messages=(Message.user("Say hello in a few words."),), max_tokens=16)

    def make_failing_engine(self) -> EngineLike | None:
        """An engine whose every request fails, at a dead endpoint for example; `None`: there is no such thing."""
        return None

    def make_bad_request(self) -> Request | None:
        """A request that the engine refuses because it is wrong; `None`: it takes everything."""
        return None

    def under_way(self) -> int | None:
        """How many requests the engine's other side is working on; `None`: that cannot be seen from here.

        With it the tests prove that cancelling reaches the other side, e.g. `return server.answering`.
        """
        return None

    # How the tests use an engine.

    def _with_engine(self, use: Callable[[EngineLike], Coroutine[Any, Any, T]]) -> T:
        async def used() -> T:
            shared = self.shared_engine()
            engine = self.make_engine() if shared is None else shared
            try:
                return await use(engine)
            finally:
                if shared is None:
                    await _aclose(engine)

        return run(used(), self.patience_s)

    def _both_ways(self, engine: EngineLike) -> list[Callable[[], Coroutine[Any, Any, object]]]:
        return [
            lambda: engine.agenerate(self.make_request()),
            lambda: _read(engine.astream(self.make_request())),
        ]

    async def _still_answers(self, engine: EngineLike, after: str) -> None:
        answer = await engine.agenerate(self.make_request())
        expect(isinstance(answer, Response), f"after {after} the engine has to answer the next request as usual")

    async def _nothing_under_way(self, after: str) -> None:
        for _ in range(200):
            if not self.under_way():
                return
            await asyncio.sleep(0.005)
        raise AssertionError(f"after {after} the other side still works on {self.under_way()} request(s)")

    # The tests.

    def test_has_a_name(self) -> None:
        """An engine has a name, which routers and traces show."""

        async def use(engine: EngineLike) -> None:
            expect(
                isinstance(engine.name, str) and engine.name,
                f"`name` has to be a text that is not empty, not {engine.name!r}",
            )

        self._with_engine(use)

    def test_generates_a_response(self) -> None:
        """`agenerate` gives a `Response` made of the right parts."""
        response = self._with_engine(lambda engine: engine.agenerate(self.make_request()))
        _check_response(response)

    def test_stream_joins_to_a_response(self) -> None:
        """`astream` gives chunks of the right types, each choice ends once, and the text joins."""

        async def use(engine: EngineLike) -> list[Chunk]:
            return [chunk async for chunk in engine.astream(self.make_request())]

        chunks = self._with_engine(use)
        _check_chunks(chunks)
        joiner = ChunkJoiner()
        for chunk in chunks:
            joiner.add(chunk)
        _check_response(joiner.response("joined"))

    def test_sync_methods_answer_too(self) -> None:
        """`generate` and `stream` work without an event loop."""
        shared = self.shared_engine()
        engine: Any = self.make_engine() if shared is None else shared
        if not hasattr(engine, "generate"):
            raise unittest.SkipTest("the engine has no sync methods; subclass `llmops_sdk.Engine` to have them")
        try:
            _check_response(engine.generate(self.make_request()))
            _check_chunks(list(engine.stream(self.make_request())))
        finally:
            if shared is None:
                engine.close()

    def test_usage_is_reported(self) -> None:
        """A response has its usage, and exactly one chunk of a stream."""
        if not self.reports_usage:
            raise unittest.SkipTest("the engine does not report usage")

        async def use(engine: EngineLike) -> tuple[Response, list[Chunk]]:
            response = await engine.agenerate(self.make_request())
            return response, [chunk async for chunk in engine.astream(self.make_request())]

        response, chunks = self._with_engine(use)
        _check_usage(response.usage, "the response")
        counted = [chunk.usage for chunk in chunks if chunk.usage is not None]
        expect(len(counted) == 1, f"exactly one chunk of a stream carries the usage, not {len(counted)}")
        _check_usage(counted[0], "the chunk")

    def test_n_gives_so_many_choices(self) -> None:
        """`n=2` gives two choices, in a stream those with index 0 and 1."""
        if not self.supports_n:
            raise unittest.SkipTest("the engine gives one answer at a time")
        request = dataclasses.replace(self.make_request(), n=2)

        async def use(engine: EngineLike) -> tuple[Response, list[Chunk]]:
            return await engine.agenerate(request), [chunk async for chunk in engine.astream(request)]

        response, chunks = self._with_engine(use)
        expect(len(response.choices) == 2, f"`n=2` gave {len(response.choices)} choices")
        indexes = {chunk.index for chunk in chunks}
        expect(indexes == {0, 1}, f"a stream of `n=2` has chunks of the choices 0 and 1, not {sorted(indexes)}")

    def test_errors_are_engine_errors_that_pickle(self) -> None:
        """What an engine raises is an `EngineError`, which survives `pickle`."""

        async def use(engine: EngineLike) -> list[BaseException]:
            raised: list[BaseException] = []
            try:
                for attempt in self._both_ways(engine):
                    try:
                        await attempt()
                    except Exception as exc:  # noqa: BLE001  (that it is one of ours is what is tested)
                        raised.append(exc)
            finally:
                await _aclose(engine)
            return raised

        failing = self.make_failing_engine()
        if failing is None:
            raise unittest.SkipTest("`make_failing_engine` gives no engine")
        raised = run(use(failing), self.patience_s)
        expect(len(raised) == 2, "the failing engine has to fail, by `agenerate` and by `astream`")
        for error in raised:
            expect(
                isinstance(error, EngineError),
                f"an engine raises subclasses of EngineError, not {type(error).__name__}: {error}",
            )
            again = through_pickle(error)
            same = type(again) is type(error) and str(again) == str(error) and vars(again) == vars(error)
            expect(same, f"{type(error).__name__} does not survive pickle")

    def test_a_wrong_request_is_refused_for_good(self) -> None:
        """What is wrong with a request is said by an `EngineError` that is not retryable; the engine stays usable."""
        if self.make_bad_request() is None:
            raise unittest.SkipTest("`make_bad_request` gives no request")

        async def use(engine: EngineLike) -> None:
            wrong = self.make_bad_request()
            assert wrong is not None
            for attempt in (lambda: engine.agenerate(wrong), lambda: _read(engine.astream(wrong))):
                outcome = (await asyncio.gather(attempt(), return_exceptions=True))[0]
                expect(
                    isinstance(outcome, EngineError) and not outcome.retryable,
                    f"a wrong request ends with an EngineError that is not retryable, not with {outcome!r}",
                )
                await self._still_answers(engine, "a wrong request")

        self._with_engine(use)

    def test_a_deadline_ends_a_request(self) -> None:
        """A request that is over its deadline ends then, with `TimeoutError`, and the next request is answered.

        A router may also say what became of its engines by then, with `AllEnginesFailed`.
        """

        async def use(engine: EngineLike) -> None:
            await self._still_answers(engine, "nothing")  # a start takes its own time
            for deadline_s in (0.001, 0.03):
                request = self.make_request().bound_to(Call(deadline_s=deadline_s))
                for attempt in (engine.agenerate, lambda asked: _read(engine.astream(asked))):
                    began = time.perf_counter()
                    try:
                        async with asyncio.timeout(deadline_s):
                            await attempt(request)
                    except (TimeoutError, AllEnginesFailed):
                        pass
                    took = time.perf_counter() - began
                    expect(took < deadline_s + _REACTION_S, f"a request of {deadline_s} s ended after {took:.1f} s")
                    await self._nothing_under_way("a deadline")
                    await self._still_answers(engine, "a deadline")

        self._with_engine(use)

    def test_cancelling_leaves_it_usable(self) -> None:
        """A cancelled `agenerate` stops, is not swallowed, and the next request is answered."""

        async def use(engine: EngineLike) -> None:
            for passes in (0, 1, 3, 10):
                task = asyncio.ensure_future(engine.agenerate(self.make_request()))
                for _ in range(passes):
                    await asyncio.sleep(0)
                was_done = task.done()
                task.cancel()
                outcome = (await asyncio.gather(task, return_exceptions=True))[0]
                expect(
                    was_done or isinstance(outcome, asyncio.CancelledError),
                    f"a cancelled request has to end with CancelledError, not with {outcome!r}",
                )
                await self._nothing_under_way("a cancelled `agenerate`")
                await self._still_answers(engine, "a cancelled `agenerate`")

        self._with_engine(use)

    def test_closing_a_stream_leaves_it_usable(self) -> None:
        """Closing a stream after its first chunk, or before it, stops it, and the next request is answered."""

        async def use(engine: EngineLike) -> None:
            for read in (0, 1):
                chunks: Any = engine.astream(self.make_request())
                expect(hasattr(chunks, "aclose"), "`astream` has to be an async generator, or to have `aclose`")
                for _ in range(read):
                    await anext(chunks)
                await chunks.aclose()
                await self._nothing_under_way("a closed stream")
                await self._still_answers(engine, "a closed stream")

        self._with_engine(use)

    def test_cancelling_a_stream_leaves_it_usable(self) -> None:
        """Cancelling the reader of a stream stops it, and the next request is answered."""

        async def use(engine: EngineLike) -> None:
            begun = asyncio.Event()

            async def read() -> None:
                try:
                    async for _ in engine.astream(self.make_request()):
                        begun.set()
                finally:
                    begun.set()

            task = asyncio.ensure_future(read())
            await begun.wait()
            task.cancel()
            outcome = (await asyncio.gather(task, return_exceptions=True))[0]
            if isinstance(outcome, Exception):
                raise outcome
            await self._nothing_under_way("a cancelled stream")
            await self._still_answers(engine, "a cancelled stream")

        self._with_engine(use)

    def test_closing_twice_is_harmless(self) -> None:
        """`aclose` can be called again, before the first request, too."""

        async def use() -> None:
            for used in (False, True):
                engine = self.make_engine()
                if used:
                    await engine.agenerate(self.make_request())
                await _aclose(engine)
                await _aclose(engine)

        run(use(), self.patience_s)

    def test_use_after_close_raises_closed_error(self) -> None:
        """An engine that holds something says so when it is used after it was closed."""
        if not self.holds_resources:
            raise unittest.SkipTest("the engine holds nothing that could be closed")

        async def use() -> None:
            engine = self.make_engine()  # not the shared one, which other tests need open
            try:
                await engine.agenerate(self.make_request())
            finally:
                await _aclose(engine)
            for attempt in self._both_ways(engine):
                try:
                    await attempt()
                except ClosedError:
                    continue
                await _aclose(engine)
                raise AssertionError("a closed engine answered; it has to raise ClosedError")

        run(use(), self.patience_s)

    def test_serves_several_loops_and_threads(self) -> None:
        """One engine answers on one event loop after the other, and on loops of two threads at once."""
        shared = self.shared_engine()
        engine = self.make_engine() if shared is None else shared
        answers: list[object] = []

        def ask() -> None:
            try:
                answers.append(run(engine.agenerate(self.make_request()), self.patience_s))
            except BaseException as exc:  # noqa: BLE001  (a thread has to hand it on)
                answers.append(exc)

        try:
            ask()
            threads = [threading.Thread(target=ask) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            if shared is None:
                run(_aclose(engine), self.patience_s)
        for answer in answers:
            expect(isinstance(answer, Response), f"from another loop or thread the engine gave {answer!r}")

    def test_does_not_change_the_request(self) -> None:
        """The request is the same after the answer, also inside its mappings."""
        request = self.make_request()
        before = copy.deepcopy(request)

        async def use(engine: EngineLike) -> None:
            await engine.agenerate(request)
            await _read(engine.astream(request))

        self._with_engine(use)
        expect(request == before, f"the engine changed the request from {before!r} to {request!r}")


async def _aclose(engine: EngineLike) -> None:
    close = getattr(engine, "aclose", None)
    if close is not None:
        await close()


async def _read(chunks: AsyncIterator[Chunk]) -> None:
    async for _ in chunks:
        pass


def _check_response(response: object) -> None:
    expect(isinstance(response, Response), f"an answer is a Response, not {type(response).__name__}")
    assert isinstance(response, Response)
    expect(response.choices, "a response has at least one choice")
    for choice in response.choices:
        expect(isinstance(choice.text, str), f"the text of a choice is a str, not {type(choice.text).__name__}")
        expect(choice.text or choice.tool_calls, "the answer is empty: neither text nor tool calls")
        _check_finish(choice.finish_reason)
        expect(all(isinstance(call, ToolCall) for call in choice.tool_calls), "tool calls are ToolCall records")


def _check_chunks(chunks: Sequence[object]) -> None:
    expect(chunks, "a stream has at least one chunk")
    ended: set[int] = set()
    for chunk in chunks:
        expect(isinstance(chunk, Chunk), f"a stream gives Chunk records, not {type(chunk).__name__}")
        assert isinstance(chunk, Chunk)
        expect(isinstance(chunk.text, str), f"the text of a chunk is a str, not {type(chunk.text).__name__}")
        expect(isinstance(chunk.index, int) and chunk.index >= 0, f"`index` counts from 0; it is {chunk.index!r}")
        expect(not (chunk.text and chunk.index in ended), "a chunk with text came after the `finish_reason`")
        _check_finish(chunk.finish_reason)
        if chunk.finish_reason is not None:
            expect(chunk.index not in ended, f"choice {chunk.index} ended twice")
            ended.add(chunk.index)
    expect(ended, "no chunk has a `finish_reason`")


def _check_finish(reason: object) -> None:
    known = get_args(FinishReason)
    expect(reason is None or reason in known, f"`finish_reason` is one of {known}, not {reason!r}")


def _check_usage(usage: Usage | None, where: str) -> None:
    expect(isinstance(usage, Usage), f"{where} has no usage; say `reports_usage = False` if the engine cannot count")
    assert usage is not None
    counts = (usage.input_tokens, usage.output_tokens)
    expect(all(isinstance(count, int) and count >= 0 for count in counts), f"tokens are counted, not {counts}")
    expect(usage.input_tokens > 0, "a request with text takes at least one input token")
