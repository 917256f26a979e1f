"""A stream that begins anew is guarded as the text that holds, and as if nothing had been before it."""

import asyncio
import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmops_sdk import Router, Scripted, errors, guards
from llmops_sdk.calls import GuardChecked
from llmops_sdk.engines import Engine
from llmops_sdk.guards import Guard
from llmops_sdk.messages import Chunk, ChunkJoiner, Request, StreamRestarted, ToolCall
from llmops_sdk.pipelines import Pipeline
from llmops_sdk.testing import Cassette
from llmops_sdk.verdicts import Verdict

KEY = "AK" + "IA" + "Q7WERTYU8OP9ASDF"
CUT = errors.EngineConnectionError("cut")


class Exclaim(Guard):
    """Needs the whole text; rewrites it."""

    async def check(self, text, context=None):
        return Verdict.rewrite(text + "!") if text else Verdict.allow()


PIECES = st.sampled_from(
    [
        KEY,
        KEY[:9],
        "ada@example.org",
        "bob@example.org",
        "ada@",
        " and ",
        "é",
        "badger",
        "badg",
        "[EMAIL_1]",
        ".",
        *string.ascii_letters[:4],
    ]
)
TEXTS = st.lists(PIECES, max_size=8).map("".join)
LINES = {
    "none": [],
    "secrets": [guards.Secrets()],
    "pii, secrets": [guards.PII(), guards.Secrets()],
    "blocking regex": [guards.Regex(["badger"], action="block")],
    "secrets, whole that rewrites": [guards.Secrets(), Exclaim()],
    "flag": [guards.Secrets(action="flag")],
}


def cut(text, edges):
    edges = sorted({edge % (len(text) + 1) for edge in edges})
    return [text[a:b] for a, b in zip([0, *edges], [*edges, len(text)], strict=True)]


def restarting(first, second, **options):
    """A router whose first engine breaks, and whose second one answers from the start."""
    engines = [Scripted([*first, CUT], name="first"), Scripted([*second] or "", name="second")]
    return Router(engines, strategy="priority", on_stream_break="restart", **options)


def shown(chunks):
    """What stands on the screen of somebody who shows the first choice while it comes."""
    text = ""
    for chunk in chunks:
        if isinstance(chunk, StreamRestarted):
            assert chunk.withdrawn == text
            text = ""
        text += chunk.text
    return text


async def read(pipeline, asked="q", **options):
    stream = pipeline.astream(asked, **options)
    chunks = [chunk async for chunk in stream]
    return chunks, stream.result


def seen(result):
    return [(v.guard, v.action, v.skipped, v.findings) for v in result.verdicts]


