"""A stream survives its engine: what the caller is told neither repeats nor loses a character."""

import asyncio
import contextlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_sdk import errors
from llmops_sdk.calls import AttemptEnded, Call, Hedged, StreamResumed
from llmops_sdk.costs import PriceTable, most_it_can_cost
from llmops_sdk.engines import Engine, Scripted
from llmops_sdk.engines.remote import Remote
from llmops_sdk.messages import Chunk, ChunkJoiner, Message, Request, StreamRestarted, TokenLogprob, ToolCall, Usage
from llmops_sdk.protocols import Capabilities
from llmops_sdk.routers import Leg, Limit, Router
from llmops_sdk.testing import INVALID_UTF8, FaultServer, Raw, Reply, huge_line
from llmops_sdk.virtual_time import run_in_virtual_time

HELLO = Request.of("hello")
CUT = errors.EngineConnectionError("cut")
CONTINUES = Capabilities(continues=True)


def routed(*engines, **options):
    return Router([*engines], **{"strategy": "priority", **options})


def continuing(*answers, **options):
    return Leg(Scripted(*answers, **options), capabilities=CONTINUES)


async def collect(router, call=None, **parameters):
    request = Request(**{"messages": HELLO.messages, **parameters}, call=call or Call())
    return [chunk async for chunk in router.astream(request)]


def joined(chunks):
    """What stands on the screen of somebody who shows the stream while it comes."""
    shown = {}
    for chunk in chunks:
        if isinstance(chunk, StreamRestarted):
            assert chunk.withdrawn == shown.pop(chunk.index, "")
        shown[chunk.index] = shown.get(chunk.index, "") + chunk.text
    joiner = ChunkJoiner()
    for chunk in chunks:
        joiner.add(chunk)
    assert {index: one.text for index, one in joiner.choices().items()} == shown
    return shown.get(0, "") if len(shown) < 2 else shown


def resumed(call):
    return [(event.engine, event.how, event.emitted) for event in call.events if isinstance(event, StreamResumed)]


def restarts(chunks):
    return [chunk for chunk in chunks if isinstance(chunk, StreamRestarted)]


class Streams(Engine):
    """Streams the given chunks, waits where there is a number, raises what is an error."""

    def __init__(self, *steps, name="streams"):
        self._steps = steps
        self.name = name
        self.requests = []
        self.closed = 0

    async def astream(self, request):
        self.requests.append(request)
        try:
            for step in self._steps:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, Chunk):
                    yield step
                else:
                    await asyncio.sleep(step)
        finally:
            self.closed += 1


def words(text, *more):
    return [*(Chunk(text=word) for word in text), *more]


END = Chunk(finish_reason="stop", usage=Usage(input_tokens=1, output_tokens=2))


# Resuming


@pytest.mark.parametrize("text", ["Hello, world", "a  b \n\n c\t", "no"])
async def test_text_so_far_goes_to_an_engine_that_continues_it(text):
    for cut in range(1, len(text) + 1):
        other, whole = Scripted("never", name="other"), continuing([*text], name="whole")
        call = Call()
        router = routed(Scripted([*text[:cut], CUT], name="broken"), other, whole)
        chunks = await collect(router, call)
        assert joined(chunks) == text
        assert chunks[-1].finish_reason == "stop"
        assert not restarts(chunks)
        assert resumed(call) == [("whole", "resume", cut)]
        (asked,) = whole.engine.requests
        assert asked.continues
        assert asked.messages == (*HELLO.messages, Message.assistant(text[:cut].rstrip()))
        assert other.requests == []


async def test_blank_that_the_prefix_lost_is_neither_repeated_nor_swallowed():
    for emitted, rest, text in [
        ("a ", " b", "a b"),
        ("a", " b", "a b"),
        ("a ", "b", "a b"),
        ("a\n", "\n\nb", "a\n\nb"),
        ("a\n\n", "\nb", "a\n\nb"),
        ("a ", "\nb", "a \nb"),
        ("a  ", "  ", "a  "),
    ]:
        for pieces in ([rest], [*rest]):
            chunks = await collect(routed(Scripted([emitted, CUT]), continuing(pieces)))
            assert joined(chunks) == text


async def test_white_space_alone_is_nothing_to_continue():
    call = Call()
    chunks = await collect(routed(Scripted(["\n ", CUT]), continuing("\n Hi", name="whole")), call)
    assert joined(chunks) == "\n Hi"
    assert resumed(call) == [("whole", "restart", 2)]


async def test_where_nobody_continues_another_engine_starts_again():
    call = Call()
    chunks = await collect(routed(Scripted(["Hel", CUT]), Scripted("Hello", name="whole")), call)
    assert joined(chunks) == "Hello"
    assert resumed(call) == [("whole", "restart", 3)]


async def test_engine_that_broke_is_asked_to_continue_before_others_start_again():
    first = continuing(["Hel", CUT], ["Hel", "lo"], name="first")
    other = Scripted("Bye", name="other")
    call = Call()
    assert joined(await collect(routed(first, other), call)) == "Hello"
    assert resumed(call) == [("first", "resume", 3)]
    assert other.requests == []


