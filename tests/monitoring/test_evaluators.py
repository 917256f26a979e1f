import asyncio
import json
import threading
from decimal import Decimal

import pytest

from llmops_sdk import tracing
from llmops_sdk.calls import Evaluated
from llmops_sdk.costs import PriceTable
from llmops_sdk.engines import Cached, Engine, Scripted
from llmops_sdk.guards import PII, Judge, Refusal, guard
from llmops_sdk.messages import Document, Usage
from llmops_sdk.monitoring import Score, judged_by
from llmops_sdk.monitoring._budget import DayBudget
from llmops_sdk.monitoring._evaluators import scores_of
from llmops_sdk.verdicts import Verdict


def scores(monitor, name=None):
    assert monitor.flush()
    return [(one.name, one.score, one.label, one.by) for one in monitor.store.scores(name)]


async def grave(run):
    await asyncio.sleep(0)
    return Score(score=0.25, label="grave", explanation="too grave")


def test_functions_coroutines_and_guards_judge_the_runs(watch):
    threads = []

    def polite(run):
        threads.append(threading.current_thread().name)
        return "please" in run.answer

    monitor = watch(answer="I'm sorry, but I can't help with that.", evaluators=[polite, grave, Refusal()], sample=1.0)
    monitor.pipeline.run(word="hello")
    assert sorted(scores(monitor)) == [
        ("grave", 0.25, "grave", "code"),
        ("polite", 0.0, None, "code"),
        ("refusal", pytest.approx(1 - Refusal().check("I'm sorry, but I can't help with that.").score), "flag", "code"),
    ]
    assert threads == ["llmops-sdk-worker"]  # it may block, so it is kept off the loops
    assert monitor.counts["evaluations"] == 3


def test_a_mapping_gives_several_scores_and_none_gives_none(watch):
    monitor = watch(
        evaluators={"style": lambda run: {"length": 3, "tone": "dry", "rest": None}, "mute": lambda run: None}, sample=1
    )
    monitor.pipeline.run(word="hello")
    assert sorted(scores(monitor)) == [("style.length", 3.0, None, "code"), ("style.tone", None, "dry", "code")]
    assert monitor.counts["evaluations.not_applicable"] == 1


def test_they_see_the_run(watch):
    seen = []

    @guard
    def shout(text):
        return Verdict.rewrite(text.upper())

    pipeline = "About {{ facts }}: {{ word }}" | shout | Scripted("It is so.")
    monitor = watch(pipeline, evaluators={"see": seen.append}, sample=1.0)
    facts = [Document(id="1", text="a fact")]
    result = monitor.pipeline.run(word="hello", facts=facts, tags={"team": "a"})
    assert monitor.flush()
    (run,) = seen
    assert (run.id, run.answer, run.outcome, run.tags) == (result.call.id, "It is so.", "ok", {"team": "a"})
    assert run.documents == tuple(facts)
    assert run.variables["word"] == "hello"
    assert "HELLO" in run.question  # as it was sent
    assert run.usage == result.usage
    assert run.call is result.call


def test_judgements_are_recorded_on_the_call_for_other_hooks(watch):
    memory = tracing.memory()
    monitor = watch(("Say {{ word }}" | Scripted("so")).with_hooks(memory), evaluators=[grave], sample=1.0)
    result = monitor.pipeline.run(word="hello")
    assert monitor.flush()
    (judged,) = [event for event in result.call.events if isinstance(event, Evaluated)]
    assert (judged.name, judged.score, judged.label, judged.explanation, judged.by) == (
        "grave", 0.25, "grave", "too grave", "code",
    )  # fmt: skip
    assert len(scores(monitor)) == 1  # and not a second time, though the monitor is a hook itself


def test_the_sample_is_drawn_by_the_id_and_so_the_same_everywhere(watch):
    monitor, other = watch(sample=0.5), watch(sample=0.5)
    both = ("Say {{ word }}" | Scripted("so")).with_hooks(monitor)
    ids = [both.run(word="hello").call.id for _ in range(200)]
    assert monitor.flush()
    sampled = {run.id for run in monitor.store.runs() if run.sampled}
    assert 50 < len(sampled) < 150
    calls = [type("C", (), {"id": one})() for one in ids]
    assert {call.id for call in calls if other._recorder._ways.sampled(call)} == sampled


