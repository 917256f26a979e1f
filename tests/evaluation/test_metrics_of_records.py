"""Metrics that read the record of a run say the same of it when it has just ended and when a store kept it."""

import asyncio
import inspect
import json

import pytest
from pydantic import BaseModel

from llmops_sdk import Call, Pipeline, Prompt, Router, Scripted, guards
from llmops_sdk.calls import Ended, Started
from llmops_sdk.engines import Cached, MemoryStore
from llmops_sdk.errors import ConfigurationError, EvaluationError, GuardFailed, ServerError
from llmops_sdk.evaluation import Case, metrics
from llmops_sdk.guards import Guard, guard
from llmops_sdk.messages import Choice, Response, ToolCall, Usage
from llmops_sdk.pipelines import record_of, result_of
from llmops_sdk.verdicts import Finding, Verdict

ADA = "I am ada@example.org"


class Own(Scripted):
    in_process = True


class Name(BaseModel):
    name: str


async def streamed():
    stream = ("?" | Scripted(["Ye", "s."])).astream()
    async for _ in stream:
        pass
    return stream.result


async def second_engine():
    # A router remembers which engine failed, so each run has one of its own.
    first = Scripted(ServerError("down", engine="a"), name="a")
    return await ("?" | Router([first, Scripted("Yes.", name="b")])).arun()


async def cached():
    pipeline = Pipeline("?", Cached(Scripted("Yes."), store=MemoryStore()))
    await pipeline.arun()
    return await pipeline.arun()


async def failed():
    (result,) = await Pipeline("?", Scripted(ServerError("broken", engine="e"))).amap([{}])
    return result


def _calls():
    call = ToolCall(id="1", name="weather", arguments='{"city": "Paris"}')
    return Scripted(Response(choices=(Choice(text="", tool_calls=(call,)),)))


RUNS = {
    "plain": ("?" | Scripted("Yes, 42.", model="gpt-4o-mini")).arun,
    "unpriced": ("?" | Scripted("Yes.", model="nobody-knows")).arun,
    "uncounted": ("?" | Scripted(Response(choices=(Choice(text="x"),), model="m"))).arun,
    "in process": ("?" | Own("Yes.", name="own")).arun,
    "json": ("?" | Scripted('So: {"name": "Ada"}')).arun,
    "output": (Prompt.from_string("?", output=Name) | Scripted('```json\n{"name": "Ada"}\n```')).arun,
    "wrong output": lambda: Pipeline(Prompt.from_string("?", output=Name), Scripted("Ada"), repairs=0).arun(),
    "tools": ("?" | _calls()).arun,
    "rewritten": lambda: (guards.PII() | Scripted("Done, bob@example.org") | guards.PII(name="out")).arun(ADA),
    "flagged": lambda: (guards.PII(action="flag") | Scripted("Done.")).arun(ADA),
    "blocked": lambda: (guards.PII(action="block") | Scripted("Done.")).arun(ADA),
    "refused": ("?" | Scripted("I'm sorry, but I can't help with that.")).arun,
    "second engine": second_engine,
    "streamed": streamed,
    "cached": cached,
    "failed": failed,
}

CASE = Case(input="?", expected=["Yes.", "Yes, 42."], metadata={"tools": ["weather"], "n": 42, "ada": {"name": "Ada"}})
METRICS = [
    metrics.Exact(), metrics.Contains(), metrics.Regex("Y"), metrics.StartsWith("Y"), metrics.EditDistance(),
    metrics.Numeric(against="metadata.n"), metrics.TokenF1(), metrics.BLEU(), metrics.ChrF(), metrics.ROUGE(),
    metrics.JSONValid(wrapped=True), metrics.JSONSchema(Name, wrapped=True), metrics.OutputValid(),
    metrics.FieldsEqual(against="metadata.ada"), metrics.Classification(["Yes.", "Yes, 42.", "no"]),
    metrics.ToolCalls(against="metadata.tools"),
    metrics.Latency(), metrics.TimeToFirstToken(), metrics.Cost(), metrics.Tokens(), metrics.Tokens("input"),
    metrics.Tokens("output"), metrics.Succeeded(), metrics.Blocked(), metrics.Refused(), metrics.Findings(),
    metrics.Findings(kinds=["email"], stage="input", name="emails"), metrics.GuardMetric(guards.PII()),
    metrics.Condition("few tokens", lambda result: result.usage.output_tokens < 3), metrics.AskedAtMost(1),
    metrics.AskedAtMost(1, attempts=True, name="one_attempt"), metrics.UsedEngine("b"), metrics.MaxLatency(60),
    metrics.StayedInProcess(), metrics.NoFindingLeft("pii"), metrics.NoFindingLeft("email"),
]  # fmt: skip