async def test_coming_back_to_continue_takes_no_attempt_from_an_engine_that_was_not_asked():
    first = continuing(["Hel", CUT], CUT, name="first")
    call = Call()
    assert joined(await collect(routed(first, Scripted("Hello", name="other"), retries=0), call)) == "Hello"
    assert resumed(call) == [("other", "restart", 3)]


async def test_engine_that_gets_nowhere_is_not_asked_to_continue_again():
    first = continuing(["Hel", CUT], CUT, CUT, name="first")
    call = Call()
    assert joined(await collect(routed(first, Scripted("Hello", name="other"), retries=4), call)) == "Hello"
    assert resumed(call) == [("first", "resume", 3), ("other", "restart", 3)]


async def test_stream_that_breaks_again_and_again_is_resumed_each_time():
    flaky = continuing(["a", CUT], ["a", "b", CUT], ["ab", "c", CUT], "abcd", name="flaky")
    call = Call()
    assert joined(await collect(routed(flaky, retries=3), call)) == "abcd"
    assert resumed(call) == [("flaky", "resume", n) for n in (1, 2, 3)]


async def test_engine_that_refuses_to_continue_is_asked_from_the_start():
    class Refuses(Scripted):
        async def astream(self, request):
            if request.continues:
                raise errors.UnsupportedError("no prefill here")
            async for chunk in super().astream(request):
                yield chunk

    call = Call()
    refuses = Leg(Refuses(["Hel", CUT], "Hello", name="refuses"), capabilities=CONTINUES)
    assert joined(await collect(routed(refuses, retries=2), call)) == "Hello"
    assert resumed(call) == [("refuses", "resume", 3), ("refuses", "restart", 3)]


async def test_what_the_caller_wants_continued_is_continued_with_what_was_emitted():
    asked = (Message.user("Count"), Message.assistant("one,"))
    whole = continuing("one, two, three", name="whole")
    chunks = await collect(routed(continuing(["one,", " two", CUT]), whole), messages=asked, continues=True)
    assert joined(chunks) == " two, three"
    assert whole.engine.requests[0].messages == (Message.user("Count"), Message.assistant("one, two"))


async def test_tokens_that_are_known_are_taken_off_max_tokens():
    first = Streams(*words("ab"), Chunk(text="c", token_ids=(7, 8)), CUT)
    whole = continuing("abcd")
    assert joined(await collect(routed(first, whole), max_tokens=10)) == "abcd"
    assert whole.engine.requests[0].max_tokens == 8
    whole = continuing("abcd")
    assert joined(await collect(routed(Streams(*words("abc"), CUT), whole), max_tokens=10)) == "abcd"
    assert whole.engine.requests[0].max_tokens == 10  # nobody knows
    whole = continuing("ab cd")  # the blank is written once more, and is a token then, too
    first = Streams(Chunk(text="ab", token_ids=(7,)), Chunk(text=" ", token_ids=(8,)), CUT)
    assert joined(await collect(routed(first, whole), max_tokens=10)) == "ab cd"
    assert whole.engine.requests[0].max_tokens == 9
    spent = TokenLogprob(token="a", logprob=-1.0)
    first = Streams(Chunk(text="a", logprobs=(spent,)), Chunk(text="a", logprobs=(spent,)), CUT)
    whole = continuing("aaa")
    chunks = await collect(routed(first, whole), max_tokens=2)
    assert (joined(chunks), chunks[-1].finish_reason, whole.engine.requests) == ("aa", "length", [])


@pytest.mark.parametrize(
    ("emitted", "rest", "text"),
    [
        (["one E"], ["N", "D two"], "one E"),
        (["one EN"], ["D two"], "one EN"),
        (["E"], ["N", "D", "x"], "E"),
        (["one E"], ["N", "E two END"], "one ENE two END"),
        (["one E"], ["N"], "one EN"),
        (["one"], [" two"], "one two"),
    ],
)
async def test_stop_text_that_spans_the_seam_ends_the_answer(emitted, rest, text):
    whole = Leg(Streams(*words(rest), END), capabilities=CONTINUES)
    chunks = await collect(routed(Streams(*words(emitted), CUT, name="first"), whole), stop=("END", "||"))
    assert joined(chunks) == text
    assert chunks[-1].finish_reason == "stop"
    assert whole.engine.closed == 1


@pytest.mark.parametrize(
    "parameters",
    [{"n": 2}, {"response_schema": {"type": "object"}}, {"extra": {"regex": "H.*"}}],
    ids=["choices", "schema", "structure"],
)
async def test_what_cannot_be_had_in_parts_is_started_again(parameters):
    call = Call()
    whole = continuing("Hello", name="whole")
    chunks = await collect(routed(Scripted(["Hel", CUT]), whole), call, **parameters)
    assert joined(chunks) in ("Hello", {0: "Hello", 1: "Hello"})
    assert resumed(call) == [("whole", "restart", 3)]


@pytest.mark.parametrize("how", ["resume", "restart"])
async def test_tool_call_that_was_emitted_cannot_be_taken_back(how):
    tool = ToolCall(id="1", name="now", arguments="{}")
    other = continuing("Hello")
    with pytest.raises(errors.StreamInterrupted) as caught:
        await collect(routed(Streams(Chunk(text="Hm"), Chunk(tool_calls=(tool,)), CUT), other, on_stream_break=how))
    assert caught.value.partial_text == "Hm"
    assert other.engine.requests == []


