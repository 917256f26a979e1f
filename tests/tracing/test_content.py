from __future__ import annotations

import asyncio
import json

import pytest

from llmops_sdk.calls import AttemptStarted, Call, StreamResumed
from llmops_sdk.messages import Choice, ImagePart, Message, Request, Response, TextPart, ToolCall
from llmops_sdk.tracing._content import content_of
from llmops_sdk.verdicts import Finding, Verdict

FOUND = (Finding(kind="secret", start=0, end=3),)


def text_of(call: Call) -> str:
    content = content_of(call)
    return json.dumps([content.attempts, content.question, content.answer, content.variables])


def test_the_answer_is_what_the_application_got(runs):
    call = Call()
    runs.record(
        call,
        runs.attempt(call, 0.1, 0.2, request=runs.request("Hello")),
        runs.guard(call, 0.3, "secrets", "output", Verdict.rewrite("It is <secret>", FOUND)),
        response=Response(choices=(Choice(text="It is <secret>"),)),
    )
    (shown,) = content_of(call).attempts
    assert shown.output is not None
    assert shown.output[0]["parts"] == [{"type": "text", "content": "It is <secret>"}]
    assert content_of(call).answer == "It is <secret>"
    assert runs.planted not in text_of(call)


def test_an_answer_is_shown_before_true_values_were_put_back(runs):
    call = Call()
    runs.record(
        call,
        runs.guard(call, 0.1, "pii", "input", Verdict.rewrite("[NAME_1]", FOUND)),
        runs.attempt(call, 0.1, 0.2, request=runs.request("Hello [NAME_1]")),
        response=Response(choices=(Choice(text=f"Hello {runs.planted}"),)),
        unrestored=Response(choices=(Choice(text="Hello [NAME_1]"),)),
    )
    assert content_of(call).answer == "Hello [NAME_1]"
    assert runs.planted not in text_of(call)


@pytest.mark.parametrize("verdict", [Verdict.flag("secret", FOUND), Verdict.allow(*FOUND)])
def test_what_a_guard_found_and_let_stay_is_withheld(runs, verdict):
    for stage in ("input", "output"):
        call = Call()
        request = runs.request(runs.planted if stage == "input" else "Hello")
        response = Response(choices=(Choice(text=runs.planted if stage == "output" else "Hi"),))
        runs.record(
            call,
            runs.guard(call, 0.1, "secrets", stage, verdict),
            runs.attempt(call, 0.1, 0.2, request=request, response=response),
        )
        assert runs.planted not in text_of(call)
        assert ("Hi" in text_of(call)) is (stage == "input")
        assert ("Hello" in text_of(call)) is (stage == "output")


def test_what_a_guard_let_stay_in_one_text_and_rewrote_in_another_is_withheld(runs):
    call = Call()
    check = runs.guard(call, 0.3, "own", "output", Verdict.rewrite("<secret>", FOUND))
    response = Response(choices=(Choice(text="<secret>", reasoning=runs.planted),))
    runs.record(call, runs.attempt(call, 0.1, 0.2, response=response), check._replace(let_stay=True))
    assert content_of(call).answer is None


@pytest.mark.parametrize(
    ("stage", "verdict"),
    [
        ("input", Verdict.flag("odd")),
        ("output", Verdict.flag("odd")),
        ("output", Verdict.rewrite("Hi")),
        ("output", Verdict.flag("odd", [Finding(kind="odd", start=0, end=0)])),
    ],
)
def test_nothing_is_shown_when_a_guard_does_not_say_where_it_found_something(runs, stage, verdict):
    call = Call()
    response = Response(choices=(Choice(text="Hi"),))
    runs.record(
        call,
        runs.guard(call, 0.1, "own", stage, verdict),
        runs.attempt(call, 0.1, 0.2, request=runs.request("Hello"), response=response),
    )
    assert "Hi" not in text_of(call)
    assert "Hello" not in text_of(call)


