import asyncio
import json
import pickle
import socket
import time
from decimal import Decimal

import hypothesis
import pytest
from hypothesis import strategies as st

from llmops_sdk import Engine, Scripted, errors
from llmops_sdk.calls import Call
from llmops_sdk.errors import AllEnginesFailed, Attempt, CassetteError, ConfigurationError
from llmops_sdk.messages import (
    Choice,
    Chunk,
    ImagePart,
    Message,
    Origin,
    PromptRef,
    Request,
    Response,
    TextPart,
    TokenLogprob,
    ToolCall,
    Usage,
)
from llmops_sdk.testing import Cassette, FaultServer, Reply, Status, scrub_keys

KEY = "sk" + "-" + "a1B2" * 8

FULL = Response(
    choices=(
        Choice(
            text="grüße \ud800 👩‍👩‍👧",
            finish_reason="stop",
            reasoning="hm",
            logprobs=(TokenLogprob(token="grüße", logprob=-0.5, top=(("grüße", -0.5), ("Grüße", -1.5))),),
            token_ids=(7, 8),
        ),
        Choice(tool_calls=(ToolCall(id="1", name="f", arguments='{"a": 1}'),), finish_reason="tool_calls"),
    ),
    usage=Usage(input_tokens=3, output_tokens=5, cached_input_tokens=1),
    model="m-2026",
    engine="scripted",
    id="id-1",
    cost_usd=Decimal("0.00021"),
)


class Chunks(Engine):
    """Streams the given chunks, with pauses, and then raises."""

    def __init__(self, *chunks, pause_s=0.0, error=None):
        self.chunks, self.pause_s, self.error = chunks, pause_s, error
        self.model = "m"

    async def astream(self, request):
        for chunk in self.chunks:
            await asyncio.sleep(self.pause_s)
            yield chunk
        if self.error is not None:
            raise self.error

    async def aembed(self, texts):
        return [[float(len(text)), 0.5] for text in texts]


class Untouchable(Engine):
    """Fails the test when it is asked."""

    model = "m"

    async def agenerate(self, request):
        raise AssertionError("the engine was asked in replay")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cassettes" / "one.jsonl"


@pytest.fixture
def no_sockets(monkeypatch):
    """Any new socket fails the test."""

    def refuse(*_, **__):
        raise AssertionError("a socket was opened")

    asyncio.run(asyncio.sleep(0))
    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


def record(path, engine):
    return Cassette(path, mode="record").wrap(engine)


def replay(path, model="m", **options):
    engine = Untouchable()
    engine.model = model
    return Cassette(path, mode="replay", **options).wrap(engine)


def test_a_response_comes_back_as_it_was(path):
    assert record(path, Scripted(FULL)).generate("Hi") == FULL
    assert replay(path, "scripted").generate("Hi") == FULL


def test_a_stream_comes_back_chunk_by_chunk(path):
    chunks = [
        Chunk(text="Hel", model="m"),
        Chunk(text="lo", index=1, engine="e", id="x"),
        Chunk(tool_calls=(ToolCall(id="1", name="f", arguments="{}"),), finish_reason="tool_calls"),
        Chunk(usage=Usage(output_tokens=2)),
    ]
    assert list(record(path, Chunks(*chunks)).stream("Hi")) == chunks
    assert list(replay(path).stream("Hi")) == chunks


def test_embeddings_come_back(path):
    texts = ["a", "bcd"]
    vectors = asyncio.run(record(path, Chunks()).aembed(texts))
    assert asyncio.run(replay(path).aembed(texts)) == vectors == [[1.0, 0.5], [3.0, 0.5]]


