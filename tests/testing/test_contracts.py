import asyncio
import contextlib
import dataclasses
import re
import unittest

import pytest

from llmops_sdk import Engine, Guard, Scripted, guard
from llmops_sdk.errors import ServerError
from llmops_sdk.messages import Choice, Chunk, Response, Usage
from llmops_sdk.testing import EngineContract, FaultServer, GuardContract, Reply
from llmops_sdk.verdicts import Finding, Verdict


def outcomes(contract):
    """Which tests of a contract failed, and which were skipped; names without `test_`."""
    failed, skipped = {}, set()
    for name in dir(contract):
        if not name.startswith("test_"):
            continue
        try:
            getattr(contract, name)()
        except unittest.SkipTest:
            skipped.add(name.removeprefix("test_"))
        except Exception as exc:  # noqa: BLE001  (a broken engine raises anything)
            failed[name.removeprefix("test_")] = str(exc)
    return failed, skipped


# ---------------------------------------------------------------------------------------------------------- engines


class TestScriptedKeepsTheContract(EngineContract):
    def make_engine(self):
        return Scripted("Hello to you")

    def make_failing_engine(self):
        return Scripted(ServerError("down", status_code=503))


class TestScriptedWithPausesKeepsTheContract(EngineContract):
    supports_n = False  # a list of chunks is one answer

    def make_engine(self):
        return Scripted(["Hello", " to", " you"], delay_s=0.002, chunk_delay_s=0.002)


class TestRemoteKeepsTheContract(EngineContract):
    """Over real sockets, so that cancelling is seen on the other side."""

    holds_resources = True

    @pytest.fixture(autouse=True)
    def _server(self, fault_server_pair):
        self.server, self.failing = fault_server_pair

    def make_engine(self):
        return Engine.open(self.server.url, model="m")

    def make_failing_engine(self):
        return Engine.open(self.failing.url, model="m")

    def under_way(self):
        return self.server.answering


@pytest.fixture
def fault_server_pair():
    with FaultServer(Reply(text="Hello to you", chunk_delay_s=0.002)) as server, FaultServer(500) as failing:
        yield server, failing


class ProtocolOnly:
    """An engine that inherits nothing."""

    name = "bare"

    async def agenerate(self, request, /):
        return Response(choices=(Choice(text="Hello"),) * request.n, usage=Usage(input_tokens=1, output_tokens=1))

    async def astream(self, request, /):
        for index in range(request.n):
            usage = Usage(input_tokens=1, output_tokens=1) if index == 0 else None
            yield Chunk(text="Hello", index=index, finish_reason="stop", usage=usage)


class TestABareEngineKeepsTheContract(EngineContract):
    def make_engine(self):
        return ProtocolOnly()


def test_what_is_not_declared_is_skipped():
    class Contract(EngineContract):
        reports_usage = False
        supports_n = False

        def make_engine(self):
            return ProtocolOnly()

    failed, skipped = outcomes(Contract())
    assert failed == {}
    assert skipped == {
        "a_wrong_request_is_refused_for_good",
        "errors_are_engine_errors_that_pickle",
        "n_gives_so_many_choices",
        "sync_methods_answer_too",
        "usage_is_reported",
        "use_after_close_raises_closed_error",
    }


class Answering(Engine):
    """An engine that is right, to be broken in one way by each subclass."""

    async def agenerate(self, request):
        return Response(choices=(Choice(text="Hello", finish_reason="stop"),) * request.n, usage=Usage(input_tokens=1))


class Nameless(Answering):
    name = ""


class NoResponse(Answering):
    async def agenerate(self, request):
        return "Hello"


class Empty(Answering):
    async def agenerate(self, request):
        return Response(choices=(Choice(finish_reason="stop"),), usage=Usage(input_tokens=1))


class OddFinish(Answering):
    async def agenerate(self, request):
        return Response(choices=(Choice(text="Hello", finish_reason="end_turn"),) * request.n)


class TextAfterTheEnd(Answering):
    async def astream(self, request):
        yield Chunk(text="Hel", finish_reason="stop", usage=Usage(input_tokens=1))
        yield Chunk(text="lo")