def test_what_a_guard_could_not_read_and_was_let_through_is_withheld(runs):
    call = Call()
    runs.record(
        call,
        runs.guard(call, 0.1, "own", "input", Verdict(error="ValueError: no")),
        runs.attempt(call, 0.1, 0.2, request=runs.request("Hello")),
    )
    assert content_of(call).question is None
    assert content_of(call).answer is not None


def test_messages_that_a_guard_beside_the_engine_rewrote_later_are_withheld(runs):
    call = Call()
    t = call.started
    runs.record(
        call,
        AttemptStarted(t + 0.1, "cloud", 1),
        runs.guard(call, 0.15, "pii", "input", Verdict.rewrite("Hello", FOUND)),
        runs.attempt(call, 0.1, 0.2, number=1, error=asyncio.CancelledError(), response=None),
        AttemptStarted(t + 0.2, "cloud", 2),
        runs.attempt(call, 0.2, 0.3, number=2, request=runs.request("Hello")),
    )
    first, second = content_of(call).attempts
    assert runs.planted not in json.dumps(first)
    assert "Hello" in json.dumps(second)


@pytest.mark.parametrize("outcome", ["blocked", "cancelled", "DeadlineExceeded"])
def test_an_answer_that_the_application_did_not_get_is_not_shown(runs, outcome):
    call = Call()
    runs.record(call, runs.attempt(call, 0.1, 0.2, request=runs.request("Hello")), outcome=outcome)
    assert content_of(call).attempts[0].output is None


def test_the_answer_of_a_failed_attempt_is_not_shown(runs):
    first, second = content_of(runs.failed_over(Call())).attempts
    assert first.output is None
    assert second.output is not None


def test_a_resumed_attempt_that_quotes_a_rewritten_answer_is_withheld(runs):
    call = Call()
    quoting = Request(messages=(Message.user("Hello"), Message.assistant(runs.planted)))
    runs.record(
        call,
        StreamResumed(call.started, "cloud", "resume", 9),
        runs.attempt(call, 0.1, 0.2, request=quoting),
        runs.guard(call, 0.3, "secrets", "output", Verdict.rewrite("<secret>", FOUND)),
        response=Response(choices=(Choice(text="<secret>"),)),
    )
    assert runs.planted not in text_of(call)


def test_messages_have_the_parts_of_the_conventions(runs):
    image = ImagePart(url="data:image/png;base64," + "A" * 500)
    request = Request(
        messages=(
            Message.user((TextPart(text="What is it?"), image, ImagePart(url="https://example.org/a.png"))),
            Message.assistant(tool_calls=(ToolCall(id="c1", name="look", arguments='{"at": 1}'),)),
            Message.tool("a cat", tool_call_id="c1", name="look"),
        )
    )
    calls = (ToolCall(id="c2", name="look", arguments="no json"),)
    call = Call()
    response = Response(choices=(Choice(tool_calls=calls, finish_reason="tool_calls", reasoning="Let me look."),))
    runs.record(call, runs.attempt(call, 0.1, 0.2, request=request, response=response))
    (shown,) = content_of(call).attempts
    user, assistant, tool = shown.input
    assert user["parts"] == [
        {"type": "text", "content": "What is it?"},
        {"type": "uri", "modality": "image", "uri": "data:image/png;base64,[522 characters]"},
        {"type": "uri", "modality": "image", "uri": "https://example.org/a.png"},
    ]
    assert assistant["parts"] == [{"type": "tool_call", "id": "c1", "name": "look", "arguments": {"at": 1}}]
    assert tool["parts"] == [{"type": "tool_call_response", "id": "c1", "response": "a cat"}]
    assert shown.output == [
        {
            "role": "assistant",
            "parts": [
                {"type": "reasoning", "content": "Let me look."},
                {"type": "tool_call", "id": "c2", "name": "look", "arguments": "no json"},
            ],
            "finish_reason": "tool_calls",
        }
    ]


def test_a_run_that_has_not_ended_shows_no_answer(runs):
    call = Call()
    call.record(runs.attempt(call, 0.1, 0.2))
    assert content_of(call).attempts[0].output is None
