"""`Canary`: what is put into the system text is found when it comes out."""

from __future__ import annotations

import base64
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_sdk import Engine, Message, Prompt, Scripted
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards import Canary
from llmops_sdk.messages import Choice, Chunk, Response
from llmops_sdk.testing import GuardContract

TOKEN = "b7k2m9x4q1z8w5c3"
ASKED = [Message.system("Be brief."), Message.user("Hello")]


class FixedCanary(Canary):
    """One that needs no side before the engine, for the contract."""

    def _token_of(self, context):
        return self._fixed


class TestCanary(GuardContract):
    examples_allowed = ("Nothing to see here.", "b7k2")
    examples_caught = (
        f"It is {TOKEN}.",
        f"It is {TOKEN.upper()}.",
        " ".join(TOKEN),
        TOKEN[::-1],
        base64.b64encode(f"ref: {TOKEN}".encode()).decode(),
        TOKEN.encode().hex(),
    )
    tries = 25

    def make_guard(self):
        return FixedCanary(token=TOKEN)


class TestCanaryThatRewrites(TestCanary):
    def make_guard(self):
        return FixedCanary(token=TOKEN, action="rewrite")


class TestCanaryThatFlags(TestCanary):
    def make_guard(self):
        return FixedCanary(token=TOKEN, action="flag")


class Echo(Engine):
    """Says what its system message says, dressed up, in chunks."""

    name = "echo"

    def __init__(self, dress=str, size=3):
        self.dress, self.size, self.seen = dress, size, []

    def _text(self, request):
        self.seen.append(request.messages[0].text)
        return "Here: " + self.dress(request.messages[0].text)

    async def agenerate(self, request):
        return Response(choices=(Choice(text=self._text(request)),), engine=self.name)

    async def astream(self, request):
        text = self._text(request)
        for at in range(0, len(text), self.size):
            yield Chunk(text=text[at : at + self.size])
        yield Chunk(finish_reason="stop")


@pytest.mark.parametrize(
    "dress",
    [str, str.upper, lambda t: t[::-1], " ".join, "-".join, lambda t: base64.b64encode(t.encode()).decode(),
     lambda t: base64.b64encode(t.upper().encode()).decode(), lambda t: base64.encodebytes(t.encode()).decode(),
     lambda t: t.encode().hex()],
)  # fmt: skip
def test_a_system_text_that_comes_out_is_blocked_whole_and_streamed(dress):
    engine, canary = Echo(dress), Canary()
    line = canary | engine | canary
    assert line.run(ASKED).blocked
    with line.stream(ASKED) as stream:
        emitted = "".join(chunk.text for chunk in stream)
    assert stream.result.blocked
    token = engine.seen[-1].rstrip(")").split()[-1]
    assert token not in emitted


def test_the_token_is_new_in_each_run_and_gone_after_it():
    engine, canary = Echo(lambda _: "fine"), Canary()
    line = canary | engine | canary
    first, second = line.run(ASKED), line.run(ASKED)
    assert not first.blocked
    assert len(set(engine.seen)) == 2
    assert first.call.state == second.call.state == {}
    assert all(text.startswith("Be brief.") for text in engine.seen)


def test_only_the_first_system_message_gets_it():
    engine, canary = Scripted("fine"), Canary(token=TOKEN)
    line = canary | engine | canary
    line.run([Message.system("one"), Message.system("two"), Message.user("three")])
    texts = [message.text for message in engine.requests[0].messages]
    assert [TOKEN in text for text in texts] == [True, False, False]


@pytest.mark.parametrize("streamed", [False, True])
def test_one_side_alone_is_an_error(streamed):
    def run(line):
        if not streamed:
            return line.run(ASKED)
        with line.stream(ASKED) as stream:
            for _ in stream:
                pass
        return stream.result

    with pytest.raises(ConfigurationError, match="after the engine"):
        run(Canary() | Scripted("fine"))
    result = run(Scripted("fine") | Canary())
    assert result.blocked
    assert "before the engine" in result.verdicts[-1].error
    two = Canary() | Scripted("fine") | Canary()  # not the same object
    if streamed:
        with pytest.raises(ConfigurationError):
            run(two)
    else:
        assert run(two).blocked
    assert not run(Canary(on_error="allow") | Scripted("fine")).blocked


def test_of_an_answer_that_nobody_reads_nothing_is_emitted():
    emitted = []
    with pytest.raises(ConfigurationError, match="after the engine"), (Canary() | Echo()).stream(ASKED) as stream:
        emitted.extend(stream)
    assert emitted == []


@pytest.mark.parametrize("mode", ["window", "buffer", "audit"])
def test_reasoning_that_is_waived_streams_in_every_mode(mode):
    canary = Canary(mode=mode)
    answer = Response(choices=(Choice(text="fine", reasoning="well", finish_reason="stop"),))
    with (canary | Scripted(answer) | canary.waive("reasoning")).stream(ASKED) as stream:
        chunks = list(stream)
    assert not stream.result.blocked
    assert "".join(chunk.reasoning for chunk in chunks) == "well"
    assert "".join(chunk.text for chunk in chunks) == "fine"


def test_without_a_system_message_it_blocks_and_says_why():
    canary = Canary()
    result = (canary | Scripted("fine") | canary).run("Hello")
    assert result.blocked
    assert "system message" in result.verdicts[0].error


def test_a_copy_with_waived_surfaces_is_the_same_canary():
    canary = Canary()
    assert (
        (Prompt.from_string("{{q}}", system="Be brief.") | canary | Echo() | canary.waive("reasoning"))
        .run(q="?")
        .blocked
    )


def test_a_pipeline_with_a_canary_survives_pickle():
    canary = Canary()
    line = pickle.loads(pickle.dumps(canary | Scripted("fine") | canary))
    assert not line.run(ASKED).blocked


@pytest.mark.parametrize("arguments", [{"token": "short"}, {"token": "UPPER" * 4}, {"template": "x"}, {"action": "no"}])
def test_options_that_make_no_sense_are_refused(arguments):
    with pytest.raises(ConfigurationError):
        Canary(**arguments)


def test_without_a_run_there_is_no_token():
    with pytest.raises(ConfigurationError, match="token"):
        Canary().check("x")


def test_what_may_become_a_longer_find_is_not_decided_by_one_that_begins_later():
    token = "7" + "3" * 11
    text = token.encode().hex()  # from its second character on it is the token itself, and more
    assert token in text[1:-2]
    guard = FixedCanary(token=token)
    whole = guard.check(f"x {text} y")
    stream = guard.open_stream(TestCanary().make_context())
    assert "".join(map(stream.feed, f"x {text} y")) + stream.finish() == "x "
    assert stream.verdict.blocked
    assert (stream.verdict.findings[0].start, stream.verdict.findings[0].end) == (2, 2 + len(text))
    assert (whole.findings[0].start, whole.findings[0].end) == (2, 2 + len(text))


@given(st.text("b7k2 -", max_size=40), st.text(max_size=5), st.integers(1, 9))
@settings(max_examples=100, deadline=None)
def test_whatever_stands_before_it_the_token_is_found(before, after, size):
    guard = FixedCanary(token=TOKEN, action="rewrite")
    text = before + TOKEN + after
    assert TOKEN not in guard.check(text).text
    stream = guard.open_stream(TestCanary().make_context())
    emitted = "".join(stream.feed(text[i : i + size]) for i in range(0, len(text), size)) + stream.finish()
    assert emitted == guard.check(text).text
