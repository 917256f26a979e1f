"""Suites that engines and guards of your own inherit: what a pipeline relies on, as tests.

They need nothing but pytest (or any runner that collects `test_*` methods); with hypothesis installed, guards are tried
with more texts and more ways of cutting them.
"""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import itertools
import pickle
import threading
import time
import unittest
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from typing import Any, ClassVar, TypeVar, get_args

from llmops_sdk.calls import Call
from llmops_sdk.errors import ClosedError, EngineError
from llmops_sdk.messages import Chunk, ChunkJoiner, FinishReason, Message, Request, Response, ToolCall, Usage
from llmops_sdk.protocols import EngineLike, GuardContext, GuardLike, GuardStream, takes_two
from llmops_sdk.verdicts import Action, Finding, Stage, Verdict

__all__ = ["EngineContract", "GuardContract"]

T = TypeVar("T")

_PATIENCE_S = 30.0
"""Seconds after which an answer counts as never coming."""

_REACTION_S = 2.0
"""Seconds that an engine may take to notice that it has been cancelled; generous, since test machines are busy."""


def _expect(truth: object, message: str) -> None:
    if not truth:
        raise AssertionError(message)


def _through_pickle(value: T) -> T:
    try:
        again: T = pickle.loads(pickle.dumps(value))  # noqa: S301  (our own bytes)
    except Exception as exc:  # what pickle raises depends on what it meets
        raise AssertionError(f"{value!r} does not survive pickle ({type(exc).__name__}: {exc})") from exc
    return again