@pytest.mark.parametrize("how", ["resume", "restart", "raise"])
async def test_break_after_the_end_of_the_answer_costs_nothing(how):
    other = continuing("Hello")
    chunks = await collect(routed(Streams(*words(["Hi"], END), CUT), other, on_stream_break=how))
    assert joined(chunks) == "Hi"
    assert [chunk.finish_reason for chunk in chunks] == [None, "stop"]
    assert other.engine.requests == []


async def test_thoughts_are_those_of_the_engine_that_began_the_text():
    first = Streams(Chunk(reasoning="hm"), Chunk(text="Hel"), CUT, name="first")
    second = Leg(Streams(Chunk(reasoning="well"), Chunk(text="lo"), END), capabilities=CONTINUES)
    chunks = await collect(routed(first, second))
    assert joined(chunks) == "Hello"
    assert "".join(chunk.reasoning for chunk in chunks) == "hm"


async def test_usage_of_the_stream_is_that_of_the_attempt_that_ended_it():
    call = Call()
    chunks = await collect(routed(Scripted(["one ", CUT]), continuing("one two", name="whole")), call)
    (said,) = [chunk.usage for chunk in chunks if chunk.usage]
    ended = [event.usage for event in call.events if isinstance(event, AttemptEnded)]
    assert ended == [None, said]


# Starting again


@pytest.mark.parametrize("how", ["resume", "restart"])
@pytest.mark.parametrize("cut", range(12))
async def test_stream_cut_at_any_character_goes_on_without_loss_or_repetition(how, cut):
    text = "Hello, world"
    broken = Scripted([*text[:cut], CUT], name="broken")
    if cut == 0:
        broken = Scripted(CUT, name="broken")
    call = Call()
    chunks = await collect(routed(broken, Scripted([text[:5], text[5:]], name="whole"), on_stream_break=how), call)
    assert joined(chunks) == text
    assert not restarts(chunks)
    assert chunks[-1].finish_reason == "stop"
    assert len(resumed(call)) == (1 if cut else 0)


@pytest.mark.parametrize("cut", [1, 2, 3])
async def test_thoughts_are_not_repeated_and_cut_chunks_have_no_tokens(cut):
    began = [Chunk(reasoning="hm"), Chunk(text="Hel", token_ids=(1,)), Chunk(text="lo", token_ids=(2,))]
    whole = [Chunk(reasoning="well"), Chunk(text="Hello", token_ids=(3,)), Chunk(finish_reason="stop")]
    chunks = await collect(routed(Streams(*began[:cut], CUT, name="first"), Streams(*whole)))
    assert "".join(chunk.reasoning for chunk in chunks) == "hm"
    assert joined(chunks) == "Hello"
    assert [token for chunk in chunks for token in chunk.token_ids] == {1: [3], 2: [1], 3: [1, 2]}[cut]


@pytest.mark.parametrize("answer", [["Good", "bye"], ["Hel", "p!"], ["He"], [""], ["H", "e", "l", "p"]], ids="|".join)
@pytest.mark.parametrize("ends", [True, False])
async def test_different_answer_is_announced_before_its_text(answer, ends):
    call = Call()
    other = Streams(Chunk(reasoning="well"), *words(answer), *([END] if ends else []), name="other")
    first = Streams(Chunk(reasoning="hm"), *words(["Hel", "lo"]), CUT, name="first")
    chunks = await collect(routed(first, other, on_stream_break="restart"), call)
    assert joined(chunks) == "".join(answer)
    (restarted,) = restarts(chunks)
    assert (restarted.index, restarted.withdrawn) == (0, "Hello")
    joiner = ChunkJoiner()
    for chunk in chunks:
        joiner.add(chunk)
    assert joiner.response().choices[0].reasoning == "well"
    assert resumed(call) == [("other", "restart", 5), ("other", "different", 5)]


async def test_each_choice_is_matched_by_itself_and_one_that_had_ended_stays():
    def choice(index, *pieces, end=True):
        chunks = [Chunk(text=piece, index=index) for piece in pieces]
        return [*chunks, Chunk(index=index, finish_reason="stop")] if end else chunks

    first = Streams(*choice(0, "same", end=False), *choice(1, "diff", end=False), *choice(2, "over"), CUT, name="first")
    other = Streams(*choice(2, "another"), *choice(1, "di", "verse"), *choice(0, "sa", "me"), *choice(3, "new"), END)
    chunks = await collect(routed(first, other), n=4)
    assert joined(chunks) == {0: "same", 1: "diverse", 2: "over", 3: "new"}
    assert [(chunk.index, chunk.withdrawn) for chunk in restarts(chunks)] == [(1, "diff")]
    assert sorted(chunk.index for chunk in chunks if chunk.finish_reason) == [0, 0, 1, 2, 3]


