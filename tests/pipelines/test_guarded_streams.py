"""For every way of cutting an answer, the guarded stream equals the guarded whole answer."""

import asyncio
import re
import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmops_sdk import guards
from llmops_sdk.engines import Scripted
from llmops_sdk.guards import Guard
from llmops_sdk.messages import Choice, Chunk, Response, TokenLogprob
from llmops_sdk.pipelines import Pipeline
from llmops_sdk.verdicts import Finding, Verdict

KEY = "AK" + "IA" + "Q7WERTYU8OP9ASDF"
TOKEN = "gh" + "p_" + "a1B2c3D4e5F6" * 3


class Whole(Guard):
    """Needs the whole text; blocks shouting."""

    def check(self, text, context=None):
        return Verdict.block("shouting") if text.isupper() else Verdict.allow()


class Exclaim(Guard):
    """Needs the whole text; rewrites it."""

    async def check(self, text, context=None):
        return Verdict.rewrite(text + "!") if text else Verdict.allow()


PIECES = st.sampled_from(
    [
        KEY,
        TOKEN,
        KEY[:9],
        TOKEN[:20],
        "ada@example.org",
        "ada@",
        "x@y",
        " and ",
        " ",
        "é",
        "\ud83d",
        "\U0001f600",
        "\x00",
        "badger",
        "badg",
        "[EMAIL_1]",
        "4242 4242 4242 4242",
        "word",
        ".",
        "\n",
        *string.ascii_letters[:4],
    ]
)
TEXTS = st.lists(PIECES, max_size=12).map("".join)
LINES = {
    "none": [],
    "secrets": [guards.Secrets()],
    "pii, secrets": [guards.PII(), guards.Secrets()],
    "blocking regex": [guards.Regex(["badger"], action="block")],
    "secrets, blocking regex, pii": [guards.Secrets(), guards.Regex(["badger"], action="block"), guards.PII()],
    "two that block": [guards.Regex(["badger"], action="block"), guards.Secrets(action="block")],
    "whole": [Whole()],
    "secrets, whole": [guards.Secrets(), Whole()],
    "whole that rewrites, secrets": [Exclaim(), guards.Secrets()],
    "flag": [guards.Secrets(action="flag")],
}


def cut(text, edges):
    edges = sorted({edge % (len(text) + 1) for edge in edges})
    return [text[a:b] for a, b in zip([0, *edges], [*edges, len(text)], strict=True)]


async def stream(pipeline):
    chunks = pipeline.astream("q")
    return "".join([chunk.text async for chunk in chunks]), chunks.result


def seen(result):
    return [(v.guard, v.action, v.skipped, v.findings) for v in result.verdicts]


@pytest.mark.parametrize("line", LINES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=TEXTS, edges=st.lists(st.integers(0, 400), max_size=8))
def test_stream_equals_whole(line, text, edges):
    async def compare():
        whole = await Pipeline(Scripted(text), *LINES[line]).arun("q")
        one, in_one_piece = await stream(Pipeline(Scripted([text]), *LINES[line]))
        emitted, result = await stream(Pipeline(Scripted(cut(text, edges)), *LINES[line]))
        assert result.blocked is in_one_piece.blocked is whole.blocked
        assert emitted == one
        assert seen(result) == seen(in_one_piece)
        if whole.blocked:
            assert result.text == whole.text
            assert result.partial_text == emitted
            assert "badger" not in emitted
        else:
            assert emitted == result.text == whole.text
            assert seen(result) == seen(whole)

    asyncio.run(compare())


@settings(max_examples=60, deadline=None)
@given(edges=st.lists(st.integers(0, 400), max_size=12))
def test_no_piece_of_a_secret_is_emitted(edges):
    text = f"The first is {KEY}, the second is {TOKEN}."

    async def compare():
        emitted, result = await stream(Pipeline(Scripted(cut(text, edges)), guards.Secrets()))
        assert emitted == result.text
        assert not any(secret[i : i + 5] in emitted for secret in (KEY, TOKEN) for i in range(len(secret) - 4))

    asyncio.run(compare())