def every_error():
    details = {"engine": "e", "model": "m", "status_code": 418, "request_id": "r", "retry_after_s": 1.5}
    for name in errors.__all__:
        cls = getattr(errors, name)
        if not issubclass(cls, errors.EngineError):
            continue
        if cls is errors.StreamInterrupted:
            yield cls("broke", partial_text="Hel", **details)
        elif cls is errors.InvalidResponseError:
            yield cls("what", body=b"<html>", **details)
        elif cls is errors.ContextLengthError:
            yield cls("long", tokens=9, window=8, **details)
        else:
            yield cls("no", **details)
    yield errors.DeadlineExceeded("late", deadline_s=1.0, partial_text="He")
    yield errors.ClosedError("closed")


@pytest.mark.parametrize("error", list(every_error()), ids=lambda error: type(error).__name__)
def test_an_error_is_raised_again_as_the_same_class_with_all_it_knows(path, error):
    for ask in (lambda engine: engine.generate("Hi"), lambda engine: list(engine.stream("Hi"))):
        with pytest.raises(type(error)):
            ask(record(path, Scripted(error)))
        with pytest.raises(type(error)) as raised:
            ask(replay(path, "scripted"))
        assert type(raised.value) is type(error)
        assert str(raised.value) == str(error)
        assert vars(raised.value) == vars(error)
        assert str(pickle.loads(pickle.dumps(raised.value))) == str(error)


def test_the_failure_of_a_whole_router_comes_back_with_its_attempts(path):
    cause = errors.RateLimitError("slow", retry_after_s=3.0)
    failed = AllEnginesFailed("all failed", [Attempt("a", cause, 0.5), Attempt("b", OSError("gone"), 0.1)])
    with pytest.raises(AllEnginesFailed):
        record(path, Scripted(failed)).generate("Hi")
    with pytest.raises(AllEnginesFailed) as raised:
        replay(path, "scripted").generate("Hi")
    assert [attempt.engine for attempt in raised.value.attempts] == ["a", "b"]
    assert type(raised.value.attempts[0].error) is errors.RateLimitError
    assert raised.value.attempts[0].error.retry_after_s == 3.0
    assert "OSError: gone" in str(raised.value.attempts[1].error)
    assert str(raised.value).startswith("all failed (a: RateLimitError: slow;")


def test_a_foreign_error_class_is_replayed_as_the_nearest_of_ours(path):
    class Mine(errors.RateLimitError):
        pass

    with pytest.raises(Mine):
        record(path, Scripted(Mine("slow"))).generate("Hi")
    with pytest.raises(errors.RateLimitError, match="slow"):
        replay(path, "scripted").generate("Hi")


def test_a_bug_is_not_recorded(path):
    with pytest.raises(ZeroDivisionError):
        record(path, Scripted(ZeroDivisionError("bug"))).generate("Hi")
    assert not path.exists()


def test_a_stream_that_breaks_is_replayed_up_to_the_break(path):
    error = errors.StreamInterrupted("cut", partial_text="Hel")
    engine = Chunks(Chunk(text="Hel"), error=error)
    for wrap in (lambda: record(path, engine), lambda: replay(path)):
        chunks = wrap().stream("Hi")
        assert next(chunks).text == "Hel"
        with pytest.raises(errors.StreamInterrupted) as raised:
            next(chunks)
        assert raised.value.partial_text == "Hel"


def test_a_stream_that_was_left_early_says_so_when_more_is_wanted(path):
    async def leave(engine):
        chunks = engine.astream(Request.of("Hi"))
        first = await anext(chunks)
        await chunks.aclose()
        return first.text

    assert asyncio.run(leave(record(path, Chunks(Chunk(text="a"), Chunk(text="b"))))) == "a"
    assert asyncio.run(leave(replay(path))) == "a"
    with pytest.raises(CassetteError, match="only the first 1 chunks"):
        list(replay(path).stream("Hi"))


def test_leaving_a_recorded_stream_closes_the_engines_own(path):
    closed = []

    class Careful(Engine):
        async def astream(self, request):
            try:
                for text in "abc":
                    yield Chunk(text=text)
            finally:
                closed.append(True)

    async def leave():
        chunks = record(path, Careful()).astream(Request.of("Hi"))
        await anext(chunks)
        await chunks.aclose()
        assert closed == [True]

    asyncio.run(leave())


