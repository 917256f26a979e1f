from __future__ import annotations

import asyncio
import io
from decimal import Decimal

import pytest
from rich.console import Console

from llmops_sdk.calls import (
    AttemptStarted,
    Call,
    Ended,
    GuardChecked,
    Rendered,
    Retried,
    Routed,
    Started,
    StreamResumed,
)
from llmops_sdk.errors import EngineError, RateLimitError
from llmops_sdk.messages import PromptRef, Request
from llmops_sdk.tracing import explain
from llmops_sdk.verdicts import Finding, Verdict

PLAIN = """\
support · ok · 1,000.0 ms · 1,312 tokens in, 158 out · 0.000213 USD
call 01234567

   step                        result             start ms   took ms                        tokens in  out       USD
├─ prompt support/answer@prod  1 message              1.00      2.00  ▏
│    commit 9f31c02ab7e1
├─ guard pii · input           rewrite: email x2      4.00      1.00  ▏
│    2 found
├─ route latency               cloud → local          6.00            ◆
│  │ not azure: failed 3 s ago
│  └─ attempt 1 · cloud        stop                   6.00    894.00  ██████████████████        1,312  158  0.000213
│       gpt-5-mini · 1,024 tokens cached
├─ guard secrets · output      allow                949.00      1.00                    █
├─ between the steps                                          102.00
└─ total                                                    1,000.00                            1,312  158  0.000213"""

FAILED_OVER = """\
support · ok · 1,000.0 ms · 1,312 tokens in, 158 out · 0.000213 USD + 1 attempt of unknown price
2 attempts, 1 failed · first chunk after 90.0 ms · deadline 8 s · call 01234567

   step                  result                   start ms   took ms                        tokens in  out         USD
├─ route latency         local → cloud                5.00            ◆
│  ├─ attempt 1 · local  StreamInterrupted            5.00    195.00  ████                                     unknown
│  │    SmolLM2 · first chunk after 85.0 ms · 11 chunks · by ConnectionResetError · HTTP 502
│  ├─ wait → cloud       after StreamInterrupted    200.00     50.00      █
│  ├─ resume → cloud     goes on where it broke     250.00                 ◆
│  │    118 characters were emitted before it broke
│  └─ attempt 2 · cloud  stop                       250.00    650.00       █████████████        1,312  158    0.000213
│       gpt-5-mini · first chunk after 150.0 ms · 41 chunks · 1,024 tokens cached
├─ between the steps                                          105.00
└─ total                                                    1,000.00                            1,312  158  ≥ 0.000213"""  # noqa: E501

BLOCKED = """\
support · blocked · 1,000.0 ms · tokens not counted · 0.0000 USD
call 01234567

   step                     result                start ms   took ms                        tokens in  out     USD
├─ guard injection · input  block: override          99.00      1.00   █
│    an injection
├─ guard pii · input        skipped: was blocked    100.00              ◆
├─ between the steps                                          999.00
└─ total                                                    1,000.00                                        0.0000"""


def made(**options: object) -> Call:
    call = Call(**options)  # type: ignore[arg-type]
    call.id = "0123456789abcdef" * 2
    return call


def test_a_plain_run(runs):
    assert str(explain(runs.plain(made()))) == PLAIN


def test_a_run_that_failed_over(runs):
    assert str(explain(runs.failed_over(made(deadline_s=8)))) == FAILED_OVER


def test_a_blocked_run(runs):
    call = made()
    verdict = Verdict.block("an injection", [Finding(kind="override", start=0, end=3)])
    runs.record(
        call,
        runs.guard(call, 0.1, "injection", "input", verdict),
        runs.guard(call, 0.1, "pii", "input", Verdict(skipped="was blocked")),
        outcome="blocked",
    )
    assert str(explain(call)) == BLOCKED
    assert repr(explain(call)) == BLOCKED


def test_nothing_that_was_said_is_shown(runs):
    for call in (runs.plain(Call()), runs.failed_over(Call())):
        explanation = explain(call)
        assert runs.planted not in str(explanation)
        assert runs.planted not in explanation._repr_html_()


def test_a_call_without_events_is_explained():
    explanation = explain(Call())
    assert (explanation.outcome, explanation.steps) == ("running", ())
    assert "running" in str(explanation)


def test_a_running_attempt_takes_time_until_now(runs):
    call = Call()
    call.record(Started(call.started - 2, "support", streamed=False))
    call.record(AttemptStarted(call.started - 1, "cloud", 1))
    explanation = explain(call)
    (step,) = explanation.steps
    assert (step.result, step.tone) == ("running", "running")
    assert step.took_ms is not None
    assert step.took_ms >= 1000
    assert explanation.total_ms >= 2000


def test_a_cancelled_run_is_no_failure(runs):
    call = Call()
    stopped = asyncio.CancelledError()
    attempt = runs.attempt(call, 0.1, 0.2, response=None, usage=None, cost_usd=None, error=stopped)
    explanation = explain(runs.record(call, attempt, outcome="cancelled", error=stopped))
    assert (explanation.outcome, explanation.tone) == ("cancelled", "plain")
    assert (explanation.steps[0].result, explanation.steps[0].tone) == ("cancelled", "plain")
    assert explanation.unpriced == 0