def test_the_sample_may_be_a_function_of_the_call(watch):
    monitor = watch(evaluators=[grave], sample=lambda call: call.tags["vip"])
    for vip in (True, False):
        monitor.pipeline.run(word="hello", tags={"vip": vip})
    monitor.pipeline.run(word="hello")  # without the tag the function fails
    assert len(scores(monitor)) == 1
    assert monitor.counts["sample.failed"] == 1
    assert monitor.counts["stored"] == 3


def test_a_failure_is_kept_counted_and_said_once(watch, caplog):
    def broken(run):
        raise KeyError("xyzzy-text")

    async def odd(run):
        return object()

    monitor = watch(evaluators=[broken, odd], sample=1.0)
    calls = [monitor.pipeline.run(word="hello").call for _ in range(3)]
    assert monitor.flush()
    assert sorted((one.name, one.score, one.error) for one in monitor.store.scores()) == [
        ("broken", None, "KeyError")] * 3 + [("odd", None, "TypeError")] * 3  # fmt: skip
    assert monitor.counts["evaluations.failed"] == 6
    assert len([record for record in caplog.records if "evaluator" in record.message]) == 2
    assert "xyzzy" not in caplog.text
    errors = {type(event.error) for event in calls[0].events if isinstance(event, Evaluated)}
    assert errors == {KeyError, TypeError}


def test_one_that_takes_too_long_is_given_up_and_one_that_hangs_keeps_its_place(watch):
    stop = threading.Event()
    monitor = watch(
        evaluators={"hang": lambda run: stop.wait(30)}, sample=1.0, timeout_s=0.05, concurrency=1, waiting=1
    )
    watched = monitor.pipeline
    watched.run(word="hello")
    assert monitor.flush()
    assert [one.error for one in monitor.store.scores()] == ["TimeoutError"]
    for _ in range(4):  # its thread still hangs: one waits for its place, the others are left out
        watched.run(word="hello")
    assert not monitor.flush(0.5)
    assert monitor.counts["skipped.evaluations_full"] >= 2
    stop.set()
    assert monitor.flush()


def test_no_more_work_at_once_than_is_allowed_and_the_rest_is_counted(watch):
    at_once, most = 0, 0

    async def slow(run):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.02)
        at_once -= 1
        return True

    monitor = watch(evaluators=[slow], sample=1.0, concurrency=2, waiting=5)
    for _ in range(30):
        monitor.pipeline.run(word="hello")
    assert monitor.flush()
    counts = monitor.counts
    assert most == 2
    assert counts["evaluations"] + counts["skipped.evaluations_full"] == 30
    assert counts["skipped.evaluations_full"] > 0


def test_a_judge_grades_and_its_cost_is_kept(watch):
    judge = Scripted('Well: {"reason": "kind", "grade": 4}', usage=Usage(input_tokens=10, output_tokens=2))
    monitor = watch(evaluators=[judged_by(judge, "The answer is polite.", name="polite")], sample=1.0)
    monitor.pipeline.run(word="hello")
    assert scores(monitor) == [("polite", 0.75, "4", "llm")]
    (score,) = monitor.store.scores()
    assert score.explanation is None  # it may quote the answer, and no texts are kept
    system, user = judge.requests[0].messages
    assert "The answer is polite." in system.text
    assert json.loads(user.text) == {"conversation": [{"role": "user", "text": "Say hello"}], "answer": "It is so."}


def test_why_a_model_says_so_is_kept_with_the_texts_and_cleaned_like_them(watch):
    judge = judged_by(Scripted('{"reason": "to ada@example.org", "grade": 4}'), "The answer is polite.")
    monitor = watch(evaluators=[judge], sample=1.0, content=True)
    careful = watch(evaluators=[judge], sample=1.0, content=[PII()])
    for one in (monitor, careful):
        one.feedback(one.pipeline.run(word="hello").call.id, comment="ask ada@example.org")
        assert one.flush()
    said = {one.by: one.explanation for one in list(monitor.store.scores())[:2]}
    assert said == {"llm": "to ada@example.org", "human": "ask ada@example.org"}
    cleaned = {one.by: one.explanation for one in list(careful.store.scores())[2:]}
    assert cleaned["llm"].startswith("to ")
    assert "ada@" not in repr(cleaned)