class EndsTwice(Answering):
    async def astream(self, request):
        yield Chunk(text="Hello", finish_reason="stop", usage=Usage(input_tokens=1))
        yield Chunk(finish_reason="stop")


class NeverEnds(Answering):
    async def astream(self, request):
        yield Chunk(text="Hello", usage=Usage(input_tokens=1))


class PlainTextChunks(Answering):
    async def astream(self, request):
        yield "Hello"


class NoUsage(Answering):
    async def agenerate(self, request):
        return Response(choices=(Choice(text="Hello", finish_reason="stop"),) * request.n)


class UsageTwice(Answering):
    async def astream(self, request):
        for index in range(request.n):
            yield Chunk(text="Hello", index=index, usage=Usage(input_tokens=1))
            yield Chunk(index=index, finish_reason="stop", usage=Usage(input_tokens=1))


class IgnoresN(Answering):
    async def agenerate(self, request):
        return await super().agenerate(dataclasses.replace(request, n=1))


class SwallowsCancellation(Answering):
    async def agenerate(self, request):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.005)
        return await super().agenerate(request)


class DeadAfterCancellation(Answering):
    busy = False

    async def agenerate(self, request):
        if self.busy:
            raise RuntimeError("still busy")
        self.busy = True
        await asyncio.sleep(0.001)
        self.busy = False
        return await super().agenerate(request)


class DeadAfterAnUnfinishedStream(Answering):
    streaming = False

    async def agenerate(self, request):
        if self.streaming:
            raise RuntimeError("a stream is open")
        return await super().agenerate(request)

    async def astream(self, request):
        self.streaming = True
        for chunk in [chunk async for chunk in ProtocolOnly().astream(request)]:
            await asyncio.sleep(0)
            yield chunk
            await asyncio.sleep(0)
        self.streaming = False


class ClosesOnce(Answering):
    closed = False

    async def aclose(self):
        if self.closed:
            raise RuntimeError("closed already")
        self.closed = True


class BoundToItsLoop(Answering):
    loop = None

    async def agenerate(self, request):
        self.loop = self.loop or asyncio.get_running_loop()
        if self.loop is not asyncio.get_running_loop():
            raise RuntimeError("attached to a different loop")
        return await super().agenerate(request)


class ChangesTheRequest(Answering):
    async def agenerate(self, request):
        request.extra["seen"] = True
        return await super().agenerate(request)


@pytest.mark.parametrize(
    ("engine", "broken", "message"),
    [
        (Nameless, "has_a_name", "`name`"),
        (NoResponse, "generates_a_response", "a Response, not str"),
        (Empty, "generates_a_response", "empty"),
        (Empty, "n_gives_so_many_choices", "gave 1 choices"),
        (OddFinish, "generates_a_response", "'end_turn'"),
        (TextAfterTheEnd, "stream_joins_to_a_response", "after the `finish_reason`"),
        (EndsTwice, "stream_joins_to_a_response", "ended twice"),
        (NeverEnds, "stream_joins_to_a_response", "no chunk has a `finish_reason`"),
        (PlainTextChunks, "stream_joins_to_a_response", "Chunk records, not str"),
        (PlainTextChunks, "sync_methods_answer_too", "Chunk records, not str"),
        (NoUsage, "usage_is_reported", "no usage"),
        (UsageTwice, "usage_is_reported", "not 2"),
        (IgnoresN, "n_gives_so_many_choices", "gave 1 choices"),
        (SwallowsCancellation, "cancelling_leaves_it_usable", "CancelledError"),
        (DeadAfterCancellation, "cancelling_leaves_it_usable", "still busy"),
        (DeadAfterAnUnfinishedStream, "closing_a_stream_leaves_it_usable", "a stream is open"),
        (DeadAfterAnUnfinishedStream, "cancelling_a_stream_leaves_it_usable", "a stream is open"),
        (ClosesOnce, "closing_twice_is_harmless", "closed already"),
        (Answering, "use_after_close_raises_closed_error", "has to raise ClosedError"),
        (BoundToItsLoop, "serves_several_loops_and_threads", "attached to a different loop"),
        (ChangesTheRequest, "does_not_change_the_request", "changed the request"),
    ],
)
def test_a_broken_engine_fails(engine, broken, message):
    class Contract(EngineContract):
        holds_resources = True

        def make_engine(self):
            return engine()

    with pytest.raises(Exception, match=re.escape(message)):
        getattr(Contract(), f"test_{broken}")()