def test_a_cancelled_request_is_not_recorded(path):
    async def cancel():
        task = asyncio.create_task(record(path, Scripted("late", delay_s=5)).agenerate(Request.of("Hi")))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(cancel())
    assert not path.exists()


@pytest.mark.parametrize(("speed", "least"), [(None, 0.0), (0, 0.0), (1.0, 0.09), (3.0, 0.03)])
def test_timings_are_replayed_at_the_given_speed(path, speed, least):
    list(record(path, Chunks(*(Chunk(text=text) for text in "abc"), pause_s=0.03)).stream("Hi"))
    started = time.perf_counter()
    chunks = replay(path, speed=speed).stream("Hi")
    next(chunks)
    first_after = time.perf_counter() - started
    list(chunks)
    assert first_after >= least / 3
    assert time.perf_counter() - started >= least
    recorded = json.loads(path.read_text().splitlines()[1])
    times = [at for at, _ in recorded["chunks"]]
    assert times == sorted(times)
    assert times[0] >= 0.03
    assert recorded["duration_s"] >= 0.09


def test_an_answer_is_replayed_with_its_duration(path):
    record(path, Scripted("Hello", delay_s=0.05)).generate("Hi")
    started = time.perf_counter()
    replay(path, "scripted", speed=1.0).generate("Hi")
    assert time.perf_counter() - started >= 0.05


def test_the_same_request_is_replayed_in_order_and_then_the_last_again(path):
    engine = record(path, Scripted("one", "two", errors.ServerError("down")))
    for _ in range(2):
        engine.generate("Hi")
    with pytest.raises(errors.ServerError):
        engine.generate("Hi")
    played = replay(path, "scripted")
    assert [played.generate("Hi").text for _ in range(2)] == ["one", "two"]
    for _ in range(2):
        with pytest.raises(errors.ServerError):
            played.generate("Hi")


def test_the_run_the_prompt_and_the_origins_take_no_part_in_matching(path):
    record(path, Scripted("Hello")).generate("Hi")
    message = Message(role="user", content="Hi", origins=(Origin(start=0, end=2, source="variable:x"),))
    asked = Request(messages=(message,), call=Call(deadline_s=1.0), prompt=PromptRef(name="p", commit="abc"))
    assert replay(path, "scripted").generate(asked).text == "Hello"


@pytest.mark.parametrize(
    "changed",
    [
        {"temperature": 0.5},
        {"temperature": 0.0},
        {"top_p": 0.9},
        {"max_tokens": 5},
        {"stop": ("x",)},
        {"seed": 0},
        {"n": 2},
        {"tools": ({"type": "function"},)},
        {"tool_choice": "auto"},
        {"response_schema": {"type": "object"}},
        {"adapter": "lora"},
        {"extra": {"top_k": 5}},
        {"messages": (Message.user("Ho"),)},
        {"messages": (Message.system("Hi"),)},
        {"messages": (Message.user("Hi"), Message.assistant("x"))},
        {"messages": (Message.user((TextPart(text="Hi"), ImagePart(url="https://example.org/a.png"))),)},
        {"messages": (Message(role="user", content="Hi", name="bob"),)},
    ],
    ids=str,
)
def test_everything_that_the_model_sees_takes_part_in_matching(path, changed):
    record(path, Scripted("Hello")).generate("Hi")
    asked = Request(**{"messages": (Message.user("Hi"),), **changed})
    with pytest.raises(CassetteError):
        replay(path, "scripted").generate(asked)
    engine = record(path, Scripted("again"))
    engine.generate(asked)
    assert replay(path, "scripted").generate(asked).text == "again"