@pytest.mark.parametrize("line", LINES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(first=TEXTS, text=TEXTS, edges=st.lists(st.integers(0, 400), max_size=6))
def test_guarded_stream_equals_the_guarded_text_that_holds(line, first, text, edges):
    async def compare():
        whole = await Pipeline(Scripted(text), *LINES[line]).arun("q")
        before = await Pipeline(Scripted(first), *LINES[line]).arun("q")
        chunks, result = await read(Pipeline(restarting(cut(first, edges), cut(text, edges)), *LINES[line]))
        withdrawn = [chunk.withdrawn for chunk in chunks if isinstance(chunk, StreamRestarted)]
        if result.blocked and not whole.blocked:  # the stream has ended before it could break
            assert before.blocked
            assert withdrawn == []
            return
        alone, _ = await read(Pipeline(Scripted(first), *LINES[line]))
        assert all("".join(chunk.text for chunk in alone).startswith(text) for text in withdrawn)
        assert result.blocked is whole.blocked
        assert shown(chunks) == (result.partial_text if whole.blocked else result.text)
        assert result.text == whole.text
        if not whole.blocked:
            assert seen(result) == seen(whole)

    asyncio.run(compare())


async def test_what_guards_held_back_is_dropped_and_what_was_withdrawn_is_what_was_shown():
    begun = f"My key is {KEY[:12]}"
    chunks, result = await read(Pipeline(restarting([begun], ["Your ", "key"]), guards.Secrets()))
    (restarted,) = [chunk for chunk in chunks if isinstance(chunk, StreamRestarted)]
    assert restarted.withdrawn == "".join(chunk.text for chunk in chunks[: chunks.index(restarted)])
    assert KEY[:5] not in restarted.withdrawn
    assert shown(chunks) == result.text == "Your key"


async def test_verdicts_are_those_of_the_text_that_holds():
    _, result = await read(Pipeline(restarting([KEY, " is it"], ["It is a secret"]), guards.Secrets()))
    assert [verdict.action for verdict in result.verdicts] == ["allow"]
    assert len([event for event in result.call.events if isinstance(event, GuardChecked)]) == 1


async def test_placeholders_are_numbered_as_if_nothing_had_been_before():
    answer = "Write to bob@example.org and to ada@example.org"
    whole = await Pipeline(Scripted(answer), guards.PII()).arun("q")
    chunks, result = await read(Pipeline(restarting(["Write to cy@example.org, or"], [answer]), guards.PII()))
    assert shown(chunks) == result.text == whole.text == "Write to [EMAIL_1] and to [EMAIL_2]"


@pytest.mark.parametrize("answer", ["To [EMAIL_1]", "Dear [EMAIL_1], and eve@example.org"])
async def test_names_come_back_in_the_text_that_holds(answer):
    line = [guards.PII(restore=True), restarting(["Hello [EMAIL_1], I know mal@example.org; "], [answer]), guards.PII()]
    whole = await Pipeline(guards.PII(restore=True), Scripted(answer), guards.PII()).arun("mail ada@example.org")
    chunks, result = await read(Pipeline(*line), "mail ada@example.org")
    assert "ada@example.org" in result.text
    assert shown(chunks) == result.text == whole.text
    assert result.call.state == {}


async def test_what_a_guard_learnt_from_the_input_stays_as_it_was():
    class Seen(Guard):
        """Remembers in the run what it has read, on the way in and on the way out."""

        def check(self, text, context=None):
            context.call.state.setdefault("seen", []).append(text)
            return Verdict.flag(" | ".join(context.call.state["seen"]))

        def open_stream(self, context):
            context.call.state.setdefault("seen", []).append("opened")

    chunks, result = await read(Pipeline(Seen(name="in"), restarting(["Hel"], ["Bye"]), Exclaim(), Seen(name="out")))
    assert result.text == "Bye!"
    assert result.verdicts[-1].reason == "q | opened | Bye!"
    assert shown(chunks) == "Bye!"


async def test_other_choices_go_on():
    class Two(Engine):
        async def astream(self, request):
            yield Chunk(text=f"first {KEY[:8]}", index=0)
            yield Chunk(text="second ", index=1)
            yield Chunk(reasoning="hm", index=0)
            yield StreamRestarted(index=0, withdrawn="first")
            yield Chunk(text="anew", index=0, finish_reason="stop")
            yield Chunk(text="goes on", index=1, finish_reason="stop")

    chunks, result = await read(Pipeline(Two(), guards.Secrets()))
    assert [choice.text for choice in result.response.choices] == ["anew", "second goes on"]
    assert result.response.choices[0].reasoning is None
    assert len([chunk for chunk in chunks if isinstance(chunk, StreamRestarted)]) == 1


async def test_tool_call_that_was_found_wanting_is_forgotten_with_its_choice():
    class Calls(Engine):
        async def astream(self, request):
            yield Chunk(tool_calls=(ToolCall(id="1", name="send", arguments=f'{{"to": "{KEY}"}}'),))
            yield StreamRestarted(withdrawn="")
            yield Chunk(text="No", finish_reason="stop")

    _, result = await read(Pipeline(Calls(), guards.Secrets()))
    assert [verdict.action for verdict in result.verdicts] == ["allow"]
    assert result.response.tool_calls == ()


def test_stream_without_an_event_loop_begins_anew_too():
    stream = Pipeline(restarting(["Hel"], ["Bye"]), guards.Secrets()).stream("q")
    chunks = list(stream)
    assert shown(chunks) == stream.result.text == "Bye"
    assert any(isinstance(chunk, StreamRestarted) for chunk in chunks)


async def test_partial_text_of_a_stream_over_its_deadline_is_the_one_that_holds():
    class Slow(Engine):
        async def astream(self, request):
            yield Chunk(text="Hel")
            yield StreamRestarted(withdrawn="Hel")
            yield Chunk(text="Bye")
            await asyncio.sleep(30)

    with pytest.raises(errors.DeadlineExceeded) as caught:
        await read(Pipeline(Slow()), deadline_s=0.05)
    assert caught.value.partial_text == "Bye"


async def test_cassette_replays_that_a_stream_began_anew(tmp_path):
    path = tmp_path / "restarted.jsonl"

    router = restarting(["Hel"], ["Bye"])
    first = [chunk async for chunk in Cassette(path).wrap(router).astream(Request.of("q"))]
    again = [chunk async for chunk in Cassette(path).wrap(Scripted("never", model=None)).astream(Request.of("q"))]
    assert again == first
    assert [type(chunk) for chunk in again].count(StreamRestarted) == 1
    joiner = ChunkJoiner()
    for chunk in again:
        joiner.add(chunk)
    assert joiner.text() == "Bye"


async def test_record_explains_itself():
    _, result = await read(Pipeline(restarting(["Hel"], ["Bye"])))
    assert "second" in str(result.explain())