async def test_tool_call_of_the_new_answer_is_not_lost_in_what_is_matched():
    tool = ToolCall(id="1", name="now", arguments="{}")
    other = Streams(Chunk(text="He"), Chunk(tool_calls=(tool,)), Chunk(text="llo"), END)
    chunks = await collect(routed(Streams(*words(["Hel"]), CUT, name="first"), other))
    assert joined(chunks) == "Hello"
    assert [call for chunk in chunks for call in chunk.tool_calls] == [tool]


async def test_stream_that_differed_can_break_and_be_taken_up_again():
    call = Call()
    first, second = Scripted(["Hel", CUT], name="first"), Scripted(["Good ", CUT], name="second")
    chunks = await collect(routed(first, second, Scripted("Good day", name="third")), call)
    assert joined(chunks) == "Good day"
    assert resumed(call)[-1] == ("third", "restart", 5)


async def test_router_among_the_engines_withdraws_what_it_has_said_itself():
    def inner(*engines):
        return routed(*engines, name="inner")

    for how in ("resume", "restart"):
        for cut in range(1, 5):
            call = Call()
            within = inner(Scripted([*"Hello"[:cut], CUT], name="a"), Scripted("Goodbye", name="b"))
            chunks = await collect(routed(within, Scripted("x", name="c"), on_stream_break=how), call)
            assert joined(chunks) == "Goodbye"
            # Outside a stream has broken, too, and the inner router begins, breaks, and begins another answer.
            for outside in ("Hel", "Hello you", "Good"):
                within = inner(Scripted([*"Hello"[:cut], CUT], name="a"), Scripted("Goodbye", name="b"))
                first = Scripted([outside, CUT], name="first")
                chunks = await collect(routed(first, within, on_stream_break=how), call)
                assert joined(chunks) == "Goodbye"


async def test_router_that_continues_withdraws_only_what_was_said_after_the_prefix():
    rest = routed(Streams(*words([" wor"]), CUT, name="a"), Streams(*words([" you"]), END, name="b"), name="inner")
    router = routed(Scripted(["Hello, ", CUT], name="first"), Leg(rest, capabilities=CONTINUES))
    chunks = await collect(router)
    assert joined(chunks) == "Hello, you"
    assert [chunk.withdrawn for chunk in restarts(chunks)] == ["Hello, wor"]
    rest = routed(Streams(*words(["\t"]), CUT, name="a"), Streams(*words([" you"]), END, name="b"), name="inner")
    router = routed(Scripted(["Hello,\t ", CUT], name="first"), Leg(rest, capabilities=CONTINUES))
    assert joined(await collect(router)) == "Hello, you"


async def test_router_that_begins_anew_while_it_is_matched_is_matched_anew():
    within = routed(Scripted(["He", CUT], name="a"), Scripted("llo", name="b"), name="inner")
    assert joined(await collect(routed(Scripted(["Hello", CUT], name="first"), within))) == "llo"


# Giving up


async def test_raise_gives_the_error_at_once_with_text_and_usage():
    other = continuing("Hello")
    counted = Chunk(text="lo", usage=Usage(input_tokens=5, output_tokens=2))
    router = routed(Streams(*words(["Hel"]), counted, CUT), other, on_stream_break="raise")
    with pytest.raises(errors.StreamInterrupted) as caught:
        await collect(router)
    assert caught.value.partial_text == "Hello"
    assert caught.value.usage == Usage(input_tokens=5, output_tokens=2)
    assert other.engine.requests == []


async def test_stream_that_nobody_can_take_up_is_an_error_with_the_text_so_far():
    router = routed(Scripted(["Hel", CUT]), Scripted(errors.AuthenticationError("no")), retries=0)
    with pytest.raises(errors.StreamInterrupted) as caught:
        await collect(router)
    assert caught.value.partial_text == "Hel"
    waits = errors.RateLimitError("later", retry_after_s=60.0)
    with pytest.raises(errors.StreamInterrupted, match="passes the deadline") as caught:
        await collect(routed(Scripted(["Hel", waits])), Call(deadline_s=5.0))
    assert caught.value.partial_text == "Hel"


async def test_chunks_say_which_engine_they_came_from():
    router = routed(Scripted(["a", CUT], name="one"), Scripted(["a", "b"], name="two"))
    chunks = await collect(router)
    assert [(chunk.text, chunk.engine) for chunk in chunks] == [("a", "one"), ("b", "two"), ("", "two")]
    assert isinstance(chunks[0], Chunk)


# Time limits


def timed(*engines, call=None, **options):
    """The chunks, the record, and how long it took in virtual seconds."""

    async def main():
        loop = asyncio.get_running_loop()
        run = call() if call else Call()
        started = loop.time()
        chunks = await collect(routed(*engines, **options), run)
        return chunks, run, loop.time() - started

    return run_in_virtual_time(main())


def failures(call):
    return [event.error for event in call.events if isinstance(event, AttemptEnded) and event.error is not None]


