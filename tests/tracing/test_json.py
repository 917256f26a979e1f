from __future__ import annotations

import json
import math
from decimal import Decimal
from pathlib import Path

import pytest

from llmops_sdk.calls import AttemptStarted, Call, Ended, FirstChunk, Started
from llmops_sdk.tracing import to_json


def test_the_form_is_version_1(runs):
    call = runs.plain(Call(deadline_s=8, budget_usd=Decimal("0.10"), tags={"user": "u-42", "at": Path("x")}))
    call.spend(Decimal("0.00021325"))
    made = to_json(call)
    json.dumps(made, allow_nan=False)
    assert made.pop("started_at") == pytest.approx(call.wall_time(call.started))
    assert made == {
        "version": 1,
        "id": call.id,
        "pipeline": "support",
        "outcome": "ok",
        "duration": 1.0,
        "deadline": 8,
        "budget_usd": "0.10",
        "spent_usd": "0.00021325",
        "estimated_usd": "0",
        "tags": {"user": "u-42", "at": "x"},
        "events": [
            {"event": "started", "at": 0.0, "pipeline": "support", "streamed": False},
            {
                "event": "rendered",
                "started": 0.001,
                "at": 0.003,
                "prompt": {
                    "name": "support/answer",
                    "version": "prod",
                    "commit": "9f31c02ab7e1",
                    "hash": "c0ffee",
                },
                "messages": 1,
            },
            {
                "event": "guard_checked",
                "started": 0.004,
                "at": 0.005,
                "guard": "pii",
                "stage": "input",
                "busy": 0.001,
                "verdict": {
                    "action": "rewrite",
                    "reason": "2 found",
                    "skipped": None,
                    "error": None,
                    "findings": [{"kind": "email", "start": 0, "end": 5, "score": 1.0, "rule": "", "origin": ""}] * 2,
                },
            },
            {
                "event": "routed",
                "at": 0.006,
                "router": "latency",
                "order": ["cloud", "local"],
                "refused": [{"engine": "azure", "reason": "failed 3 s ago"}],
            },
            {"event": "attempt_started", "at": 0.006, "engine": "cloud", "number": 1},
            {
                "event": "attempt_ended",
                "started": 0.006,
                "at": 0.9,
                "engine": "cloud",
                "provider": "openai",
                "model": "gpt-5-mini",
                "in_process": False,
                "number": 1,
                "streamed": False,
                "first_chunk_at": None,
                "chunks": 0,
                "usage": {
                    "input_tokens": 1312,
                    "output_tokens": 158,
                    "cached_input_tokens": 1024,
                    "cache_write_tokens": 0,
                    "reasoning_tokens": 0,
                    "cache_write_1h_tokens": 0,
                    "audio_input_tokens": 0,
                    "cached_audio_tokens": 0,
                    "audio_output_tokens": 0,
                    "estimated": False,
                    "service_tier": None,
                    "billed_usd": None,
                    "also_charged": [],
                },
                "cost_usd": "0.00021325",
                "estimated_usd": None,
                "cut_off": False,
                "error": None,
                "response": {"id": "resp-1", "model": "gpt-5-mini-2026", "finish_reasons": ["stop"]},
            },
            {
                "event": "guard_checked",
                "started": 0.949,
                "at": 0.95,
                "guard": "secrets",
                "stage": "output",
                "busy": 0.001,
                "verdict": {"action": "allow", "reason": "", "skipped": None, "error": None, "findings": []},
            },
            {"event": "ended", "at": 1.0, "outcome": "ok", "error": None},
        ],
    }


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