def test_a_failed_run_names_the_error_and_its_cause(runs):
    call = Call()
    limited = RateLimitError(runs.planted, status_code=429, retry_after_s=3, request_id="req-9")
    limited.__cause__ = OSError(runs.planted)
    attempt = runs.attempt(call, 0.1, 0.2, response=None, usage=None, cost_usd=None, error=limited)
    text = str(explain(runs.record(call, attempt, outcome="RateLimitError", error=limited)))
    assert text.startswith("support · RateLimitError (OSError) · ")
    assert "HTTP 429 · asks for 3 s of rest · request req-9" in text
    assert runs.planted not in text


def test_unknown_prices_are_never_counted_as_nothing(runs):
    call = Call()
    explanation = explain(runs.record(call, runs.attempt(call, 0.1, 0.2, cost_usd=None)))
    assert (explanation.cost_usd, explanation.unpriced) == (0, 1)
    assert "price unknown" in str(explanation).splitlines()[0]
    assert "0.0000" not in str(explanation)


def test_costs_are_added_as_decimals(runs):
    call = Call()
    attempts = [runs.attempt(call, 0.1, 0.2, number=n, cost_usd=Decimal("0.1")) for n in range(3)]
    assert explain(runs.record(call, *attempts)).cost_usd == Decimal("0.3")


def test_a_guard_that_reads_along_takes_the_time_that_it_worked(runs):
    call = Call()
    t = call.started
    guard = GuardChecked(t + 0.1, t + 0.9, "secrets", "output", Verdict.allow(), 0.002)
    explanation = explain(runs.record(call, guard))
    (step,) = explanation.steps
    assert step.took_ms == pytest.approx(2)
    assert step.reads_along
    assert "░" in str(explanation)
    assert explanation.elsewhere_ms == pytest.approx(1000)  # it is not what the run waited for


def test_steps_at_the_same_time_count_once(runs):
    call = Call()
    attempts = [runs.attempt(call, 0.1, 0.5, number=1), runs.attempt(call, 0.2, 0.6, number=2)]
    assert explain(runs.record(call, *attempts)).elsewhere_ms == pytest.approx(500)


def test_a_wait_ends_with_the_run(runs):
    call = Call()
    error = EngineError("broke")
    wait = Retried(call.started + 0.4, "cloud", 30.0, error)
    (step,) = explain(runs.record(call, wait, outcome="DeadlineExceeded")).steps
    assert step.took_ms == pytest.approx(600)


def test_wide_characters_keep_the_columns(runs):
    call = Call()
    lines = str(
        explain(
            runs.record(
                call,
                runs.attempt(call, 0.1, 0.2, engine="東京"),
                runs.attempt(call, 0.2, 0.3, engine="abcd"),
            )
        )
    ).splitlines()
    wide, narrow = (next(line for line in lines if name in line) for name in ("東京", "abcd"))
    assert wide.index("stop") + 2 == narrow.index("stop")


def test_control_characters_cannot_draw_on_the_terminal(runs):
    call = Call()
    text = str(explain(runs.record(call, runs.attempt(call, 0.1, 0.2, engine="a\x1b[31m\nb\ud800"))))
    assert "\x1b" not in text
    assert len(text.splitlines()) == 8
    text.encode()


def test_rich_shows_the_same_text_in_colours(runs):
    call = made(deadline_s=8)
    explanation = explain(runs.failed_over(call))
    plain = io.StringIO()
    Console(file=plain, width=140).print(explanation)
    assert "\n".join(line.rstrip() for line in plain.getvalue().splitlines()) == FAILED_OVER
    coloured = io.StringIO()
    Console(file=coloured, width=140, force_terminal=True, color_system="standard").print(explanation)
    assert "\x1b[31mStreamInterrupted" in coloured.getvalue()


def test_a_narrow_terminal_loses_the_time_line_first(runs):
    narrow = io.StringIO()
    Console(file=narrow, width=100).print(explain(runs.plain(made())))
    (attempt,) = [line for line in narrow.getvalue().splitlines() if "attempt 1" in line]
    assert attempt.rstrip().endswith("0.000213")
    assert "█" not in attempt
    assert len(attempt) <= 100


def test_html_escapes_every_name(runs):
    script = "<script>alert(1)</script>"
    call = Call()
    t = call.started
    call.record(Started(t, script, streamed=False))
    call.record(Rendered(t, t, PromptRef(name=script, version=script, commit=script), Request.of(script)))
    verdict = Verdict.flag(script, [Finding(kind=script, start=0, end=1)])
    call.record(runs.guard(call, 0.1, script, "input", verdict))
    call.record(Routed(t, script, (script,), ((script, script),)))
    call.record(runs.attempt(call, 0.1, 0.2, engine=script, model=script))
    call.record(StreamResumed(t, script, script, 1))
    call.record(Ended(t + 1, script, None))
    page = explain(call)._repr_html_()
    assert "<script" not in page
    assert page.count("&lt;script&gt;") > 8


def test_html_loads_nothing_from_elsewhere(runs):
    page = explain(runs.failed_over(Call()))._repr_html_()
    assert "http" not in page.lower().replace("http 502", "")
    assert "src=" not in page
    assert "url(" not in page