def test_equal_numbers_match(path):
    record(path, Scripted("Hello")).generate(Request(messages=(Message.user("Hi"),), temperature=0.0))
    assert replay(path, "scripted").generate(Request(messages=(Message.user("Hi"),), temperature=0)).text == "Hello"


def test_another_model_does_not_match(path):
    record(path, Scripted("Hello")).generate("Hi")
    with pytest.raises(CassetteError, match='-model: "scripted"\n\\+model: "other"'):
        replay(path, "other").generate("Hi")


def test_a_miss_shows_the_difference_to_the_nearest_request(path):
    engine = record(path, Scripted("x"))
    engine.generate([Message.system("You are terse."), Message.user("Where is my parcel?\nIt was sent on Monday.")])
    engine.generate("Something else altogether")
    with pytest.raises(CassetteError) as raised:
        replay(path, "scripted").generate(
            [Message.system("You are terse."), Message.user("Where is my parcel?\nIt was sent on Tuesday.")]
        )
    message = str(raised.value)
    assert "nearest of its 2 requests" in message
    assert "-It was sent on Monday.\n+It was sent on Tuesday." in message
    assert " You are terse." in message
    assert "Something else" not in message
    assert "mode='record'" in message


def test_a_miss_says_when_only_the_way_of_asking_differs(path):
    record(path, Scripted("x")).generate("Hi")
    with pytest.raises(CassetteError, match="recorded as a response, and is now asked for as a stream"):
        list(replay(path, "scripted").stream("Hi"))


def test_a_long_miss_is_cut(path):
    record(path, Scripted("x")).generate("Hi")
    with pytest.raises(CassetteError, match=r"\.\.\. \d+ more lines"):
        replay(path, "scripted").generate("\n".join(map(str, range(1000))))


def test_replay_opens_no_socket(path, request):
    server = FaultServer("Hello to you", Status(status=429, retry_after_s=7))
    with server, Engine.open(server.url, model="m") as real:
        engine = record(path, real)
        whole = list(engine.stream("Hi"))
        with pytest.raises(errors.RateLimitError):
            engine.generate("Hi")
    dead = Engine.open("http://127.0.0.1:9/v1", model="m")
    engine = Cassette(path, mode="replay").wrap(dead)
    engine.close()  # starts the SDK's loop, which needs a socket pair of its own
    request.getfixturevalue("no_sockets")
    assert list(engine.stream("Hi")) == whole
    with pytest.raises(errors.RateLimitError) as raised:
        engine.generate("Hi")
    assert (raised.value.status_code, raised.value.retry_after_s) == (429, 7)


def test_secrets_are_never_written(path):
    server = FaultServer(Reply(text=f"your key is {KEY}!", chunks=40), Status(status=401, message=f"bad {KEY}"))
    asked = Request(
        messages=(Message.user(f"use {KEY}"),),
        extra={"api_key": "plain words", "extra_headers": {"X-Tenant": "hidden"}, "top_k": 4},
    )
    with server, Engine.open(server.url, model="m", api_key=KEY, headers={"X-Other": "hidden"}) as real:
        engine = record(path, real)
        streamed = "".join(chunk.text for chunk in engine.stream(asked))
        with pytest.raises(errors.AuthenticationError):
            engine.generate(asked)
    assert KEY in streamed, "the caller of a recording gets the real answer"
    written = path.read_text()
    for piece in (KEY, KEY[:9], KEY[-9:], "plain words", "hidden"):
        assert piece not in written
    assert '"top_k":4' in written
    played = replay(path)
    texts = [chunk.text for chunk in played.stream(asked)]
    assert "".join(texts) == "your key is [scrubbed]!"
    assert len(texts) > 10
    with pytest.raises(errors.AuthenticationError, match=r"bad \[scrubbed\]"):
        played.generate(asked)


def test_a_scrubber_of_ones_own_is_used_for_requests_too(path):
    def scrub(text):
        return text.replace("Alice", "NAME")

    Cassette(path, mode="record", scrub=scrub).wrap(Scripted("Hello Alice")).generate("I am Alice")
    assert "Alice" not in path.read_text()
    assert replay(path, "scripted", scrub=scrub).generate("I am Alice").text == "Hello NAME"


