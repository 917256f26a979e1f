from __future__ import annotations

import json

import pytest

from llmops_sdk.calls import Call, StreamResumed
from llmops_sdk.messages import Choice, ImagePart, Message, Request, Response, TextPart, ToolCall
from llmops_sdk.tracing._content import content_of
from llmops_sdk.verdicts import Finding, Verdict

FOUND = (Finding(kind="secret", start=0, end=3),)


def text_of(call: Call) -> str:
    return json.dumps(content_of(call).attempts)


def test_what_a_guard_of_the_output_rewrote_is_shown_rewritten(runs):
    call = Call()
    verdict = Verdict.rewrite("It is <secret>", FOUND)
    runs.record(
        call,
        runs.attempt(call, 0.1, 0.2, request=runs.request("Hello")),
        runs.guard(call, 0.3, "secrets", "output", verdict),
    )
    (shown,) = content_of(call).attempts
    assert shown.output is not None
    assert shown.output[0]["parts"] == [{"type": "text", "content": "It is <secret>"}]
    assert runs.planted not in text_of(call)


@pytest.mark.parametrize("verdict", [Verdict.flag("secret", FOUND), Verdict.allow(*FOUND), Verdict.flag("odd")])
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
    )
    assert runs.planted not in text_of(call)


def test_which_of_several_answers_was_rewritten_is_not_known_so_all_are_withheld(runs):
    call = Call()
    response = Response(choices=(Choice(text=runs.planted), Choice(text="Hi")))
    runs.record(
        call,
        runs.attempt(call, 0.1, 0.2, request=runs.request("Hello"), response=response),
        runs.guard(call, 0.3, "secrets", "output", Verdict.rewrite("<secret>", FOUND)),
    )
    (shown,) = content_of(call).attempts
    assert shown.output is not None
    assert len(shown.output) == 2
    assert runs.planted not in text_of(call)


def test_whether_the_text_or_the_reasoning_was_rewritten_is_not_known_so_both_are_withheld(runs):
    call = Call()
    response = Response(choices=(Choice(text="Hi", reasoning=runs.planted),))
    runs.record(
        call,
        runs.attempt(call, 0.1, 0.2, request=runs.request("Hello"), response=response),
        runs.guard(call, 0.3, "secrets", "output", Verdict.rewrite("<secret>", FOUND)),
    )
    assert content_of(call).attempts[0].output is not None
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