def test_a_judge_reads_only_what_the_guards_made_clean(watch):
    judge = Scripted('{"reason": "kind", "grade": 4}')
    pipeline = "Write to {{ word }}" | PII(restore=True) | Scripted(lambda request: request.messages[-1].text)
    monitor = watch(pipeline, evaluators=[judged_by(judge, "The answer is polite.")], sample=1.0)
    assert "ada@example.org" in monitor.pipeline.run(word="ada@example.org").text
    assert monitor.flush()
    assert judge.requests
    assert "ada@" not in repr(judge.requests)


def test_a_judge_that_gives_no_grade_is_a_failure(watch):
    for said in ("no idea", '{"reason": "x", "grade": 9}', '{"grade": true}', "[" * 5000):
        monitor = watch(evaluators=[judged_by(Scripted(said), "polite")], sample=1.0)
        monitor.pipeline.run(word="hello")
        assert monitor.flush()
        assert monitor.counts["evaluations.failed"] == 1


def test_what_a_judge_costs_is_booked_and_what_nobody_knows_is_counted(watch):
    prices = PriceTable({"scripted": {"input": "1", "output": "1"}})  # US dollars for a million tokens
    engine = Scripted('{"reason": "", "grade": 1}', usage=Usage(input_tokens=90_000, output_tokens=10_000))
    monitor = watch(evaluators=[judged_by(engine, "polite", prices=prices)], sample=1.0, budget_usd="0.15")
    for _ in range(3):
        monitor.pipeline.run(word="hello")
        assert monitor.flush()
    assert [one.cost_usd for one in monitor.store.scores()] == [Decimal("0.1")] * 2
    assert monitor.counts["skipped.budget"] == 1
    assert "evaluations.unpriced" not in monitor.counts
    unknown = watch(evaluators=[judged_by(engine, "polite")], sample=1.0)
    unknown.pipeline.run(word="hello")
    assert unknown.flush()
    assert unknown.counts["evaluations.unpriced"] == 1


def test_a_guard_that_asks_a_model_counts_as_one(watch):
    judge = Judge(Scripted('{"violation": true, "confidence": 90}'), "The text gives medical advice.")
    monitor = watch(evaluators=[judge], sample=1.0)
    monitor.pipeline.run(word="hello")
    assert scores(monitor) == [("judge", pytest.approx(0.05), "block", "llm")]


def test_the_budget_of_a_day_stops_evaluators_and_holds_for_all_processes(watch):
    async def dear(run):
        return Score(score=1.0, cost_usd=Decimal("0.03"))

    options = {"evaluators": [dear], "sample": 1.0, "budget_usd": "0.05"}
    monitor = watch(**options)
    for _ in range(4):
        monitor.pipeline.run(word="hello")
        assert monitor.flush()
    assert len(scores(monitor)) == 2  # 0.03 is under the budget, 0.06 is not
    assert monitor.counts["skipped.budget"] == 2
    assert [one.cost_usd for one in monitor.store.scores()] == [Decimal("0.03")] * 2
    other = watch(**options)
    other.pipeline.run(word="hello")
    assert other.flush()
    other.pipeline.run(word="hello")
    assert other.flush()
    assert other.counts["skipped.budget"] >= 1


def test_a_new_day_has_a_new_budget():
    budget = DayBudget(Decimal(1))
    day = 86_400.0
    budget.spend(day, Decimal(2))
    assert not budget.left(day + 1)
    assert budget.left(2 * day)
    budget.written("1970-01-02", Decimal(5), Decimal(2))
    assert not budget.left(day)
    budget.spend(2 * day, Decimal("0.5"))
    budget.written("1970-01-03", Decimal("0.5"), Decimal("0.5"))
    assert budget.left(2 * day)


def test_what_an_evaluator_runs_is_not_observed_itself(watch):
    monitor = watch(sample=1.0, evaluators={"ask": lambda run: len(watched.run(word="again").text) > 0})
    watched = monitor.pipeline
    watched.run(word="hello")
    assert scores(monitor) == [("ask", 1.0, None, "code")]
    assert monitor.counts["observed"] == 1


