from __future__ import annotations

import asyncio
import functools
import io
from decimal import Decimal

import pytest
from rich.console import Console

from llmops_sdk.calls import (
    Aside,
    AttemptStarted,
    Call,
    Ended,
    Evaluated,
    GuardChecked,
    OutputValidated,
    Rendered,
    Retried,
    Routed,
    Started,
    StreamResumed,
    ToolExecuted,
)
from llmops_sdk.errors import EngineError, RateLimitError
from llmops_sdk.messages import PromptRef, Request, ToolCall
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


def tree(steps, depth=0):
    """The names of a tree of steps, indented."""
    lines = []
    for step in steps:
        lines += ["  " * depth + step.name, *tree(step.inner, depth + 1)]
    return lines


def nested(runs, call):
    """Nested routers, a judge and a cache that ask engines of their own, an answer against its schema."""
    t = call.started
    ask = functools.partial(runs.attempt, call, engine="small", model="small", usage=None, cost_usd=Decimal("0.000001"))
    return runs.record(
        call,
        Aside(t + 0.004, "judge", ask(0.003, 0.004)),
        runs.guard(call, 0.005, "judge", "input", Verdict.allow()),
        Aside(t + 0.006, "world", ask(0.0055, 0.006), "embeddings"),
        Routed(t + 0.01, "world", ("eu", "us"), ()),
        Routed(t + 0.011, "eu", ("eu-1", "eu-2"), ()),
        AttemptStarted(t + 0.02, "eu-1", 1),
        runs.attempt(call, 0.02, 0.1, engine="eu-1", error=EngineError("x"), response=None, usage=None, cost_usd=None),
        AttemptStarted(t + 0.1, "us", 2),
        runs.attempt(call, 0.1, 0.5, engine="us", number=2, chunk_times=[t + 0.2, t + 0.21, t + 0.29]),
        Aside(t + 0.6, "late", ask(0.6, 0.61, error=asyncio.CancelledError(), response=None)),
        OutputValidated(t + 0.7, t + 0.71, "not json"),
    )


def test_steps_stand_below_what_they_belong_to(runs):
    explanation = explain(nested(runs, Call()))
    assert tree(explanation.steps) == [
        "guard judge · input",
        "  asks small",
        "world embeds by small",
        "route world",
        "  route eu",
        "    attempt 1 · eu-1",
        "  attempt 2 · us",
        "late asks small",
        "answer against its schema",
    ]
    assert explanation.steps[-1].result == "not json"


def test_the_column_of_costs_adds_up(runs):
    explanation = explain(nested(runs, Call()))
    column = [line.split()[-1] for line in str(explanation).splitlines() if line.split() and "0.0" in line.split()[-1]]
    *costs, total = [Decimal(cost) for cost in column]
    assert len(costs) == 4
    assert sum(costs) == total
    assert explanation.cost_usd == Decimal("0.00021625")
    assert "0.00000300 USD of it beside the answer" in explanation.facts


def test_the_longest_pause_between_chunks_is_told(runs):
    assert "longest pause 80.0 ms" in str(explain(nested(runs, Call())))


def test_what_came_after_the_end_stands_apart(runs):
    call = nested(runs, Call())
    tool = ToolCall(id="1", name="weather", arguments=runs.planted)
    call.record(ToolExecuted(call.started + 2, call.started + 2.5, tool, runs.planted, None))
    call.record(ToolExecuted(call.started + 3, call.started + 3, tool, None, KeyError(runs.planted)))
    call.record(Evaluated(call.started + 4, "feedback", 0.5, "late", runs.planted, "human"))
    call.record(Evaluated(call.started + 4, "faithful", None, error=ValueError(runs.planted), by="llm"))
    explanation = explain(call)
    assert [(step.name, step.result) for step in explanation.afterwards] == [
        ("tool weather", "returned"),
        ("tool weather", "KeyError"),
        ("feedback", "0.5 · late"),
        ("score faithful", "ValueError"),
    ]
    assert explanation.total_ms == 1000
    text = str(explanation)
    assert text.index("total") < text.index("afterwards") < text.index("tool weather")
    for shown in (text, explanation._repr_html_()):
        assert runs.planted not in shown
    assert "afterwards" not in str(explain(nested(runs, Call())))


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 160])
def test_every_line_fits_and_costs_are_there_at_any_width(runs, width):
    call = nested(runs, made(deadline_s=8))
    call.record(Evaluated(call.started + 4, "feedback", 0.5))
    out = io.StringIO()
    Console(file=out, width=width).print(explain(call))
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert all(len(line) <= width for line in lines)
    (total,) = [line for line in lines if line.startswith("└─ total")]
    assert total.endswith("0.00021625")
    assert ("█" in out.getvalue()) == (width >= 100)


def test_a_run_under_way_shows_what_runs_where_it_belongs(runs):
    call = Call()
    call.record(Started(call.started, "support", streamed=False))
    call.record(Routed(call.started, "world", ("us",), ()))
    call.record(AttemptStarted(call.started, "us", 1))
    assert tree(explain(call).steps) == ["route world", "  attempt 1 · us"]


def test_html_knows_light_and_dark(runs):
    page = explain(nested(runs, Call()))._repr_html_()
    assert "prefers-color-scheme:dark" in page
    assert 'data-jp-theme-light="false"' in page
    assert page.count("└ ") == 4


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
