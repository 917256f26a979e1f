from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import pickle
from pathlib import Path

import pytest

from llmops_sdk import Guard, Pipeline, Scripted, tracing
from llmops_sdk.calls import Aside, AttemptStarted, Call, Evaluated, Rendered, StreamResumed, ToolExecuted
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards import PII
from llmops_sdk.messages import Choice, Document, ImagePart, Message, Request, Response, TextPart, ToolCall
from llmops_sdk.tracing import ContentPolicy
from llmops_sdk.tracing._content import content_of, policy_of
from llmops_sdk.tracing._content.bounded import Bounded
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


@pytest.mark.parametrize("stage", ["input", "output"])
def test_nothing_is_shown_when_a_guard_does_not_say_where_it_found_something(runs, stage):
    call = Call()
    response = Response(choices=(Choice(text="Hi"),))
    runs.record(
        call,
        runs.guard(call, 0.1, "own", stage, Verdict.rewrite("odd"))._replace(untold=True),
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


# Policies.


class Cuts(Guard):
    """Takes one word out, in the way that it is told to."""

    def __init__(self, how="plain", **options):
        super().__init__(**options)
        self.how = how
        self.blocking = how != "quick"

    def check(self, text, context=None):
        if self.how == "breaks":
            raise ValueError(f"no {text}")
        if self.how in ("block", "flag") and "xyzzy" in text:
            return Verdict.block("x") if self.how == "block" else Verdict.flag("x")
        if self.how == "nothing":
            return None
        clean = text.replace("xyzzy-4711", "<cut>")
        return Verdict.rewrite(clean) if clean != text else Verdict.allow()


class Waits(Cuts):
    async def check(self, text, context=None):
        await asyncio.sleep(0)
        return super().check(text, context)


def shown(runs, policy, **changes):
    call = Call()
    runs.record(call, runs.attempt(call, 0.1, 0.2, **changes))
    return content_of(call, policy)


@pytest.mark.parametrize("guard", [Cuts(), Cuts("quick"), Waits()])
def test_redactors_rewrite_what_is_shown(runs, guard):
    content = shown(runs, ContentPolicy(redact=[guard]))
    assert content.question == "Tell me <cut>"
    assert content.answer == "It is <cut>"
    assert runs.planted not in json.dumps(content.attempts)


@pytest.mark.parametrize("how", ["breaks", "block", "flag", "nothing"])
def test_what_a_redactor_cannot_clean_is_withheld_and_counted_and_told_once(runs, how, caplog):
    policy = ContentPolicy(redact=[Cuts(how)])
    content = shown(runs, policy)
    assert content.question is content.answer is None
    assert runs.planted not in json.dumps(content.attempts)
    failed = how in ("breaks", "nothing")
    assert policy.counts["redactor_failed" if failed else "withheld"] == 2  # each text is read once
    assert len(caplog.records) == failed
    assert runs.planted not in caplog.text


def test_a_redactor_that_hangs_is_left_alone_for_a_while():
    slept = []

    async def hangs():
        slept.append(1)
        await asyncio.sleep(60)

    bounded = Bounded("it", longest_s=0.02)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            bounded.run(hangs)
    assert slept == [1]


def test_a_redactor_hides_in_a_vault_of_its_own_and_puts_nothing_back(runs):
    call = Call()
    mail = "ana" + "@" + "example.org"
    response = Response(choices=(Choice(text=f"I wrote to {mail}"),))
    runs.record(call, runs.attempt(call, 0.1, 0.2, request=runs.request(f"Write to {mail}"), response=response))
    content = content_of(call, ContentPolicy(redact=[PII(restore=True)]))
    assert (content.question, content.answer) == ("Write to [EMAIL_1]", "I wrote to [EMAIL_1]")
    assert call.state == {}


def test_variables_are_shown_when_nothing_was_found_in_them(runs):
    call = Call()
    variables = {"question": "Hi", "docs": [Document(id="d", text="It is so.")], "n": 3, "x": float("nan"), "o": Cuts()}
    rendered = Rendered(call.started, call.started, runs.prompt, runs.request("Hi"), variables)
    runs.record(call, rendered, runs.attempt(call, 0.1, 0.2))
    assert json.loads(content_of(call).variables) == {
        "question": "Hi",
        "docs": [{"id": "d", "text": "It is so."}],
        "n": 3,
        "x": None,
        "o": "<Cuts>",
    }


def test_variables_in_which_a_guard_found_something_are_shown_only_when_that_guard_redacts(runs):
    call = Call()
    rendered = Rendered(call.started, call.started, runs.prompt, runs.request(), {"question": runs.planted})
    check = runs.guard(call, 0.1, "cuts", "input", Verdict.rewrite("<cut>", FOUND))
    runs.record(call, rendered, check, runs.attempt(call, 0.1, 0.2, request=runs.request("<cut>")))
    assert content_of(call).variables is None
    assert content_of(call, ContentPolicy(redact=[Cuts(name="others")])).variables is None
    assert content_of(call, ContentPolicy(redact=[Cuts()])).variables == '{"question": "<cut>"}'


def test_variables_that_no_guard_has_read_yet_are_withheld(runs):
    call = Call()
    rendered = Rendered(call.started, call.started, runs.prompt, runs.request(), {"question": runs.planted})
    runs.record(call, rendered, outcome="cancelled")
    assert content_of(call).variables is None
    assert content_of(call).input is None


def test_a_guard_is_shown_the_clean_text_only_where_that_is_what_it_read(runs):
    call = Call()
    first = runs.guard(call, 0.01, "first", "input", Verdict.allow())
    second = runs.guard(call, 0.02, "second", "input", Verdict.rewrite("<cut>", FOUND))
    third = runs.guard(call, 0.03, "third", "input", Verdict.allow())
    runs.record(call, first, second, third, runs.attempt(call, 0.1, 0.2, request=runs.request("<cut>")))
    content = content_of(call)
    assert content.guard(first) == (None, None)
    assert content.guard(second) == (None, "<cut>")
    assert content.guard(third) == ("<cut>", "<cut>")


def test_what_an_engine_was_asked_aside_is_shown_when_no_guard_found_anything(runs):
    for verdict in (Verdict.allow(), Verdict.rewrite("x", FOUND)):
        call = Call()
        aside = Aside(call.started, "judge", runs.attempt(call, 0.2, 0.3, number=7))
        check = runs.guard(call, 0.01, "own", "output", verdict)
        runs.record(call, runs.attempt(call, 0.1, 0.2), aside, check)
        found = runs.planted in json.dumps(content_of(call).attempt(aside.attempt))
        assert found is (verdict.action == "allow")
        assert content_of(call).aside(aside) == content_of(call).attempt(aside.attempt)


def test_what_a_tool_gave_back_was_read_by_no_guard(runs):
    tool = ToolCall(id="c1", name="look", arguments='{"at": "[NAME_1]"}')
    answer = Response(choices=(Choice(tool_calls=(tool,)),))
    for guarded, policy, result in ((False, None, runs.planted), (True, None, None), (True, [Cuts()], "<cut>")):
        call = Call()
        checks = [runs.guard(call, 0.01, "own", "input", Verdict.allow())] * guarded
        runs.record(call, *checks, runs.attempt(call, 0.1, 0.2, response=answer))
        restored = ToolCall(id="c1", name="look", arguments=f'{{"at": "{runs.planted}"}}')
        event = ToolExecuted(call.started, call.started, restored, runs.planted, None)
        shown = content_of(call, ContentPolicy(redact=policy or [])).tool(event)
        assert shown == ('{"at": "[NAME_1]"}', result)


def test_an_explanation_may_quote_so_it_follows_the_guards(runs):
    event = Evaluated(0.0, "tone", 1.0, explanation=f"It says {runs.planted}")
    call = runs.plain(Call())  # its guard rewrote the input
    assert content_of(call).evaluation(event) is None
    clean = runs.record(Call(), runs.attempt(Call(), 0.1, 0.2))
    assert content_of(clean).evaluation(event) == event.explanation


@pytest.mark.parametrize(
    ("name", "gone"),
    [("INPUTS", "Tell me"), ("INPUT_MESSAGES", "Tell me"), ("OUTPUTS", "It is"), ("OUTPUT_TEXT", "It is")],
)
def test_what_openinference_hides_is_hidden(runs, monkeypatch, name, gone):
    everything = json.dumps(shown(runs, ContentPolicy()).attempts)
    monkeypatch.setenv(f"OPENINFERENCE_HIDE_{name}", "True")
    rest = json.dumps(shown(runs, ContentPolicy()).attempts)
    assert gone in everything
    assert gone not in rest
    assert len(rest) > 60


@pytest.mark.parametrize(
    ("value", "places"),
    [
        ("", set()), ("NO_CONTENT", set()), ("false", set()), ("nonsense", set()), ("span_only", {"span"}),
        ("EVENT_ONLY", {"event"}), ("SPAN_AND_EVENT", {"span", "event"}), ("true", {"span", "event"}),
    ],
)  # fmt: skip
def test_the_standard_variable_says_where_content_goes(monkeypatch, value, places):
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", value)
    assert {where for where in ("span", "event") if policy_of(None, where=where) is not None} == places
    assert policy_of(False) is None


def test_a_part_that_is_not_shown_is_not_made(runs):
    policy = ContentPolicy(show={"outputs"}, redact=[Cuts("breaks")])
    content = shown(runs, policy)
    assert content.input is content.question is content.variables is None
    assert policy.counts == {}
    assert content.answer is None
    assert policy.counts == {"redactor_failed": 1}


def test_later_texts_are_cut_and_counted(runs):
    policy = ContentPolicy(max_characters=10)
    content = shown(runs, policy, request=runs.request("0123456", "89abcdef"))
    texts = [message["parts"][0]["content"] for message in content.attempts[0].input]
    assert texts == ["0123456", "89a… [5 more characters]"]
    assert policy.counts["cut"] == 2  # and the answer


@pytest.mark.parametrize(
    "wrong",
    [
        {"show": {"answers"}}, {"show": "inputs"}, {"redact": "pii"}, {"redact": [PII]}, {"redact": [3]},
        {"max_characters": 0}, {"store_over": -1}, {"show": 5}, {"show": None}, {"show": [["inputs"]]},
        {"redact": None}, {"max_characters": 1.5}, {"max_characters": "9"}, {"max_characters": float("nan")},
        {"max_characters": True}, {"store_over": None},
    ],
)  # fmt: skip
def test_wrong_policies_are_refused(wrong):
    with pytest.raises(ConfigurationError):
        ContentPolicy(**wrong)
    with pytest.raises(ConfigurationError, match="content"):
        policy_of("yes")


# Stores.


def test_long_texts_and_images_go_to_a_store(runs, tmp_path):
    pytest.importorskip("fsspec")
    policy = ContentPolicy(store=f"file://{tmp_path}", store_over=20)
    image = ImagePart(url="data:image/png;base64," + base64.b64encode(b"\x89PNG").decode())
    request = Request(messages=(Message.user((TextPart(text="long " * 9), TextPart(text="short"), image)),))
    long, short, picture = shown(runs, policy, request=request).attempts[0].input[0]["parts"]
    assert short == {"type": "text", "content": "short"}
    assert {**long, "uri": ""} == {"type": "uri", "modality": "text", "mime_type": "text/plain", "uri": ""}
    digest = hashlib.sha256(("long " * 9).encode()).hexdigest()
    assert long["uri"].endswith(f"/{digest[:2]}/{digest}.txt")
    assert (tmp_path / digest[:2] / f"{digest}.txt").read_text() == "long " * 9
    assert picture["mime_type"] == "image/png"
    assert Path(picture["uri"].removeprefix("file://")).read_bytes() == b"\x89PNG"
    assert policy.counts == {"stored": 2}


def test_what_is_stored_was_redacted_first(runs, tmp_path):
    pytest.importorskip("fsspec")
    policy = ContentPolicy(store=f"file://{tmp_path}", store_over=0, redact=[Cuts()])
    assert json.dumps(shown(runs, policy).attempts).count("file://") == 2
    stored = [path.read_text() for path in tmp_path.rglob("*.txt")]
    assert sorted(stored) == ["It is <cut>", "Tell me <cut>"]


def test_a_store_that_fails_leaves_the_text_cut(runs, tmp_path, caplog):
    pytest.importorskip("fsspec")
    (tmp_path / "file").write_text("")
    policy = ContentPolicy(store=f"file://{tmp_path}/file", store_over=5, max_characters=9)
    content = shown(runs, policy, request=runs.request("0123456789"))
    assert content.attempts[0].input[0]["parts"] == [{"type": "text", "content": "012345678… [1 more characters]"}]
    assert policy.counts["store_failed"] == 2
    assert len(caplog.records) == 1


def test_the_variable_of_the_conventions_names_a_store(runs, monkeypatch):
    pytest.importorskip("fsspec")
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_UPLOAD_BASE_PATH", "memory://traces")
    content = shown(runs, ContentPolicy(store_over=3))
    assert content.attempts[0].input[0]["parts"][0]["uri"].startswith("memory://")


def test_where_nothing_can_be_stored_is_said_at_once():
    pytest.importorskip("fsspec")
    with pytest.raises(ConfigurationError, match="nothing can be stored"):
        ContentPolicy(store="nowhere://x")


def test_a_policy_travels_with_its_pipeline():
    policy = pickle.loads(pickle.dumps(ContentPolicy(show={"inputs"}, redact=[PII()], max_characters=7)))
    assert (policy.show, policy.redacting, policy.max_characters) == ({"inputs"}, {"pii"}, 7)


class _Rewrites(Guard):
    blocking = False

    def __init__(self, made):
        super().__init__()
        self.made = made

    def check(self, text, context=None):
        if isinstance(self.made, type):
            raise self.made
        return self.made


@pytest.mark.parametrize("made", [5, None, Verdict.rewrite(5), StopIteration, asyncio.CancelledError])
def test_a_redactor_that_gives_junk_withholds_the_text(made):
    policy = ContentPolicy(redact=[_Rewrites(made)])
    call = Pipeline("hi", Scripted("secret")).run().call
    assert "secret" not in str(tracing.to_json(call, content=policy))
    assert sum(policy.counts.values()) == 2


def test_a_tag_of_any_kind_is_written():
    class Silent:
        def __str__(self):
            raise RuntimeError

    tags = {1: 2, None: Silent(), ("a",): [1], "big": 10**400, "odd": {"x": float("nan")}}
    written = tracing.to_json(Pipeline("hi", Scripted("a")).run(tags=tags).call)["tags"]
    assert written == {"1": 2, "None": "<Silent>", "('a',)": "[1]", "big": 10**400, "odd": "{'x': nan}"}