@hypothesis.settings(deadline=None, max_examples=50)  # each example writes a file
@hypothesis.given(
    st.lists(st.tuples(st.integers(0, 1), st.text(alphabet="abS ", max_size=4)), max_size=12), st.text("xS", max_size=3)
)
def test_a_scrubbed_stream_joins_to_the_scrubbed_text_for_every_cut(tmp_path_factory, pieces, replacement):
    def scrub(text):
        return text.replace("aS", replacement)

    file = tmp_path_factory.mktemp("scrubbed") / "one.jsonl"
    chunks = [Chunk(text=text, index=index) for index, text in pieces] + [Chunk(finish_reason="stop")]
    list(Cassette(file, mode="record", scrub=scrub).wrap(Chunks(*chunks)).stream("Hi"))
    played = list(replay(file, scrub=scrub).stream("Hi"))
    assert [chunk.index for chunk in played] == [chunk.index for chunk in chunks]
    for index in (0, 1):
        text = "".join(text for one, text in pieces if one == index)
        assert "".join(chunk.text for chunk in played if chunk.index == index) == scrub(text)


def test_tokens_and_reasoning_do_not_tell_what_was_scrubbed(path):
    token = {"token_ids": (1, 2), "logprobs": (TokenLogprob(token=KEY[:9], logprob=-0.5, top=((KEY[9:], -1.0),)),)}
    call = ToolCall(id="1", name="send", arguments=f'{{"it": "{KEY}"}}')
    choices = (
        Choice(text=f"a {KEY}", **token),
        Choice(text="a", reasoning=f"hm {KEY}", **token),
        Choice(tool_calls=(call,), **token),
        Choice(text="plain", token_ids=(3,)),
    )
    chunks = [
        Chunk(reasoning=f"hm {KEY[:9]}", **token),
        Chunk(reasoning=f"{KEY[9:]}!", **token),
        Chunk(text="plain", index=1, token_ids=(3,)),
    ]

    class Both(Chunks):
        async def agenerate(self, request):
            return Response(choices=choices)

    engine = record(path, Both(*chunks))
    engine.generate("Hi")
    list(engine.stream("Hi"))
    written = path.read_text()
    for piece in (KEY, KEY[:9], KEY[9:]):
        assert piece not in written
    played = replay(path)
    assert [choice.token_ids for choice in played.generate("Hi").choices] == [(), (), (), (3,)]
    streamed = list(played.stream("Hi"))
    assert "".join(chunk.reasoning for chunk in streamed) == "hm [scrubbed]!"
    assert [chunk.token_ids for chunk in streamed] == [(), (), (3,)]


@pytest.mark.parametrize(
    "secret",
    [
        "sk" + "-proj-" + "a1" * 20,
        "gh" + "p_" + "A1" * 18,
        "AK" + "IA" + "ABCD1234" * 2,
        "AI" + "za" + "x" * 35,
        "xo" + "xb-" + "1" * 20,
        "hf" + "_" + "a" * 34,
        "Bear" + "er " + "a.b-" * 8,
        "ey" + "J" + "a" * 20 + ".ey" + "J" + "b" * 20 + "." + "c" * 20,
        "-----BEGIN RSA " + "PRIVATE KEY-----\nabc\n-----END RSA " + "PRIVATE KEY-----",
    ],
)
def test_keys_are_recognised(secret):
    assert scrub_keys(f"a {secret} b") == "a [scrubbed] b"


def test_ordinary_text_is_left_alone():
    text = "The sk- prefix, the bearer of news, hf_ and AKIA are words; so is a tokenizer."
    assert scrub_keys(text) == text