def test_the_engine_that_was_broken_is_right_otherwise():
    class Contract(EngineContract):
        def make_engine(self):
            return Answering()

    assert outcomes(Contract())[0] == {}


class UnpicklableError(ServerError):
    def __init__(self, one, other):
        super().__init__(one)
        self.made_by = other

    def __reduce__(self):
        return type(self), (str(self), None)


@pytest.mark.parametrize(
    ("failing", "message"),
    [
        (Scripted(ValueError("bare")), "subclasses of EngineError, not ValueError"),
        (Scripted(UnpicklableError("down", "me")), "does not survive pickle"),
        (Scripted("Hello"), "has to fail"),
    ],
)
def test_errors_that_are_not_ours_fail(failing, message):
    class Contract(TestScriptedKeepsTheContract):
        def make_failing_engine(self):
            return failing

    failed, _ = outcomes(Contract())
    assert message in failed.pop("errors_are_engine_errors_that_pickle")
    assert failed == {}


def test_work_that_goes_on_upstream_fails():
    class Contract(EngineContract):
        def make_engine(self):
            return Scripted("Hello")

        def under_way(self):
            return 1

    failed, _ = outcomes(Contract())
    assert set(failed) == {
        "cancelling_leaves_it_usable",
        "cancelling_a_stream_leaves_it_usable",
        "closing_a_stream_leaves_it_usable",
        "a_deadline_ends_a_request",
    }
    assert all("still works on 1 request" in message for message in failed.values())


def test_a_contract_without_an_engine_says_what_to_write():
    with pytest.raises(NotImplementedError, match="def make_engine"):
        EngineContract().test_generates_a_response()


# ----------------------------------------------------------------------------------------------------------- guards

DIGITS = re.compile(r"#\d{1,3}#")


class DigitStream:
    """Masks `#123#` in a stream; holds back at most four characters (`#123`)."""

    def __init__(self, window=4, keep=lambda held: held):
        self.window, self.held, self.at, self.findings, self.rewritten = window, "", 0, [], False
        self.text = []

    @property
    def verdict(self):
        if not self.findings:
            return Verdict.allow()
        return Verdict.rewrite("".join(self.text), self.findings)

    def feed(self, piece, /):
        self.held += piece
        return self.take(final=False)

    def finish(self):
        return self.take(final=True)

    def take(self, *, final):
        out, done = [], 0
        for match in DIGITS.finditer(self.held):
            self.findings.append(found(self.at + match.start(), self.at + match.end()))
            out += [self.held[done : match.start()], "<n>"]
            done = match.end()
        rest = self.held[done:]
        open_ = None if final else re.search(r"#\d{0,3}\Z", rest)
        keep = len(rest) - open_.start() if open_ else 0
        out.append(rest[: len(rest) - keep])
        self.at += len(self.held) - keep
        self.held = rest[len(rest) - keep :]
        text = "".join(out)
        self.text.append(text)
        return text


def found(start, end):
    return Finding(kind="number", start=start, end=end)


class Masks(Guard):
    """A guard that is right, to be broken in one way by each subclass."""

    window = 4

    def check(self, text, context=None):
        findings = [found(match.start(), match.end()) for match in DIGITS.finditer(text)]
        return Verdict.rewrite(DIGITS.sub("<n>", text), findings) if findings else Verdict.allow()

    def open_stream(self, context):
        return DigitStream()


class BlockStream(DigitStream):
    blocked = False

    @property
    def verdict(self):
        return Verdict.block("a number", self.findings) if self.findings else Verdict.allow()

    def feed(self, piece, /):
        return "" if self.blocked else self.until_block(super().feed(piece))

    def finish(self):
        return "" if self.blocked else self.until_block(super().finish())

    def until_block(self, text):
        self.blocked = bool(self.findings)
        return text.partition("<n>")[0]


class Blocks(Masks):
    def check(self, text, context=None):
        verdict = super().check(text, context)
        return verdict if verdict.action == "allow" else Verdict.block("a number", verdict.findings)

    def open_stream(self, context):
        return BlockStream()