@pytest.mark.parametrize(
    ("options", "took"),
    [
        ({"first_chunk_timeout_s": 2.0}, 2.0),
        ({"attempt_timeout_s": 3.0}, 3.0),
        ({"attempt_timeout_s": 3.0, "first_chunk_timeout_s": 5.0}, 5.0),
        ({"call": lambda: Call(deadline_s=8.0)}, 4.0),
        ({"call": lambda: Call(deadline_s=8.0), "first_chunk_timeout_s": 1.0}, 1.0),
    ],
)
def test_first_chunk_has_a_limit(options, took):
    slow = Streams(100.0, *words(["late"]))
    chunks, call, seconds = timed(slow, Scripted("b", name="b"), **options)
    assert joined(chunks) == "b"
    assert seconds == pytest.approx(took)
    (error,) = failures(call)
    assert type(error) is errors.EngineTimeout
    assert slow.closed == 1


@pytest.mark.parametrize(
    ("options", "took"),
    [
        ({"chunk_timeout_s": 2.0}, 3.0),
        ({"chunk_timeout_s": 2.0, "first_chunk_timeout_s": 50.0}, 3.0),
        ({"call": lambda: Call(deadline_s=8.0)}, 5.0),
        ({"call": lambda: Call(deadline_s=8.0), "chunk_timeout_s": 0.25}, 1.25),
    ],
)
def test_time_between_chunks_has_a_limit(options, took):
    slow = Streams(*words(["Hel"]), *[step for _ in range(5) for step in (0.2, Chunk(text="l"))], 100.0)
    chunks, call, seconds = timed(slow, Scripted("Hellllll ok", name="b"), **options)
    assert joined(chunks) == "Hellllll ok"
    assert seconds == pytest.approx(took)
    (error,) = failures(call)
    assert type(error) is errors.StreamInterrupted
    assert error.partial_text == "Hellllll"
    assert slow.closed == 1


def test_time_in_which_nobody_waits_does_not_count():
    async def main():
        engine = Streams(*words(["a"]), 0.5, *words(["b"]), 0.5, END)
        router = routed(engine, retries=0, chunk_timeout_s=1.0)
        texts = []
        async for chunk in router.astream(Request(messages=HELLO.messages, call=Call())):
            texts.append(chunk.text)
            await asyncio.sleep(30.0)
        return texts

    assert run_in_virtual_time(main()) == ["a", "b", ""]


def test_stream_that_has_ended_leaves_no_timer():
    async def main():
        await collect(routed(Streams(*words(["a"]), 0.5, END), first_chunk_timeout_s=50.0, chunk_timeout_s=50.0))
        return [timer for timer in asyncio.get_running_loop()._scheduled if not timer.cancelled()]

    assert run_in_virtual_time(main()) == []


async def test_router_among_the_engines_is_closed_at_once():
    engine = Streams(*words(["a", "b"]))
    stream = routed(routed(engine, name="inner")).astream(Request(messages=HELLO.messages, call=Call()))
    await anext(stream)
    await stream.aclose()
    assert engine.closed == 1


def test_limit_cannot_be_mistaken_for_the_caller_s_own_cancellation():
    async def main():
        engine = Streams(*words(["a"]), 100.0)
        router = routed(engine, chunk_timeout_s=10.0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3.0):
                await collect(router)
        assert engine.closed == 1
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(100.0)  # no timer is left that could ring
        both = asyncio.create_task(collect(router))
        await asyncio.sleep(10.0)  # the limit is reached in the very same moment
        both.cancel()
        with pytest.raises((asyncio.CancelledError, errors.StreamInterrupted)):
            await both
        return engine.closed

    assert run_in_virtual_time(main()) == 2


def test_engine_that_makes_something_else_of_its_cancellation_is_no_riddle():
    class Stubborn(Engine):
        def __init__(self, makes):
            self._makes = makes

        async def astream(self, request):
            yield Chunk(text="a")
            try:
                await asyncio.sleep(100.0)
            except asyncio.CancelledError:
                if self._makes is not None:
                    raise self._makes from None
            yield Chunk(text="b", finish_reason="stop")

    async def main(makes):
        chunks = await collect(routed(Stubborn(makes), Scripted("ab", name="b"), chunk_timeout_s=1.0))
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        return joined(chunks)

    assert run_in_virtual_time(main(None)) == "ab"
    assert run_in_virtual_time(main(errors.ServerError("x"))) == "ab"
    assert run_in_virtual_time(main(ValueError("x"))) == "ab"


def test_router_among_the_engines_has_the_limits_of_the_outer_one():
    inner = routed(Streams(*words(["Hel"]), 100.0, name="a"), name="inner")
    chunks, _, seconds = timed(inner, Scripted("Hello", name="b"), chunk_timeout_s=2.0)
    assert (joined(chunks), seconds) == ("Hello", pytest.approx(2.0))
    inner = routed(Streams(100.0, name="a"), name="inner")
    chunks, _, seconds = timed(inner, Scripted("Hello", name="b"), first_chunk_timeout_s=2.0)
    assert (joined(chunks), seconds) == ("Hello", pytest.approx(2.0))


def test_limit_of_the_outer_router_holds_when_the_inner_one_has_the_same():
    inner = routed(Streams(100.0, name="a"), Streams(1.5, *words(["late"]), END, name="c"), first_chunk_timeout_s=2.0)
    chunks, _, seconds = timed(inner, Scripted("Hello", name="b"), first_chunk_timeout_s=2.0)
    assert (joined(chunks), seconds) == ("Hello", pytest.approx(2.0))