@settings(max_examples=80, deadline=None)
@given(edges=st.lists(st.integers(0, 400), max_size=10))
def test_personal_data_come_back_for_every_cut(edges):
    answer = "I wrote to [EMAIL_1] and to [email_2], not to [EMAIL_3]. [EMAIL_1]!"
    asked = "mail ada@example.org and bob@example.org"

    async def compare():
        engine = Scripted(cut(answer, edges))
        emitted, result = await stream(Pipeline(guards.PII(restore=True), engine))
        assert engine.requests[0].messages[0].text == "q"
        chunks = Pipeline(guards.PII(restore=True), engine).astream(asked)
        text = "".join([chunk.text async for chunk in chunks])
        assert "@" not in engine.requests[1].messages[0].text
        assert text == chunks.result.text
        assert text == "I wrote to ada@example.org and to bob@example.org, not to [EMAIL_3]. ada@example.org!"
        assert chunks.call.state == {}
        assert emitted == result.text == answer

    asyncio.run(compare())


class InOrder(Scripted):
    """Streams the given chunks."""

    def __init__(self, chunks):
        super().__init__("x")
        self._chunks = chunks

    async def astream(self, request):
        for chunk in self._chunks:
            yield chunk


def thinking(reasoning, text, edges):
    """The chunks of an answer after a thought, each with the tokens behind it."""
    token = {"token_ids": (7,), "logprobs": (TokenLogprob(token="t", logprob=-1.0),)}
    return [
        *(Chunk(reasoning=piece, **token) for piece in cut(reasoning, edges)),
        *(Chunk(text=piece, **token) for piece in cut(text, edges)),
        Chunk(finish_reason="stop"),
    ]