class MasksContract(GuardContract):
    examples_allowed = ("hello", "# 1 #", "#1234#")
    examples_caught = ("#12#", "a #1# b #22# c")

    def make_guard(self):
        return Masks()


class TestARewritingGuardKeepsTheContract(MasksContract):
    pass


class TestABlockingGuardKeepsTheContract(MasksContract):
    def make_guard(self):
        return Blocks()


class TestAGuardForInputsKeepsTheContract(MasksContract):
    stage = "input"


class TestAnAsyncGuardOfWholeTextsKeepsTheContract(MasksContract):
    def make_guard(self):
        return AsyncMasks()


class AsyncMasks(Guard):
    async def check(self, text, context=None):
        await asyncio.sleep(0)
        return Masks().check(text)


@guard
def no_numbers(text):
    return Masks().check(text)


class TestAGuardFromAFunctionKeepsTheContract(MasksContract):
    picklable = False

    def make_guard(self):
        return no_numbers


def test_a_guard_that_inherits_nothing_is_tried_as_far_as_it_goes():
    class Bare:
        def check(self, text, /):
            return Masks().check(text)

    class Contract(MasksContract):
        picklable = False

        def make_guard(self):
            return Bare()

    failed, skipped = outcomes(Contract())
    assert failed == {}
    assert skipped == {
        "does_not_change_the_context",
        "holds_back_no_more_than_its_window",
        "stream_equals_whole_for_every_cut",
    }


class AllowsAll(Masks):
    def check(self, text, context=None):
        return Verdict.allow()


class CatchesAll(Masks):
    def check(self, text, context=None):
        return Verdict.flag("all")


class FailsOnSurrogates(Masks):
    def check(self, text, context=None):
        text.encode()
        return super().check(text, context)


class SaysTrue(Masks):
    def check(self, text, context=None):
        return True


class FindsOutside(Masks):
    def check(self, text, context=None):
        return Verdict.allow(found(0, len(text.encode("utf-8", "replace")) + 1))


class FindsDisordered(Masks):
    def check(self, text, context=None):
        verdict = super().check(text, context)
        return dataclasses.replace(verdict, findings=verdict.findings[::-1])


class TooSure(Masks):
    def check(self, text, context=None):
        return Verdict.allow(Finding(kind="x", start=0, end=0, score=2.0))


class OddAction(Masks):
    def check(self, text, context=None):
        return Verdict(action="maybe")


class RewritesNothing(Masks):
    def check(self, text, context=None):
        verdict = super().check(text, context)
        return dataclasses.replace(verdict, text=None)


class Moody(Masks):
    calls = 0

    def check(self, text, context=None):
        self.calls += 1
        return super().check(text, context) if self.calls % 2 else Verdict.allow()


class ChangesTheContext(Masks):
    def check(self, text, context=None):
        context.request.extra["seen"] = text
        return super().check(text, context)


class WindowWithoutStream(Masks):
    def open_stream(self, context):
        return None


class StreamWithoutWindow(Masks):
    window = None


class NarrowWindow(Masks):
    window = 3


class SeesPiecesOnly(Masks):
    """What a filter does that looks at each chunk alone."""

    def open_stream(self, context):
        class Stream(DigitStream):
            def feed(self, piece, /):
                return super().feed(piece) + super().finish()

        return Stream()


class EmitsBeforeItBlocks(Blocks):
    def open_stream(self, context):
        class Stream(BlockStream):
            def feed(self, piece, /):
                if self.blocked:
                    return ""
                super().feed(piece)
                return piece if not self.blocked else ""

            def finish(self):
                super().finish()
                return ""

        return Stream()


class GoesOnAfterTheBlock(Blocks):
    def open_stream(self, context):
        class Stream(BlockStream):
            def feed(self, piece, /):
                return piece if self.blocked else super().feed(piece)

        return Stream()


class ForgetsItsFindings(Masks):
    def open_stream(self, context):
        class Stream(DigitStream):
            @property
            def verdict(self):
                return dataclasses.replace(super().verdict, findings=())

        return Stream()