def run(name):
    return asyncio.run(RUNS[name]())


def kept(result):
    return result_of(json.loads(json.dumps(record_of(result))))


def score(metric, result, case=CASE):
    async def ask():
        said = metric(case, result)
        return await said if inspect.isawaitable(said) else said

    return metrics.scores_of(metric, asyncio.run(ask()))[metric.name]


def value(metric, name):
    return score(metric, run(name)).value


@pytest.mark.parametrize("name", RUNS)
def test_every_metric_says_the_same_of_a_run_that_was_kept(name):
    result = run(name)
    again = kept(result)
    for metric in METRICS:
        if result.error is None or metric.scores_failures:
            live, later = score(metric, result), score(metric, again)
            assert later.value == pytest.approx(live.value, abs=1e-6), metric.name
            assert (later.label, later.explanation) == (live.label, live.explanation), metric.name
            assert later.details == live.details, metric.name


def test_a_record_that_is_read_and_written_again_is_the_same():
    for name in RUNS:
        record = record_of(run(name))
        again = record_of(result_of(record))
        assert json.loads(json.dumps(again), parse_float=lambda _: 0.0) == json.loads(
            json.dumps(record), parse_float=lambda _: 0.0
        ), name


def test_time_tokens_and_money_are_those_of_the_run():
    result = run("plain")
    assert score(metrics.Cost(), result).value == float(result.cost_usd) > 0
    assert score(metrics.Tokens(), result).value == result.usage.total_tokens > 0
    usage = Usage(input_tokens=7, output_tokens=5)
    result = asyncio.run(("?" | Scripted("x", usage=usage)).arun())
    assert [score(metrics.Tokens(one), result).value for one in ("input", "output", "total")] == [7, 5, 12]
    started = next(event for event in result.call.events if isinstance(event, Started))
    ended = next(event for event in result.call.events if isinstance(event, Ended))
    assert score(metrics.Latency(), result).value == pytest.approx(ended.at - started.at)
    assert value(metrics.MaxLatency(1e-9), "plain") == 0.0


def test_what_nobody_knows_is_no_zero():
    assert value(metrics.Cost(), "unpriced") is None
    assert value(metrics.Tokens(), "uncounted") is None
    assert value(metrics.TimeToFirstToken(), "plain") is None
    assert value(metrics.TimeToFirstToken(), "streamed") > 0
    assert value(metrics.Findings(), "plain") is None
    assert value(metrics.OutputValid(), "plain") is None
    assert value(metrics.NoFindingLeft("pii"), "plain") is None


def test_what_was_not_asked_took_nothing():
    assert value(metrics.Cost(), "cached") == 0.0
    assert value(metrics.Tokens(), "cached") == 0.0
    assert value(metrics.Cost(), "blocked") == 0.0
    assert value(metrics.Tokens(), "blocked") == 0.0


def test_estimated_tokens_are_said_to_be_so():
    usage = Usage(input_tokens=7, output_tokens=5, estimated=True)
    result = asyncio.run(("?" | Scripted("x", usage=usage)).arun())
    assert score(metrics.Tokens(), result).details == {"estimated": True}


def test_runs_that_fail_are_counted_as_such():
    assert value(metrics.Succeeded(), "plain") == 1.0
    assert value(metrics.Succeeded(), "blocked") == 1.0
    said = score(metrics.Succeeded(), run("failed"))
    assert (said.value, said.explanation) == (0.0, run("failed").call.events[-1].outcome)
    assert metrics.Succeeded.scores_failures
    assert not metrics.Exact.scores_failures