class ClosesBadly(Engine):
    """Streams that raise when they are closed."""

    def __init__(self, *steps):
        self._steps = steps

    def astream(self, request):
        return ClosingBadly(self._steps)


class ClosingBadly:
    def __init__(self, steps):
        self._steps = iter(steps)

    async def __anext__(self):
        for step in self._steps:
            if isinstance(step, Exception):
                raise step
            return step
        raise StopAsyncIteration

    async def aclose(self):
        raise ZeroDivisionError("closing")


async def test_stream_that_cannot_be_closed_raises_a_typed_error_and_costs_no_answer(caplog):
    whole = [Chunk(text="Hel"), Chunk(text="lo", finish_reason="stop")]
    assert joined(await collect(routed(ClosesBadly(*whole), Scripted("other")))) == "Hello"
    with pytest.raises(errors.EngineError, match="closing"):
        [chunk async for chunk in Leg(ClosesBadly(*whole)).stream(HELLO, Call())]
    assert not caplog.records
    assert joined(await collect(routed(ClosesBadly(whole[0], CUT), Scripted("Hello")))) == "Hello"
    assert "could not be closed" in caplog.text


async def test_stream_that_the_budget_does_not_let_go_on_is_an_error_with_the_text_so_far():
    class Dear(Streams):
        provider, model = "openai", "gpt-4o-mini"

    router = routed(Dear(*words(["Hel"]), CUT, name="a"), Dear(*words(["Hello"]), END, name="b"))
    price = PriceTable.default().price("gpt-4o-mini", provider="openai")
    budget = most_it_can_cost(replace(HELLO, max_tokens=1500), price)
    with pytest.raises(errors.StreamInterrupted) as caught:
        await collect(router, Call(budget_usd=budget, prices=PriceTable.default()), max_tokens=1500)
    assert caught.value.partial_text == "Hel"
    assert isinstance(caught.value.__cause__, errors.BudgetExceeded)


# Cutting at any byte

TEXT = 'Grüße,  你!\n\n👩‍👩‍👧 "né 🎉'
PIECES = ("Grü", "ße, ", " 你!\n", "\n👩\u200d", "👩\u200d👧 ", '"né 🎉')
OTHER = "Grüße,  你 da"


def script(text=TEXT, other=TEXT, fault=None):
    """Model `broken N` says `text` and breaks at byte N; `whole` continues what it is given, or says `other`."""

    def answer(asked):
        kind, _, number = asked["model"].partition(" ")
        last = asked["messages"][-1]
        if kind == "broken":
            return fault(int(number)) if fault else Reply(chunks=PIECES, drop_at=int(number), chunk_delay_s=None)
        assert other.startswith(last["content"]) or last["role"] == "user"
        begun = last["content"] if asked.get("continue_final_message") else ""
        assert asked.get("add_generation_prompt", True) is not bool(begun)
        rest = other[len(begun) :]
        pieces = tuple(rest[i : i + 7] for i in range(0, len(rest), 7))
        return Reply(chunks=pieces or ("",), chunk_delay_s=None)

    return answer


class Broken(Remote):
    """An endpoint whose model is chosen by the request's tag."""

    def asked(self, request, *, stream):
        return {**super().asked(request, stream=stream), "model": f"broken {request.call.tags['at']}"}


async def cut_everywhere(server, places, how, check, **options):
    broken = Broken(server.url, model="broken", name="broken", provider="openai_compatible")
    whole = Remote(server.url, model="whole", name="whole", provider="openai_compatible")
    room = asyncio.Semaphore(32)

    async def one(at):
        legs = [Leg(broken), Leg(whole, capabilities=CONTINUES)]  # fresh ones: these have not failed yet
        call = Call(tags={"at": at})
        async with room:
            error = None
            chunks = []
            try:
                router = routed(*legs, on_stream_break=how, **options)
                async for chunk in router.astream(Request(messages=HELLO.messages, call=call)):
                    chunks.append(chunk)  # noqa: PERF401  (what came before an error is wanted, too)
            except errors.StreamInterrupted as exc:
                error = exc
        check(at, chunks, error, call)

    try:
        async with asyncio.TaskGroup() as group:
            for at in places:
                group.create_task(one(at))
    finally:
        await broken.aclose()
        await whole.aclose()


def size_of_stream():
    """Bytes of the body of the stream that is cut."""

    async def measure():
        async with FaultServer(Reply(chunks=PIECES)) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            body = b'{"model": "m", "stream": true, "stream_options": {"include_usage": true}, "messages": []}'
            writer.write(
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b"
                % (len(body), body)
            )
            answer = await reader.read()
            writer.close()
        frames = answer.partition(b"\r\n\r\n")[2]
        size = 0
        while frames:
            length, _, frames = frames.partition(b"\r\n")
            size += int(length, 16)
            frames = frames[int(length, 16) + 2 :]
        return size

    return asyncio.run(measure())