class Embeds(Engine):
    name = "embeds"

    async def agenerate(self, request, /):
        raise NotImplementedError

    async def aembed(self, texts, /):
        return [[0.0, 1.0] if "strange" in text else [1.0, 0.0] for text in texts]


def test_the_distance_of_embeddings_from_the_first_ones_is_a_signal(watch):
    answers = ["plain"] * 201 + ["strange"]
    options = {"embed": Embeds(), "sample": 1.0, "signals": []}
    monitor = watch("{{ word }}" | Scripted(*answers), concurrency=1, waiting=500, **options)
    watched = monitor.pipeline
    for _ in answers:
        watched.run(word="hello")
    assert monitor.flush()
    values = [one.value for one in monitor.store.signals("embedding")]
    assert sorted(values) == [pytest.approx(0.0), pytest.approx(1.0)]
    again = watch("{{ word }}" | Scripted("strange"), **options)
    again.pipeline.run(word="hello")  # the reference is that of the store
    assert again.flush()
    assert len(list(again.store.signals("embedding"))) == 3


@pytest.mark.parametrize("wrong", [object(), [1.0], b"x"])
def test_what_is_no_score_is_refused(wrong):
    with pytest.raises(TypeError, match="an evaluator says"):
        scores_of("name", wrong)


def test_a_score_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="finite"):
        scores_of("name", float("nan"))


@pytest.mark.parametrize("end", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("blocks", [True, False])
def test_one_that_wants_to_end_the_process_ends_nothing(watch, end, blocks):
    async def waits(run):
        raise end

    def works(run):
        raise end

    monitor = watch(evaluators=[works if blocks else waits], sample=1.0)
    for _ in range(2):
        assert monitor.pipeline.run(word="hello").text == "It is so."
        assert monitor.flush()
    assert monitor.counts["evaluations.failed"] == 2


@pytest.mark.parametrize(
    "said",
    [
        Score(label=3), Score(score="0.5"), Score(score=1, explanation=b"x"), Score(score=1, cost_usd=float("nan")),
        Score(score=1, cost_usd=-1), Score(score=1, cost_usd="1"), {str(number): 1 for number in range(101)}, 10**400,
    ],
    ids=range(8),
)  # fmt: skip
def test_what_is_no_score_is_a_failure_that_is_counted_and_kept(watch, said):
    monitor = watch(evaluators={"odd": lambda run: said}, sample=1.0)
    monitor.pipeline.run(word="hello")
    assert monitor.flush()
    assert monitor.counts["evaluations.failed"] == 1
    (score,) = monitor.store.scores()
    assert score.error


def test_what_is_said_is_cut_to_what_is_reasonable(watch):
    huge = Score(score=0.5, label="l" * 10**6, explanation="e" * 10**6, cost_usd=0.25)
    monitor = watch(evaluators={"wordy": lambda run: huge}, sample=1.0, content=True, budget_usd=1)
    monitor.pipeline.run(word="hello")
    assert monitor.flush()
    (score,) = monitor.store.scores()
    assert (len(score.label), len(score.explanation), score.cost_usd) == (200, 10_000, Decimal("0.25"))


def test_an_answer_out_of_a_cache_is_judged_and_kept_like_any_other(watch):
    judge = Scripted('{"reason": "kind", "grade": 5}')
    pipeline = "Say {{ word }}" | Cached(Scripted("It is so."))
    monitor = watch(pipeline, evaluators=[judged_by(judge, "polite", name="polite")], sample=1.0, content=True)
    for _ in range(2):
        monitor.pipeline.run(word="hello")
    assert monitor.flush()
    assert [one.score for one in monitor.store.scores("polite")] == [1.0, 1.0]
    assert {(run.question, run.answer) for run in monitor.store.runs()} == {("Say hello", "It is so.")}
    assert '"text": "Say hello"' in judge.requests[-1].messages[-1].text


def test_what_is_under_way_at_the_end_is_counted_as_left_out(watch):
    async def never(run):
        await asyncio.sleep(1_000)

    monitor = watch(evaluators=[never], sample=1.0, concurrency=1)
    for _ in range(3):
        monitor.pipeline.run(word="hello")
    monitor._batches.flush(10)
    monitor.close(timeout_s=0.01)
    assert monitor.store.counters()["skipped.closed"] == 3