def test_refusals_and_blocks():
    assert [value(metrics.Blocked(), name) for name in ("plain", "refused", "blocked")] == [0.0, 0.0, 1.0]
    assert [value(metrics.Refused(), name) for name in ("plain", "refused", "blocked")] == [0.0, 1.0, 1.0]
    assert score(metrics.Blocked(), run("blocked")).explanation == "by 'pii'"
    assert metrics.Blocked(higher_is_better=True).higher_is_better
    assert not metrics.Blocked().higher_is_better


def test_findings_are_counted_by_kind_guard_and_stage():
    result = run("rewritten")
    assert score(metrics.Findings(), result).details == {"kinds": {"email": 2}}
    assert score(metrics.Findings(stage="output"), result).value == 1.0
    assert score(metrics.Findings(guard="pii"), result).value == 1.0
    assert score(metrics.Findings(guard="secrets"), result).value is None
    assert score(metrics.Findings(kinds=["phone"]), result).value == 0.0


def test_any_guard_is_a_metric():
    metric = metrics.GuardMetric(guards.Length(most=4))
    assert metric.name == "length"
    assert value(metric, "unpriced") == 1.0
    said = score(metric, run("plain"))
    assert (said.value, said.label, said.cost_usd) == (0.0, "block", 0)
    assert metric.version != metrics.GuardMetric(guards.Length(most=5)).version
    with pytest.raises(ConfigurationError, match="is no guard"):
        metrics.GuardMetric(len)
    with pytest.raises(ConfigurationError, match="has no degrees"):
        metrics.GuardMetric(guards.Length(most=4), rated=True)


def test_a_guard_with_degrees_gives_them_below_its_threshold_too():
    class Unsure(Guard):
        threshold = 0.5

        def check(self, text, context=None):
            return Verdict.block("sure") if self.rate(text) >= self.threshold else Verdict.allow()

        def rate(self, text, context=None):
            return len(text) / 10

    class Waiting(Unsure):
        async def rate(self, text):
            return len(text) / 10

    result = run("unpriced")  # "Yes."
    for one in (Unsure(), Waiting()):
        said = score(metrics.GuardMetric(one, rated=True), result)
        assert (said.value, said.details) == (0.6, {"rate": 0.4})
    assert score(metrics.GuardMetric(Unsure()), result).value == 1.0
    with pytest.raises(GuardFailed, match="its rate is 5"):
        score(metrics.GuardMetric(Unsure(), rated=True), asyncio.run(("?" | Scripted("x" * 50)).arun()))


def test_findings_of_a_guard_that_broke_are_not_none():
    def breaks(text):
        raise ValueError("no rules")

    pipeline = guard(breaks, name="rules", on_error="allow") | Scripted("Done.")
    result = asyncio.run(pipeline.arun(ADA))
    with pytest.raises(EvaluationError, match="'rules' broke"):
        score(metrics.Findings(), result)
    assert score(metrics.Findings(guard="pii"), result).value is None


def test_what_the_judge_of_a_guard_costs_is_part_of_the_score():
    answer = '{"violation": false, "confidence": 1.0}'
    known, unknown = Scripted(answer, model="gpt-4o-mini"), Scripted(answer, model="nobody-knows")
    result = run("plain")
    costs = [
        score(metrics.GuardMetric(guards.Judge(engine, "It is rude.", on_error="allow")), result).cost_usd
        for engine in (known, unknown)
    ]
    assert costs[0] > 0
    assert costs[1] is None


def test_conditions_on_engines():
    assert value(metrics.AskedAtMost(1), "second engine") == 0.0
    assert value(metrics.AskedAtMost(2), "second engine") == 1.0
    assert score(metrics.AskedAtMost(2), run("second engine")).explanation == "asked a, b"
    assert value(metrics.AskedAtMost(0), "cached") == 1.0
    assert value(metrics.UsedEngine("b"), "second engine") == 1.0
    assert value(metrics.UsedEngine("a"), "second engine") == 0.0
    assert value(metrics.UsedEngine("scripted"), "cached") == 1.0
    assert value(metrics.StayedInProcess(), "cached") == 1.0
    assert value(metrics.StayedInProcess(), "in process") == 1.0
    assert value(metrics.StayedInProcess(), "plain") == 0.0
    assert value(metrics.StayedInProcess(), "blocked") == 1.0