@pytest.mark.parametrize("line", LINES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(reasoning=TEXTS, text=TEXTS, edges=st.lists(st.integers(0, 400), max_size=8))
def test_reasoning_is_guarded_as_text_is_for_every_cut(line, reasoning, text, edges):
    whole = Response(choices=(Choice(text=text, reasoning=reasoning or None, finish_reason="stop"),))

    async def passed(engine):
        stream = Pipeline(engine, *LINES[line]).astream("q")
        chunks = [chunk async for chunk in stream]
        for chunk in chunks:
            assert not LINES[line] or not (chunk.token_ids or chunk.logprobs)
        return "".join(c.reasoning for c in chunks), "".join(c.text for c in chunks), stream.result

    async def compare():
        answer = await Pipeline(Scripted(whole), *LINES[line]).arun("q")
        *one, in_one_piece = await passed(Scripted(whole))
        *emitted, result = await passed(InOrder(thinking(reasoning, text, edges)))
        assert result.blocked is in_one_piece.blocked is answer.blocked
        assert emitted == one
        assert seen(result) == seen(in_one_piece)
        if answer.blocked:
            assert "badger" not in "".join(emitted) or line in {"secrets, whole", "whole"}
        else:
            assert seen(result) == seen(answer)
            choice, expected = result.response.choices[0], answer.response.choices[0]
            assert emitted == [choice.reasoning or "", choice.text]
            for got, due in ((choice.reasoning or "", expected.reasoning or ""), (choice.text, expected.text)):
                # The end of a thought is decided when the answer has ended, so placeholders may be numbered otherwise.
                assert re.sub(r"_\d+\]", "_n]", got) == re.sub(r"_\d+\]", "_n]", due)

    asyncio.run(compare())


def test_block_in_the_reasoning_names_it_and_lets_nothing_of_it_pass():
    chunks = [Chunk(reasoning="hm, bad"), Chunk(reasoning="ger!"), Chunk(text="Hello", finish_reason="stop")]

    async def collect():
        stream = Pipeline(InOrder(chunks), guards.Regex(["badger"], action="block")).astream("q")
        return [chunk async for chunk in stream], stream.result

    emitted, result = asyncio.run(collect())
    assert [(chunk.reasoning, chunk.text) for chunk in emitted] == [("hm, ", "")]
    assert result.blocked
    assert [finding.origin for finding in result.findings] == ["reasoning"]


def test_verdict_of_a_block_does_not_depend_on_how_far_the_other_texts_were():
    class Judge(Guard):
        def check(self, text, context=None):
            found = [Finding(kind=text, start=0, end=len(text))]
            return Verdict.block("bad", found) if text == "bad" else Verdict.flag("odd", found)

    bad, odd = Chunk(text="bad", finish_reason="stop"), Chunk(text="odd", index=1, finish_reason="stop")
    _, early = asyncio.run(stream(Pipeline(InOrder([bad, odd]), Judge())))
    _, late = asyncio.run(stream(Pipeline(InOrder([odd, bad]), Judge())))
    assert early.blocked
    assert seen(early) == seen(late)


def test_tokens_pass_where_no_guard_reads_the_stream():
    class Sees(Guard):
        covers = frozenset({"input", "output", "choices", "reasoning", "batch"})

        def check(self, text, context=None):
            return Verdict.allow()

    async def tokens(*line):
        return [c.token_ids async for c in Pipeline(InOrder(thinking("", "a", [])), *line).astream("q") if c.text]

    assert asyncio.run(tokens()) == [(7,)]
    assert asyncio.run(tokens(Sees().waive("stream", "tool_calls"))) == [(7,)]
    assert asyncio.run(tokens(guards.Secrets())) == [()]


def test_text_before_a_block_is_emitted_and_the_rest_never_is():
    pipeline = Pipeline(Scripted([*"I like badgers a lot"]), guards.Regex(["badger"], action="block"))
    emitted, result = asyncio.run(stream(pipeline))
    assert emitted == result.partial_text == "I like "
    assert result.blocked
    assert result.text == "Sorry, I cannot help with that."


def test_engine_is_stopped_at_a_block():
    made = []

    class Endless(Scripted):
        async def astream(self, request):
            for i in range(10_000):
                made.append(i)
                yield Chunk(text="badger ")

    emitted, result = asyncio.run(stream(Pipeline(Endless("x"), guards.Regex(["badger"], action="block"))))
    assert (emitted, result.blocked) == ("", True)
    assert len(made) < 5


def test_guard_that_breaks_in_mid_stream_fails_as_it_says():
    class Breaks(guards.Secrets):
        def open_stream(self, context):
            inner = super().open_stream(context)

            class Stream:
                verdict = Verdict.allow()

                @property
                def held(self):
                    return inner.held

                def feed(self, text):
                    if "boom" in text:
                        raise RuntimeError("broke")
                    return inner.feed(text)

                def finish(self):
                    return inner.finish()

            return Stream()

    for on_error, blocked in (("block", True), ("allow", False)):
        guard = Breaks()
        guard.on_error = on_error
        emitted, result = asyncio.run(stream(Pipeline(Scripted(["fine sk-", "boom ", "more"]), guard)))
        assert result.blocked is blocked
        assert emitted == ("fine " if blocked else "fine sk-boom more")
        assert result.verdicts[0].error == "RuntimeError: broke"


def test_chunk_that_ends_a_choice_comes_after_all_of_its_text():
    async def collect():
        # The end of the text could still become a secret, so it is held back until the choice has ended.
        pipeline = Pipeline(Scripted(["fine sk-", "abc"]), guards.Secrets())
        return [chunk async for chunk in pipeline.astream("q")]

    chunks = asyncio.run(collect())
    assert "".join(chunk.text for chunk in chunks) == "fine sk-abc"
    assert chunks[-1].finish_reason == "stop"
    assert chunks[-1].text == "sk-abc"


def test_stream_without_a_chunk_is_read_as_empty_text():
    seen = []

    class Spy(Guard):
        def check(self, text, context=None):
            seen.append(text)
            return Verdict.block("nothing said")

    class Silent(Scripted):
        async def astream(self, request):
            return
            yield

    emitted, result = asyncio.run(stream(Pipeline(Silent("x"), Spy())))
    assert (emitted, seen, result.blocked) == ("", [""], True)


@pytest.mark.parametrize("error", [AttributeError("mine"), RuntimeError("mine")])
def test_guard_that_cannot_open_a_stream_fails_as_it_says(error):
    class Unopened(guards.Secrets):
        def open_stream(self, context):
            raise error

    for on_error, blocked in (("block", True), ("allow", False)):
        guard = Unopened()
        guard.on_error = on_error
        emitted, result = asyncio.run(stream(Pipeline(Scripted(["fine ", KEY]), guard)))
        assert result.blocked is blocked
        assert emitted == ("" if blocked else f"fine {KEY}")
        assert "mine" in result.verdicts[0].error
