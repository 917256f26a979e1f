from __future__ import annotations

import json
import math
from decimal import Decimal
from pathlib import Path
from typing import get_args

import jsonschema
import pytest

from llmops_sdk import tracing
from llmops_sdk.calls import (
    Aside,
    AttemptStarted,
    CacheAnswered,
    Call,
    Ended,
    Escalated,
    Evaluated,
    Event,
    FirstChunk,
    Hedged,
    LimitsDegraded,
    LimitWaited,
    OutputValidated,
    Rendered,
    Retried,
    Routed,
    Started,
    StreamResumed,
    ToolExecuted,
    record_schema,
)
from llmops_sdk.errors import ConfigurationError, RateLimitError
from llmops_sdk.messages import ToolCall
from llmops_sdk.tracing import to_json
from llmops_sdk.verdicts import Finding, Verdict


def everything(runs) -> Call:
    """A run with an event of each kind, and the same each time."""
    call = Call(deadline_s=8, budget_usd=Decimal("0.10"), tags={"user": "u-42", "at": Path("x"), "n": 1.5, "on": True})
    call.id, call.started, call._started_wall = "0123456789abcdef" * 2, 0.0, 1_700_000_000.0
    call.spend(Decimal("0.00021325"))
    error = RateLimitError(runs.planted, status_code=429, request_id="req-9")
    error.__cause__ = OSError(runs.planted)
    judged = runs.attempt(call, 0.004, 0.005, engine="judge", number=1, model=None)
    tool = ToolCall(id="call-1", name="weather", arguments=runs.planted)
    runs.record(
        call,
        Rendered(0.001, 0.003, runs.prompt, runs.request(), {"name": runs.planted}),
        Aside(0.005, "judge", judged),
        runs.guard(call, 0.005, "judge", "input", Verdict.block("2 found", [Finding(kind="email", start=0, end=5)])),
        runs.guard(call, 0.005, "pii", "input", Verdict(action="block", error=f"KeyError: {runs.planted}")),
        LimitWaited(0.005, 0.006, "100 a minute"),
        LimitsDegraded(0.006, "redis", "fail_open", error),
        Routed(0.006, "latency", ("cloud", "local"), (("azure", "failed 3 s ago"),)),
        AttemptStarted(0.006, "cloud", 1),
        Hedged(0.05, "local", 0.044),
        FirstChunk(0.09, "cloud"),
        runs.attempt(call, 0.006, 0.2, streamed=True, first_chunk_at=0.09, chunks=3, chunk_times=[0.09, 0.1, 0.18]),
        Retried(0.2, "cloud", 0.05, error),
        StreamResumed(0.25, "cloud", "resume", 118),
        runs.attempt(call, 0.25, 0.9, number=2, response=None, usage=None, cost_usd=None, error=error, cut_off=True),
        Escalated(0.9, "cloud", "too short"),
        CacheAnswered(0.91, "cloud", "semantic", 12.5, 0.97),
        OutputValidated(0.92, 0.921, "not json"),
        outcome="RateLimitError",
        error=error,
    )
    call.record(ToolExecuted(2.0, 2.5, tool, runs.planted, None))
    call.record(Evaluated(3.0, "feedback", 1.0, "good", runs.planted, "human"))
    return call


def test_the_form_is_that_of_the_committed_file(runs):
    made = json.dumps(everything(runs).to_json(), indent=1, allow_nan=False) + "\n"
    assert made == (Path(__file__).parent / "record-1.json").read_text()


def test_every_kind_of_event_is_in_the_file_and_in_the_schema(runs):
    assert {type(event) for event in everything(runs).events} == set(get_args(Event))
    jsonschema.Draft202012Validator.check_schema(record_schema())
    kinds = {event["event"] for event in everything(runs).to_json()["events"]}
    assert kinds <= set(record_schema()["$defs"])


def test_readers_of_version_1_take_what_comes_later(runs):
    made = everything(runs).to_json()
    made["new"] = made["events"][0]["new"] = 1
    made["events"].append({"event": "thought", "at": 4.0, "about": []})
    jsonschema.validate(made, record_schema())
    made["events"].append({"event": "ended", "at": 4.0})
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(made, record_schema())


def test_streams_and_failures_are_told(runs):
    events = to_json(runs.failed_over(Call()))["events"]
    assert [event["event"] for event in events] == [
        "started", "routed", "attempt_started", "first_chunk", "attempt_ended", "retried", "stream_resumed",
        "attempt_started", "attempt_ended", "ended",
    ]  # fmt: skip
    assert events[4]["error"] == {
        "type": "StreamInterrupted",
        "cause": "ConnectionResetError",
        "status_code": 502,
        "request_id": None,
        "retryable": True,
    }
    assert (events[5]["delay"], events[6]["emitted"]) == (0.05, 118)


@pytest.mark.parametrize("kind", ["plain", "failed_over"])
def test_content_is_left_out_unless_asked_for(runs, kind):
    call = getattr(runs, kind)(Call())
    assert runs.planted not in json.dumps(to_json(call))
    assert runs.planted in json.dumps(to_json(call, content=True))


def test_nothing_that_was_said_is_written(runs):
    assert runs.planted not in json.dumps(everything(runs).to_json())


def test_a_run_can_be_written_while_it_runs(runs):
    call = Call()
    call.record(Started(call.started, "support", streamed=True))
    call.record(AttemptStarted(call.started, "cloud", 1))
    call.record(runs.attempt(call, 0.0, 0.2))
    made = to_json(call, content=True)
    assert (made["outcome"], made["duration"]) == ("running", None)
    assert made["events"][2]["output"] is None


def test_what_json_cannot_hold_becomes_null_or_text():
    call = Call(tags={"score": math.inf, "\ud800": "\ud800"})
    call.record(FirstChunk(math.nan, "\ud800"))
    call.record(Ended(call.started, "ok", None))
    text = json.dumps(to_json(call), allow_nan=False, ensure_ascii=False)
    text.encode()
    assert to_json(call)["tags"]["score"] is None
    assert to_json(call)["events"][0]["at"] is None


@pytest.mark.parametrize("read", [tracing.explain, tracing.to_json])
def test_what_is_no_call_is_refused_and_not_quoted(read):
    with pytest.raises(ConfigurationError, match=r"`result\.call`, not a str$"):
        read("what was said")


@pytest.mark.parametrize("clock", [lambda: float("nan"), lambda: float("inf"), lambda: 0.0])
def test_a_clock_that_makes_no_sense_makes_a_record_all_the_same(clock):
    call = Call(clock=clock)
    call.record(Started(clock(), "support", False))
    call.record(Ended(clock(), "ok", None))
    written = json.loads(json.dumps(call.to_json(), allow_nan=False))
    assert (written["outcome"], written["started_at"]) == ("ok", call.wall_time(call.started))