def _run(work: Coroutine[Any, Any, T], patience_s: float = _PATIENCE_S) -> T:
    async def bounded() -> T:
        return await asyncio.wait_for(work, patience_s)

    return asyncio.run(bounded())


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
    patience_s: ClassVar[float] = _PATIENCE_S

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
        async def run() -> T:
            shared = self.shared_engine()
            engine = self.make_engine() if shared is None else shared
            try:
                return await use(engine)
            finally:
                if shared is None:
                    await _aclose(engine)

        return _run(run(), self.patience_s)

    def _both_ways(self, engine: EngineLike) -> list[Callable[[], Coroutine[Any, Any, object]]]:
        return [
            lambda: engine.agenerate(self.make_request()),
            lambda: _read(engine.astream(self.make_request())),
        ]

    async def _still_answers(self, engine: EngineLike, after: str) -> None:
        answer = await engine.agenerate(self.make_request())
        _expect(isinstance(answer, Response), f"after {after} the engine has to answer the next request as usual")

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
            _expect(
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
        _expect(len(counted) == 1, f"exactly one chunk of a stream carries the usage, not {len(counted)}")
        _check_usage(counted[0], "the chunk")

    def test_n_gives_so_many_choices(self) -> None:
        """`n=2` gives two choices, in a stream those with index 0 and 1."""
        if not self.supports_n:
            raise unittest.SkipTest("the engine gives one answer at a time")
        request = dataclasses.replace(self.make_request(), n=2)

        async def use(engine: EngineLike) -> tuple[Response, list[Chunk]]:
            return await engine.agenerate(request), [chunk async for chunk in engine.astream(request)]

        response, chunks = self._with_engine(use)
        _expect(len(response.choices) == 2, f"`n=2` gave {len(response.choices)} choices")
        indexes = {chunk.index for chunk in chunks}
        _expect(indexes == {0, 1}, f"a stream of `n=2` has chunks of the choices 0 and 1, not {sorted(indexes)}")

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
        raised = _run(use(failing), self.patience_s)
        _expect(len(raised) == 2, "the failing engine has to fail, by `agenerate` and by `astream`")
        for error in raised:
            _expect(
                isinstance(error, EngineError),
                f"an engine raises subclasses of EngineError, not {type(error).__name__}: {error}",
            )
            again = _through_pickle(error)
            same = type(again) is type(error) and str(again) == str(error) and vars(again) == vars(error)
            _expect(same, f"{type(error).__name__} does not survive pickle")

    def test_a_wrong_request_is_refused_for_good(self) -> None:
        """What is wrong with a request is said by an `EngineError` that is not retryable; the engine stays usable."""
        if self.make_bad_request() is None:
            raise unittest.SkipTest("`make_bad_request` gives no request")

        async def use(engine: EngineLike) -> None:
            wrong = self.make_bad_request()
            assert wrong is not None
            for attempt in (lambda: engine.agenerate(wrong), lambda: _read(engine.astream(wrong))):
                outcome = (await asyncio.gather(attempt(), return_exceptions=True))[0]
                _expect(
                    isinstance(outcome, EngineError) and not outcome.retryable,
                    f"a wrong request ends with an EngineError that is not retryable, not with {outcome!r}",
                )
                await self._still_answers(engine, "a wrong request")

        self._with_engine(use)

    def test_a_deadline_ends_a_request(self) -> None:
        """A request that is over its deadline ends then, with `TimeoutError`, and the next request is answered."""

        async def use(engine: EngineLike) -> None:
            await self._still_answers(engine, "nothing")  # a start takes its own time
            for deadline_s in (0.001, 0.03):
                request = self.make_request().bound_to(Call(deadline_s=deadline_s))
                for attempt in (engine.agenerate, lambda asked: _read(engine.astream(asked))):
                    began = time.perf_counter()
                    try:
                        async with asyncio.timeout(deadline_s):
                            await attempt(request)
                    except TimeoutError:
                        pass
                    took = time.perf_counter() - began
                    _expect(took < deadline_s + _REACTION_S, f"a request of {deadline_s} s ended after {took:.1f} s")
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
                _expect(
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
                _expect(hasattr(chunks, "aclose"), "`astream` has to be an async generator, or to have `aclose`")
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

        _run(use(), self.patience_s)

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

        _run(use(), self.patience_s)

    def test_serves_several_loops_and_threads(self) -> None:
        """One engine answers on one event loop after the other, and on loops of two threads at once."""
        shared = self.shared_engine()
        engine = self.make_engine() if shared is None else shared
        answers: list[object] = []

        def ask() -> None:
            try:
                answers.append(_run(engine.agenerate(self.make_request()), self.patience_s))
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
                _run(_aclose(engine), self.patience_s)
        for answer in answers:
            _expect(isinstance(answer, Response), f"from another loop or thread the engine gave {answer!r}")

    def test_does_not_change_the_request(self) -> None:
        """The request is the same after the answer, also inside its mappings."""
        request = self.make_request()
        before = copy.deepcopy(request)

        async def use(engine: EngineLike) -> None:
            await engine.agenerate(request)
            await _read(engine.astream(request))

        self._with_engine(use)
        _expect(request == before, f"the engine changed the request from {before!r} to {request!r}")


async def _aclose(engine: EngineLike) -> None:
    close = getattr(engine, "aclose", None)
    if close is not None:
        await close()


async def _read(chunks: AsyncIterator[Chunk]) -> None:
    async for _ in chunks:
        pass


def _check_response(response: object) -> None:
    _expect(isinstance(response, Response), f"an answer is a Response, not {type(response).__name__}")
    assert isinstance(response, Response)
    _expect(response.choices, "a response has at least one choice")
    for choice in response.choices:
        _expect(isinstance(choice.text, str), f"the text of a choice is a str, not {type(choice.text).__name__}")
        _expect(choice.text or choice.tool_calls, "the answer is empty: neither text nor tool calls")
        _check_finish(choice.finish_reason)
        _expect(all(isinstance(call, ToolCall) for call in choice.tool_calls), "tool calls are ToolCall records")


def _check_chunks(chunks: Sequence[object]) -> None:
    _expect(chunks, "a stream has at least one chunk")
    ended: set[int] = set()
    for chunk in chunks:
        _expect(isinstance(chunk, Chunk), f"a stream gives Chunk records, not {type(chunk).__name__}")
        assert isinstance(chunk, Chunk)
        _expect(isinstance(chunk.text, str), f"the text of a chunk is a str, not {type(chunk.text).__name__}")
        _expect(isinstance(chunk.index, int) and chunk.index >= 0, f"`index` counts from 0; it is {chunk.index!r}")
        _expect(not (chunk.text and chunk.index in ended), "a chunk with text came after the `finish_reason`")
        _check_finish(chunk.finish_reason)
        if chunk.finish_reason is not None:
            _expect(chunk.index not in ended, f"choice {chunk.index} ended twice")
            ended.add(chunk.index)
    _expect(ended, "no chunk has a `finish_reason`")


def _check_finish(reason: object) -> None:
    known = get_args(FinishReason)
    _expect(reason is None or reason in known, f"`finish_reason` is one of {known}, not {reason!r}")


def _check_usage(usage: Usage | None, where: str) -> None:
    _expect(isinstance(usage, Usage), f"{where} has no usage; say `reports_usage = False` if the engine cannot count")
    assert usage is not None
    counts = (usage.input_tokens, usage.output_tokens)
    _expect(all(isinstance(count, int) and count >= 0 for count in counts), f"tokens are counted, not {counts}")
    _expect(usage.input_tokens > 0, "a request with text takes at least one input token")


class GuardContract:
    """What a pipeline relies on in a guard. Inherit it in your own suite, under a name that starts with `Test`.

    Attributes:
        examples_allowed: Texts that pass as they are.
        examples_caught: Texts that are rewritten, blocked or flagged.
        deterministic: Whether the same text always gets the same verdict.
        picklable: Whether the guard survives `pickle`, and so can go to another process.
        stage: Which side of the engine the guard is tried on.
        tries: How many texts hypothesis makes up.

    Example:
        >>> from llmops_sdk import Guard
        >>> class NoShouting(Guard):
        ...     def check(self, text, context=None):
        ...         return Verdict.block("shouting") if text.isupper() else Verdict.allow()
        >>> class TestNoShouting(GuardContract):
        ...     examples_allowed = ("hello",)
        ...     examples_caught = ("HELLO",)
        ...     def make_guard(self):
        ...         return NoShouting()
        >>> TestNoShouting().test_examples_are_caught()
    """

    examples_allowed: Sequence[str] = ()
    examples_caught: Sequence[str] = ()
    deterministic: ClassVar[bool] = True
    picklable: ClassVar[bool] = True
    stage: ClassVar[Stage] = "output"
    tries: ClassVar[int] = 100

    def make_guard(self) -> GuardLike:
        """A new guard."""
        raise NotImplementedError("write `def make_guard(self): return MyGuard(...)`")

    def make_context(self) -> GuardContext:
        """What the guard may know of a text; a new run each time."""
        request = Request(messages=(Message.user("a question"),))
        return GuardContext(call=Call(), stage=self.stage, origin=self.stage, request=request)

    # How the tests use a guard.

    def _check(self, guard: GuardLike, text: str) -> Verdict:
        context = self.make_context()
        given: Any = guard.check(text, context) if takes_two(guard.check) else guard.check(text)
        verdict = _run(_awaited(given)) if hasattr(given, "__await__") else given
        _check_verdict(verdict, text)
        checked: Verdict = verdict
        return checked

    def _examples(self) -> list[str]:
        caught, allowed = list(self.examples_caught), list(self.examples_allowed)
        _expect(caught and allowed, "give `examples_caught` and `examples_allowed` at least one text each")
        mixed = [before + one + after for one in caught for before, after in (("", allowed[0]), (allowed[0] + " ", ""))]
        return [*allowed, *caught, *mixed, " ".join(allowed + caught)]

    def _open(self, guard: GuardLike) -> GuardStream | None:
        open_stream = getattr(guard, "open_stream", None)
        if open_stream is None:
            return None
        stream: GuardStream | None = open_stream(self.make_context())
        window = getattr(guard, "window", None)
        _expect(
            (stream is None) == (window is None),
            f"`window` is {window!r}, but `open_stream` gave {stream!r}: a guard that works on streams states its "
            "window, one that needs the whole text has `window = None` and gives no stream",
        )
        return stream

    def _needs_a_stream(self, guard: GuardLike) -> None:
        if self._open(guard) is None:
            raise unittest.SkipTest("the guard reads whole texts only; a pipeline holds back the stream for it")

    # The tests.

    def test_examples_are_allowed(self) -> None:
        """The texts of `examples_allowed` pass as they are."""
        guard = self.make_guard()
        for text in self.examples_allowed:
            verdict = self._check(guard, text)
            _expect(verdict.action == "allow", f"{text!r} should be allowed; the verdict is {verdict!r}")

    def test_examples_are_caught(self) -> None:
        """The texts of `examples_caught` do not."""
        guard = self.make_guard()
        for text in self.examples_caught:
            verdict = self._check(guard, text)
            _expect(verdict.action != "allow", f"{text!r} should be caught, but it is allowed")

    def test_gives_a_verdict_on_any_text(self) -> None:
        """Whatever the text is, the guard decides and does not raise; its findings lie in the text."""
        guard = self.make_guard()
        for text in _odd_texts(self._examples()):
            self._check(guard, text)

    def test_same_text_same_verdict(self) -> None:
        """A text gets the same verdict again, from the same guard and from another one."""
        if not self.deterministic:
            raise unittest.SkipTest("the guard is declared not to be deterministic")
        guard, other = self.make_guard(), self.make_guard()
        for text in self._examples():
            first = self._check(guard, text)
            for again in (self._check(guard, text), self._check(other, text)):
                _expect(_core(again) == _core(first), f"{text!r} got {first!r}, and then {again!r}")

    def test_does_not_change_the_context(self) -> None:
        """The request that a guard may look at is the same after the check."""
        guard = self.make_guard()
        if not takes_two(guard.check):
            raise unittest.SkipTest("the guard sees no context")
        for text in self._examples():
            context = self.make_context()
            before = copy.deepcopy(context.request)
            given: Any = guard.check(text, context)
            if hasattr(given, "__await__"):
                _run(_awaited(given))
            _expect(context.request == before, f"the guard changed the request to {context.request!r}")

    def test_stream_equals_whole_for_every_cut(self) -> None:
        """However a text is cut into chunks, the guarded stream equals the guarded whole text.

        Where the guard blocks, what it emitted before is the same for every cut.
        """
        guard = self.make_guard()
        self._needs_a_stream(guard)
        for text in self._examples():
            emitted: set[str] = set()
            for pieces in _cuts(text):
                emitted.add(self._stream_equals_whole(guard, text, pieces))
            _expect(len(emitted) == 1, f"{text!r} was emitted differently for different cuts: {sorted(emitted)}")
        self._try_made_up_texts(guard)

    def _stream_equals_whole(self, guard: GuardLike, text: str, pieces: Sequence[str]) -> str:
        whole = self._check(guard, text)
        stream = self._open(guard)
        assert stream is not None
        emitted = "".join([*(stream.feed(piece) for piece in pieces), stream.finish()])
        verdict, cut = stream.verdict, f"{text!r}, cut as {_shown(pieces)}"
        _expect(
            verdict.action == whole.action, f"{cut}: the stream decided {verdict.action}, the whole text {whole.action}"
        )
        if whole.action == "block":
            _expect(stream.feed("more") == "", f"{cut}: after the block more was emitted")
            return emitted
        wanted = whole.text if whole.action == "rewrite" else text
        _expect(emitted == wanted, f"{cut}: the stream emitted {emitted!r}, the whole text gives {wanted!r}")
        found, due = ([(f.kind, f.start, f.end) for f in one.findings] for one in (verdict, whole))
        _expect(found == due, f"{cut}: the stream found {found}, the whole text has {due}")
        return emitted

    def _try_made_up_texts(self, guard: GuardLike) -> None:
        try:
            import hypothesis  # noqa: PLC0415  (the suite works without it, too)
            from hypothesis import strategies  # noqa: PLC0415
        except ImportError:
            return
        fragments = strategies.sampled_from([*self.examples_caught, *self.examples_allowed])
        part_of_one = strategies.builds(
            lambda one, at: one[: at % (len(one) + 1)], fragments, strategies.integers(0, 99)
        )
        texts = strategies.lists(fragments | part_of_one | strategies.text(max_size=5), max_size=6).map("".join)

        def try_one(text: str, edges: list[int]) -> None:
            one = self._stream_equals_whole(guard, text, _cut_at(text, edges))
            other = self._stream_equals_whole(guard, text, list(text))
            _expect(one == other, f"{text!r} was emitted as {one!r} and as {other!r} for different cuts")

        given = hypothesis.given(texts, strategies.lists(strategies.integers(0, 400), max_size=12))
        settings = hypothesis.settings(
            max_examples=self.tries,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        settings(given(try_one))()

    def test_holds_back_no_more_than_its_window(self) -> None:
        """Of a text that passes as it is, never more than `window` characters are held back."""
        guard = self.make_guard()
        self._needs_a_stream(guard)
        window: int = getattr(guard, "window", 0)
        for text in [*self._examples(), *(example * 20 for example in self.examples_allowed)]:
            if self._check(guard, text).action not in {"allow", "flag"}:
                continue
            stream = self._open(guard)
            assert stream is not None
            emitted = 0
            for fed, character in enumerate(text, start=1):
                emitted += len(stream.feed(character))
                _expect(
                    fed - emitted <= window,
                    f"after {fed} characters of {text!r} the guard holds back {fed - emitted}; its window is {window}",
                )

    def test_can_be_copied_and_pickled(self) -> None:
        """Copies, and what comes out of `pickle`, give the same verdicts."""
        guard = self.make_guard()
        copies: list[GuardLike] = [copy.copy(guard), copy.deepcopy(guard)]
        if self.picklable:
            copies.append(_through_pickle(guard))
        for text in self._examples() if self.deterministic else ():
            for one in copies:
                _expect(_core(self._check(one, text)) == _core(self._check(guard, text)), f"a copy differs on {text!r}")


async def _awaited(given: Any) -> Any:
    return await given


def _core(verdict: Verdict) -> tuple[object, ...]:
    return verdict.action, verdict.text, verdict.findings


def _check_verdict(verdict: object, text: str) -> None:
    where = f"on {_shown(text)}"
    _expect(isinstance(verdict, Verdict), f"{where} `check` gave {type(verdict).__name__}, it has to give a Verdict")
    assert isinstance(verdict, Verdict)
    _expect(
        verdict.action in get_args(Action), f"{where} the action is {verdict.action!r}; write one of {get_args(Action)}"
    )
    rewritten = isinstance(verdict.text, str) if verdict.action == "rewrite" else verdict.text is None
    _expect(rewritten, f"{where} `text` is for the action `rewrite` and for no other; use `Verdict.rewrite(text)`")
    for finding in verdict.findings:
        _expect(isinstance(finding, Finding), f"{where} a finding is {type(finding).__name__}; write Finding(...)")
        inside = 0 <= finding.start <= finding.end <= len(text)
        _expect(inside, f"{where} the finding {finding!r} lies outside of the {len(text)} characters")
        _expect(0 <= finding.score <= 1, f"{where} the score of {finding!r} is not between 0 and 1")
    starts = [finding.start for finding in verdict.findings]
    _expect(starts == sorted(starts), f"{where} the findings are not in the order of their positions: {starts}")


def _odd_texts(examples: Sequence[str]) -> Iterator[str]:
    yield from (
        "",
        " ",
        "\n",
        "\x00",
        "a\x00b",
        "\ud800",
        "\udfff",
        "x\udc80y",
        "\ufeff",
        "\u202e",
        "e\u0301",
        "👩‍👩‍👧",
    )
    yield from ("a" * 100_000, "\x00" * 1000, "ß" * 1000, "日本語" * 1000, "\r\n" * 1000, "[" * 1000, "\\" * 1000)
    for example in examples:
        yield from (example, f"\ud800{example}", f"👩‍👩‍👧{example}\x00", example.upper(), example[: len(example) // 2])
    yield ("filler " * 15_000)[:100_000] + examples[-1]


def _cuts(text: str) -> Iterator[list[str]]:
    """The whole, single characters, pieces of a few sizes with empty ones between them, and cuts in two everywhere."""
    yield [text]
    yield list(text)
    for size in (2, 3, 7):
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        yield [one for piece in pieces for one in (piece, "")]
    for at in range(1, min(len(text), 200)):
        yield [text[:at], text[at:]]


def _cut_at(text: str, edges: Sequence[int]) -> list[str]:
    inner = sorted(edge for edge in edges if edge < len(text))
    return [text[start:end] for start, end in itertools.pairwise([0, *inner, len(text)])]


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."