class NeverDecides(Masks):
    def open_stream(self, context):
        class Stream(DigitStream):
            verdict = Verdict.allow()

        return Stream()


class KeepsAFunction(Masks):
    def __init__(self):
        self.function = lambda: None


class ForgetsWhenCopied(Masks):
    def __init__(self):
        self.active = True

    def __copy__(self):
        return AllowsAll()


@pytest.mark.parametrize(
    ("broken_guard", "broken", "message"),
    [
        (AllowsAll, "examples_are_caught", "should be caught"),
        (CatchesAll, "examples_are_allowed", "should be allowed"),
        (FailsOnSurrogates, "gives_a_verdict_on_any_text", "surrogates not allowed"),
        (SaysTrue, "gives_a_verdict_on_any_text", "has to give a Verdict"),
        (FindsOutside, "gives_a_verdict_on_any_text", "lies outside"),
        (FindsDisordered, "examples_are_caught", "order of their positions"),
        (TooSure, "examples_are_allowed", "between 0 and 1"),
        (OddAction, "examples_are_allowed", "'maybe'"),
        (RewritesNothing, "examples_are_caught", "Verdict.rewrite(text)"),
        (Moody, "same_text_same_verdict", "and then"),
        (ChangesTheContext, "does_not_change_the_context", "changed the request"),
        (WindowWithoutStream, "stream_equals_whole_for_every_cut", "`window` is 4"),
        (StreamWithoutWindow, "stream_equals_whole_for_every_cut", "`window` is None"),
        (NarrowWindow, "holds_back_no_more_than_its_window", "holds back 4; its window is 3"),
        (SeesPiecesOnly, "stream_equals_whole_for_every_cut", "the stream decided allow"),
        (EmitsBeforeItBlocks, "stream_equals_whole_for_every_cut", "differently for different cuts"),
        (GoesOnAfterTheBlock, "stream_equals_whole_for_every_cut", "after the block"),
        (ForgetsItsFindings, "stream_equals_whole_for_every_cut", "the stream found []"),
        (NeverDecides, "stream_equals_whole_for_every_cut", "the stream decided allow"),
        (KeepsAFunction, "can_be_copied_and_pickled", "does not survive pickle"),
        (ForgetsWhenCopied, "can_be_copied_and_pickled", "a copy differs"),
    ],
)
def test_a_broken_guard_fails(broken_guard, broken, message):
    class Contract(MasksContract):
        tries = 5

        def make_guard(self):
            return broken_guard()

    with pytest.raises(Exception, match=re.escape(message)):
        getattr(Contract(), f"test_{broken}")()


def test_made_up_texts_find_what_the_examples_miss():
    class Rare(Masks):
        """Wrong only where two numbers touch, and the cut is between them."""

        def open_stream(self, context):
            class Stream(DigitStream):
                def feed(self, piece, /):
                    out = super().feed(piece)
                    return out.replace("<n><n>", "<n>")

            return Stream()

    class Contract(MasksContract):
        examples_caught = ("#12#",)
        examples_allowed = ("hello",)

        def make_guard(self):
            return Rare()

    failed, _ = outcomes(Contract())
    assert "<n>" in failed["stream_equals_whole_for_every_cut"]


def test_a_contract_without_examples_says_what_to_write():
    class Contract(GuardContract):
        def make_guard(self):
            return Masks()

    with pytest.raises(AssertionError, match="examples_caught"):
        Contract().test_gives_a_verdict_on_any_text()
    with pytest.raises(NotImplementedError, match="def make_guard"):
        GuardContract().test_examples_are_caught()


def test_contracts_run_in_a_suite_of_ones_own(run_pytest):
    result = run_pytest(
        test_mine="""
        from llmops_sdk import Scripted
        from llmops_sdk.testing import EngineContract, GuardContract

        class TestMine(EngineContract):
            supports_n = False
            def make_engine(self):
                return Scripted("Hello")

        class TestBroken(EngineContract):
            def make_engine(self):
                return Scripted("")
        """
    )
    counts = result.parseoutcomes()
    assert counts["skipped"] >= 3
    assert counts["failed"] >= 1
    result.stdout.fnmatch_lines(["*AssertionError: the answer is empty*"])