@pytest.mark.parametrize("how", ["resume", "restart", "different", "raise"])
def test_stream_cut_at_every_byte_neither_repeats_nor_loses_a_character(how):
    size = size_of_stream()
    seen = set()

    def check(at, chunks, error, call):
        told = joined(chunks)
        if how == "raise" and error is not None:
            assert error.partial_text == told
            assert TEXT.startswith(told)
            seen.add(told)
            return
        assert error is None
        assert told == TEXT or (how == "different" and told == OTHER), at
        assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["stop"], at
        assert bool(restarts(chunks)) is any(event[1] == "different" for event in resumed(call))
        assert how == "different" or not restarts(chunks)
        seen.update(event[1:] for event in resumed(call))

    async def main():
        other = OTHER if how == "different" else TEXT
        async with FaultServer(script(other=other)) as server:
            # Where the bytes are cut matters to the reader of the stream, which is the same one for all.
            places = range(0, size + 2, {"resume": 1, "different": 7}.get(how, 3))
            await cut_everywhere(server, places, "restart" if how == "different" else how, check)
            await server.auntil(lambda: server.answering == 0)

    asyncio.run(main())
    assert len(seen) >= len(PIECES) - 1
    assert size > 1000


FAULTS = {
    "reset": lambda at: Reply(chunks=PIECES, drop_at=at * 60, reset=True),
    "hang": lambda at: Reply(chunks=PIECES, hang_after=at),
    "garbage": lambda at: Reply(chunks=(*PIECES[:at], b'data: {"choi\n\n', *PIECES[at:])),
    "no UTF-8": lambda at: Reply(chunks=(*PIECES[:at], INVALID_UTF8, *PIECES[at:])),
    "huge line": lambda at: Reply(chunks=(*PIECES[:at], huge_line(70_000), *PIECES[at:])),
    "error": lambda at: Reply(chunks=(*PIECES[:at], b'data: {"error": {"message": "oh", "code": 500}}\n\n')),
    "html": lambda at: Raw.html(),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("how", ["resume", "restart"])
def test_stream_that_breaks_in_any_way_is_taken_up(how, fault):
    def check(at, chunks, error, call):
        assert error is None
        assert joined(chunks) == TEXT

    async def main():
        async with FaultServer(script(fault=FAULTS[fault])) as server:
            limits = {"first_chunk_timeout_s": 2.0, "chunk_timeout_s": 2.0} if fault == "hang" else {}
            await cut_everywhere(server, range(len(PIECES)), how, check, **limits)

    asyncio.run(main())


TEXTS = st.text(st.sampled_from("ab \n\téß你👩\u200d🎉\u0301") | st.characters(exclude_categories=("Cs",)), max_size=40)


@settings(max_examples=200, deadline=None)
@given(
    text=TEXTS,
    other=TEXTS,
    cuts=st.lists(st.integers(0, 40), max_size=3),
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    how=st.sampled_from(["resume", "restart"]),
)
def test_any_text_cut_anywhere_and_in_any_pieces(text, other, cuts, sizes, how):
    def pieces(whole):
        at, cut = 0, []
        while at < len(whole):
            size = sizes[len(cut) % len(sizes)]
            cut.append(whole[at : at + size])
            at += size
        return cut

    async def main():
        def broken():
            return [Scripted([*pieces(text[:at]), CUT], name=f"broken {i}") for i, at in enumerate(cuts) if text[:at]]

        same = Leg(Scripted([*pieces(text)] or "", name="same"), capabilities=CONTINUES)
        chunks = await collect(routed(*broken(), same, on_stream_break=how))
        assert joined(chunks) == text
        assert not restarts(chunks)
        another = Scripted([*pieces(other)] or "", name="another")
        chunks = await collect(routed(*broken(), another, on_stream_break=how))
        assert joined(chunks) == other

    asyncio.run(main())


# Two engines beside each other


def hedged(*engines, after_s, **options):
    return routed(*engines, hedge=after_s, **options)


def race(*engines, after_s=1.0, call=None, **options):
    async def main():
        loop = asyncio.get_running_loop()
        run, started = call or Call(), loop.time()
        router = hedged(*engines, after_s=after_s, **options)
        chunks = await collect(router, run)
        assert [leg.in_flight for leg in router.legs] == [0] * len(engines)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return chunks, run, loop.time() - started

    return run_in_virtual_time(main())


def seconds_asked(call):
    return [(event.engine, event.after_s) for event in call.events if isinstance(event, Hedged)]


def test_second_engine_is_asked_when_the_first_chunk_is_late_and_the_slower_one_is_closed():
    slow, fast = Streams(50.0, *words(["late"]), END, name="slow"), Streams(0.5, *words(["now"]), END, name="fast")
    chunks, call, seconds = race(slow, fast)
    assert (joined(chunks), seconds) == ("now", pytest.approx(1.5))
    assert seconds_asked(call) == [("fast", 1.0)]
    assert (slow.closed, fast.closed) == (1, 1)
    ended = {event.engine: event.error for event in call.events if isinstance(event, AttemptEnded)}
    assert isinstance(ended.pop("slow"), asyncio.CancelledError)
    assert ended == {"fast": None}


def test_first_engine_may_still_win_and_one_in_time_is_not_hedged():
    slow, slower = Streams(1.5, *words(["a"]), END, name="slow"), Streams(9.0, *words(["b"]), END, name="slower")
    chunks, call, seconds = race(slow, slower)
    assert (joined(chunks), seconds) == ("a", pytest.approx(1.5))
    assert slower.closed == 1
    other = Streams(*words(["b"]), END, name="other")
    chunks, call, _ = race(Streams(0.5, *words(["a"]), 5.0, END, name="first"), other)
    assert (joined(chunks), seconds_asked(call), other.requests) == ("a", [], [])
    chunks, call, _ = race(Streams(0.5, *words(["a"]), END, name="only"))
    assert (joined(chunks), seconds_asked(call)) == ("a", [])


def test_a_stream_that_begins_does_not_wait_until_there_is_room_to_ask_another_beside_it():
    async def main():
        other = Leg(Streams(*words(["other"]), END, name="other"), limits=Limit(concurrent=1))
        first = Streams(1.5, *words(["a"]), END, name="first")
        router = hedged(first, other, after_s=1.0)
        held = await router._table.gate.reserve(other, HELLO, Call())
        loop, call = asyncio.get_running_loop(), Call()
        started = loop.time()
        chunks = await collect(router, call)
        assert (joined(chunks), loop.time() - started) == ("a", pytest.approx(1.5))
        assert seconds_asked(call) == []
        held.release()
        assert await router._table.gate.reserve(other, HELLO, Call())  # what waited has left its place
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_in_virtual_time(main())


def test_one_that_fails_is_out_of_the_race():
    late = Streams(3.0, *words(["late"]), END, name="late")
    chunks, _, seconds = race(late, Streams(0.5, CUT, name="fails"))
    assert (joined(chunks), seconds) == ("late", pytest.approx(3.0))
    chunks, _, seconds = race(Streams(2.0, CUT, name="fails"), Streams(3.0, *words(["b"]), END, name="b"))
    assert (joined(chunks), seconds) == ("b", pytest.approx(4.0))
    chunks, _, _ = race(Streams(0.5, CUT, name="fails"), Streams(*words(["b"]), END, name="b"))
    assert joined(chunks) == "b"
    with pytest.raises(errors.AllEnginesFailed) as caught:
        race(Streams(2.0, CUT, name="a"), Streams(3.0, CUT, name="b"), retries=0)
    assert [attempt.engine for attempt in caught.value.attempts] == ["a", "b"]


def test_stream_that_won_can_break_and_be_taken_up():
    slow, fast = Streams(50.0, name="slow"), Streams(*words(["Hel"]), 1.0, CUT, name="fast")
    chunks, call, _ = race(slow, fast, continuing("Hello", name="whole"))
    assert joined(chunks) == "Hello"
    assert resumed(call) == [("whole", "resume", 3)]


def test_stream_that_won_waits_for_a_slow_reader():
    async def main():
        many = Streams(2.0, *words("x" * 1000), END, name="many")
        router = hedged(Streams(50.0, name="slow"), many, after_s=1.0)
        text = ""
        async for chunk in router.astream(Request(messages=HELLO.messages, call=Call())):
            await asyncio.sleep(0.01)
            text += chunk.text
        return text

    assert run_in_virtual_time(main()) == "x" * 1000


# Closing


HANGS = {
    "first": (Reply(hang_after=0), None, ""),
    "middle": (Reply(chunks=("Hel", "lo"), hang_after=1), None, "Hel"),
    "restarted": (Reply(chunks=("Hel", "lo"), drop_at=520), Reply(chunks=("He", "y"), hang_after=2), "Hey"),
    "resumed": (Reply(chunks=("Hel", "lo"), drop_at=520), Reply(chunks=("lo", "!"), hang_after=1), "Hello"),
    "hedged": (Reply(hang_after=0), Reply(hang_after=0), ""),
    "hedged in the middle": (Reply(hang_after=0), Reply(chunks=("Hel", "lo"), hang_after=1), "Hel"),
}


@pytest.mark.parametrize("state", HANGS)
@pytest.mark.parametrize("way", ["cancel", "break"])
async def test_closing_the_stream_stops_the_work_upstream_in_every_state(state, way):
    first, second, text = HANGS[state]
    async with FaultServer(lambda asked: first if asked["model"] == "first" else second) as server:
        engines = [Remote(server.url, model=name, name=name, provider="other") for name in ("first", "second")]
        legs = [Leg(engine, capabilities=Capabilities(continues=state == "resumed")) for engine in engines]
        router = hedged(*legs, after_s=0.01) if "hedged" in state else routed(*legs)
        heard = []

        async def read():
            async with contextlib.aclosing(router.astream(Request(messages=HELLO.messages, call=Call()))) as stream:
                async for chunk in stream:
                    heard.append(chunk)
                    if way == "break" and joined(heard) == text:
                        break

        reading = asyncio.create_task(read())
        await server.auntil(lambda: joined(heard or [Chunk()]) == text or (way == "break" and reading.done()))
        await server.auntil(lambda: server.request_count == (1 if second is None else 2))
        if way == "break" and text:
            await reading
        else:
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
        await server.auntil(lambda: server.answering == 0)
        assert [leg.in_flight for leg in router.legs] == [0, 0]
        await router.aclose()