def test_auto_records_once_and_replays_then(path):
    first = Cassette(path)
    assert first.recording
    first.wrap(Scripted("one")).generate("Hi")
    second = Cassette(path)
    assert not second.recording
    assert second.wrap(Scripted("never")).generate("Hi").text == "one"


def test_recording_replaces_the_file_at_the_first_answer(path):
    record(path, Scripted("old")).generate("Hi")
    engine = record(path, Scripted("new"))
    assert replay(path, "scripted").generate("Hi").text == "old"
    engine.generate("Hi")
    assert replay(path, "scripted").generate("Hi").text == "new"
    assert len(path.read_text().splitlines()) == 2
    assert [file.name for file in path.parent.iterdir()] == [path.name], "no temporary file is left"


def test_many_threads_append_whole_lines(path):
    async def ask_all():
        engine = record(path, Scripted(lambda request: request.messages[0].text * 2000))
        await asyncio.gather(
            *(asyncio.to_thread(engine.generate, f"{number} ") for number in range(40)),
        )

    asyncio.run(ask_all())
    played = replay(path, "scripted")
    for number in range(40):
        assert played.generate(f"{number} ").text == f"{number} " * 2000


def test_the_file_is_ascii_and_versioned(path):
    record(path, Scripted(FULL)).generate("Hi\u2028\x85\r there")
    header, *lines = path.read_bytes().decode("ascii").splitlines()
    assert header == '{"llmops_cassette":1}'
    assert len(lines) == 1
    assert replay(path, "scripted").generate("Hi\u2028\x85\r there") == FULL


@pytest.mark.parametrize(
    "line",
    [
        "no json",
        "[]",
        "{}",
        '{"kind": "response", "asked": {}, "answer"',
        '{"kind": "film", "asked": {}}',
        '{"kind": "response", "asked": {"messages": []}, "answer": null}',
        '{"kind": "response", "asked": {"messages": []}, "answer": {"choices": [{"colour": 1}]}}',
        '{"kind": "stream", "asked": {"messages": []}, "chunks": [[0.1]]}',
        '{"kind": "stream", "asked": {"messages": []}, "error": {"class": "OSError", "message": "", "state": {}}}',
        '{"kind": "stream", "asked": {"messages": [3]}}',
        '{"kind": "stream", "asked": {"messages": []}, "taste": 1}',
    ],
)
def test_a_broken_line_is_named_with_file_and_number(path, line):
    record(path, Scripted("Hello")).generate("Hi")
    with path.open("a") as file:
        file.write(line)
    with pytest.raises(CassetteError, match=r"one\.jsonl, line 3: no recording"):
        Cassette(path)


@pytest.mark.parametrize("content", ["", "\n", "no json\n", "{}\n", "3\n"])
def test_a_file_that_is_no_cassette_is_refused(path, content):
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(CassetteError, match=r"one\.jsonl, line 1: no cassette"):
        Cassette(path)


def test_another_version_is_refused(path):
    path.parent.mkdir()
    path.write_text('{"llmops_cassette": 99}\n')
    with pytest.raises(CassetteError, match="version 99"):
        Cassette(path)


def test_an_empty_cassette_says_so(path):
    path.parent.mkdir()
    path.write_text('{"llmops_cassette": 1}\n')
    with pytest.raises(CassetteError, match="is empty"):
        replay(path).generate("Hi")


def test_a_missing_cassette_says_how_to_record_it(path):
    with pytest.raises(CassetteError, match="mode='record'"):
        Cassette(path, mode="replay")


@pytest.mark.parametrize("options", [{"mode": "rewind"}, {"speed": -1}])
def test_wrong_options_are_refused(path, options):
    with pytest.raises(ConfigurationError):
        Cassette(path, **options)


def test_a_wrapped_engine_passes_for_the_engine(path):
    engine = Scripted("Hello", name="mine", model="m1")
    wrapped = record(path, engine)
    assert (wrapped.name, wrapped.model, wrapped.provider) == ("mine", "m1", "scripted")