def test_what_was_found_has_left_unless_it_was_taken_out_before():
    holds = metrics.NoFindingLeft("pii")
    assert value(holds, "rewritten") == 1.0
    assert value(holds, "blocked") == 1.0
    assert score(holds, run("flagged")).explanation == "sent to 'scripted'"
    assert value(holds, "flagged") == 0.0
    assert value(metrics.NoFindingLeft("email"), "flagged") == 0.0
    assert value(metrics.NoFindingLeft("phone"), "flagged") is None
    inside = (guards.PII(action="flag") | Own("Done.")).run(ADA)
    assert score(holds, inside).value == 1.0


class Slow(Guard):
    """Takes its time, and takes the address out."""

    def __init__(self, verdict, **options):
        super().__init__(**options)
        self.verdict = verdict

    async def check(self, text, context=None):
        await asyncio.sleep(0.02)
        return self.verdict


FOUND = (Finding(kind="email", start=5, end=20),)


@pytest.mark.parametrize("verdict", [Verdict.block("no", FOUND), Verdict.rewrite("I am x", FOUND)])
def test_what_an_engine_got_while_the_guard_was_still_reading_has_left(verdict):
    beside = (Slow(verdict, overlap=True) | Scripted("Done.", "Done.", delay_s=0.05)).run(ADA)
    before = (Slow(verdict) | Scripted("Done.", "Done.")).run(ADA)
    for result in (beside, kept(beside)):
        assert score(metrics.NoFindingLeft("email"), result).value == 0.0
    for result in (before, kept(before)):
        assert score(metrics.NoFindingLeft("email"), result).value == 1.0


class Broken(Guard):
    def check(self, text, context=None):
        raise RuntimeError("broken")


def test_a_guard_that_broke_and_let_all_pass_is_no_proof():
    result = (Broken(name="pii", on_error="allow") | Scripted("Done.")).run(ADA)
    with pytest.raises(EvaluationError, match="nobody knows what left"):
        score(metrics.NoFindingLeft("pii"), result)


def test_a_condition_sees_what_is_kept_and_nothing_else():
    seen = []
    condition = metrics.Condition("looks", lambda result: seen.append(result) or True)
    result = run("second engine")
    score(condition, result)
    score(condition, kept(result))
    live, later = ([type(event) for event in one.call.events] for one in seen)
    assert live == later
    assert len(live) < len(result.call.events)


def test_a_condition_says_true_or_false_or_that_it_does_not_apply():
    result = run("plain")
    assert score(metrics.Condition("a", lambda result: None), result).value is None
    with pytest.raises(EvaluationError, match="neither True nor False"):
        score(metrics.Condition("a", lambda result: 1), result)
    with pytest.raises(ConfigurationError, match="a name and a function"):
        metrics.Condition("a", True)
    yes = metrics.Condition("a", lambda result: True)
    no = metrics.Condition("a", lambda result: False)
    assert yes.version != no.version
    assert metrics.Condition("a", lambda result: True, version="2").version == "2"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: metrics.Tokens("cached"), "tokens are"),
        (lambda: metrics.AskedAtMost(-1), "a whole number"),
        (lambda: metrics.AskedAtMost(True), "a whole number"),
        (lambda: metrics.MaxLatency(0), "seconds over 0"),
        (lambda: metrics.UsedEngine(""), "the name of an engine"),
        (lambda: metrics.NoFindingLeft(""), "the name of a guard"),
        (lambda: metrics.Findings(kinds="email"), "names of findings"),
        (lambda: metrics.Findings(stage="both"), "`stage` is"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_with_words(make, words):
    with pytest.raises(ConfigurationError, match=words):
        make()


def test_a_run_without_a_record_of_its_end_has_no_latency():
    result = run("plain")
    bare = Call()
    object.__setattr__(result, "call", bare)
    assert score(metrics.Latency(), result).value is None
