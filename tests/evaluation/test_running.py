"""What `evaluate` runs, in which order, how much at once, and what it does not run again."""

import asyncio
import dataclasses
import os
import re
import sqlite3
import subprocess
import sys
import time
from decimal import Decimal

import pytest
from pydantic import BaseModel

from llmops_sdk import Pipeline, Prompt, Scripted
from llmops_sdk.costs import Price, PriceTable
from llmops_sdk.errors import ConfigurationError, DatasetError, EvaluationError, LimitExceeded
from llmops_sdk.evaluation import Case, Dataset, Metric, Score, aevaluate, evaluate, metric, metrics
from llmops_sdk.evaluation._running.stopping import Stopping
from llmops_sdk.evaluation._running.store import Ending, Store
from llmops_sdk.messages import Usage
from llmops_sdk.prompts import PromptRepository

DATA = Dataset([Case(input={"n": n}, expected=str(n), id=f"case-{n}") for n in range(6)])


@metric(version="1", blocks=False)
def length(case, result):
    return len(result.text)


def echo(request):
    return re.findall(r"\d+", request.messages[-1].text)[-1]


def asked(engine):
    return [request.messages[-1].text for request in engine.requests]


def ran(pipelines, data=DATA, given=(length,), **options):
    return evaluate(pipelines, data, list(given), **{"progress": False, "concurrency": 2, **options})


def kept(path, table):
    db = sqlite3.connect(path)
    try:
        return db.execute(f"SELECT * FROM {table}").fetchall()
    finally:
        db.close()


# Order and concurrency.


def test_cells_are_run_case_by_case_and_no_pipeline_is_always_first():
    engine = Scripted(echo)
    ran({"a": "a {{ n }}" | engine, "b": "b {{ n }}" | engine}, concurrency=1)
    said = asked(engine)
    assert [one.split()[1] for one in said] == [str(n) for n in range(6) for _ in range(2)]
    assert {one[0] for one in said[::2]} == {"a", "b"}


class Counting:
    """Counts how many are under way."""

    def __init__(self):
        self.now = self.most = 0

    async def __call__(self, request):
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.002)
        self.now -= 1
        return "7"


def test_no_more_runs_are_under_way_than_asked_for():
    counting = Counting()
    ran({"a": "a {{ n }}" | Scripted(counting), "b": "b {{ n }}" | Scripted(counting)}, repeats=3, concurrency=5)
    assert counting.most == 5


def test_an_engine_that_says_how_much_it_takes_is_asked_no_more_at_once():
    class Slow(Scripted):
        concurrency = 3

    slow, fast = Counting(), Counting()
    ran({"a": "{{ n }}" | Slow(slow), "b": "{{ n }}" | Scripted(fast)}, repeats=4, concurrency=None)
    assert slow.most == 3
    assert fast.most > 3


def test_a_limit_without_room_before_the_deadline_is_waited_for():
    full = LimitExceeded("no room: 3 requests", limit="3 requests", retry_after_s=0.01)
    engine = Scripted(full, full, "7")
    found = ran({"a": "{{ n }}" | engine}, concurrency=1, deadline_s=1)
    assert [row[2] for row in kept(found._store.path, "runs")] == [None] * 6
    assert len(engine.requests) == 18


def test_a_limit_that_will_never_have_room_fails_the_run():
    engine = Scripted(LimitExceeded("larger than the limit", limit="3 tokens"))
    found = ran({"a": "{{ n }}" | engine}, concurrency=1)
    assert ["larger" in row[2] for row in kept(found._store.path, "runs")] == [True] * 6


# What is not run again.


def test_a_finished_experiment_asks_nobody_again_and_finds_the_same(tmp_path):
    engine = Scripted(echo)
    pipelines = {"a": "a {{ n }}" | engine, "b": "b {{ n }}" | engine}
    first = ran(pipelines, store=tmp_path / "e.db", repeats=2)
    number = len(engine.requests)
    again = ran(pipelines, store=tmp_path / "e.db", repeats=2)
    assert number == 24
    assert len(engine.requests) == number
    assert again.id == first.id
    assert str(again) == str(first)


def test_more_repeats_more_cases_or_another_pipeline_run_only_what_is_new(tmp_path):
    engine = Scripted(echo)
    pipelines = {"a": "a {{ n }}" | engine, "b": "b {{ n }}" | engine}
    ran(pipelines, store=tmp_path / "e.db")
    ran(pipelines, store=tmp_path / "e.db", repeats=2)
    assert len(engine.requests) == 24
    more = [*DATA, Case(input={"n": 77}, id="new")]
    ran(pipelines, more, store=tmp_path / "e.db", repeats=2)
    assert len(engine.requests) == 28
    ran({**pipelines, "c": "c {{ n }}" | engine}, more, store=tmp_path / "e.db", repeats=2)
    assert len(engine.requests) == 28 + 14
    ran({"other name": pipelines["a"], "b": pipelines["b"]}, store=tmp_path / "e.db")
    assert len(engine.requests) == 28 + 14


def test_two_pipelines_that_are_equal_are_both_run(tmp_path):
    engine = Scripted(echo)
    ran({"a": "{{ n }}" | engine, "b": "{{ n }}" | engine}, store=tmp_path / "e.db")
    assert len(engine.requests) == len(kept(tmp_path / "e.db", "runs")) == 12  # each has its own answers


def test_another_prompt_model_or_version_is_run_anew(tmp_path):
    engine = Scripted(echo)
    ran({"a": "{{ n }}" | engine}, store=tmp_path / "e.db")
    ran({"a": "{{ n }}!" | engine}, store=tmp_path / "e.db")
    ran({"a": "{{ n }}!" | engine}, store=tmp_path / "e.db", versions={"a": "2"})
    ran({"a": "{{ n }}!" | engine}, store=tmp_path / "e.db", versions={"a": "2"})
    assert len(engine.requests) == 18


def test_a_metric_that_is_new_scores_the_runs_that_are_there(tmp_path):
    engine = Scripted(echo)
    pipelines = {"a": "a {{ n }}" | engine, "b": "b {{ n }}" | engine}
    ran(pipelines, store=tmp_path / "e.db")
    found = ran(pipelines, given=[length, metrics.Exact()], store=tmp_path / "e.db")
    assert len(engine.requests) == 12
    assert {one.name: one.score.value for cell in found.cells() for one in cell.scores} == {
        "length": 1.0,
        "exact": 1.0,
    }


def test_what_had_failed_is_tried_again_unless_told_otherwise(tmp_path, monkeypatch):
    monkeypatch.setenv("BROKEN", "1")  # what a function has in reach would be a part of the key

    def sometimes(request):
        if "BROKEN" in os.environ and "3" in request.messages[-1].text:
            raise RuntimeError("no")
        return "7"

    @metric(version="1", blocks=False)
    def picky(case, result):
        if "BROKEN" in os.environ and case.id == "case-2":
            raise ValueError("not this one")
        return {"one": 1.0}

    engine = Scripted(sometimes)

    def go(**options):
        found = ran({"a": "{{ n }}" | engine}, given=[picky], store=tmp_path / "e.db", **options)
        scores = {(cell.case, one.name): one.error is None for cell in found.cells() for one in cell.scores}
        return scores, [row for row in kept(tmp_path / "e.db", "runs") if row[2] is not None]

    scores, failed = go()
    assert len(failed) == 1
    assert "RuntimeError" in failed[0][2] or "no" in failed[0][2]
    assert [case for (case, _), ok in scores.items() if not ok] == ["case-2"]
    number = len(engine.requests)
    assert go(retry_failed=False) == (scores, failed)
    monkeypatch.delenv("BROKEN")
    assert go(retry_failed=False) == (scores, failed)
    assert len(engine.requests) == number
    scores, failed = go()
    assert failed == []
    assert scores == {(f"case-{n}", "picky.one"): True for n in range(6)}
    assert len(engine.requests) == number + 1


def test_a_metric_of_failures_scores_failed_runs_and_anew_when_they_are_repeated(tmp_path):
    """What it said of a run that was repeated goes with that run, also where nothing asks it then."""
    pipelines = {"a": "{{ n }}" | Scripted(*"012", RuntimeError("down"), "4", "5", "3")}
    given = [metrics.Succeeded(), length]

    def said(**options):
        found = ran(pipelines, given=given, store=tmp_path / "e.db", concurrency=1, **options)
        return {(cell.case, one.name): one.score.value for cell in found.cells() for one in cell.scores}

    fine = {(f"case-{n}", name): 1.0 for n in range(6) for name in ("succeeded", "length")}
    failed = {**fine, ("case-3", "succeeded"): 0.0}
    del failed["case-3", "length"]
    assert said() == failed
    with Store(tmp_path / "e.db")._open() as db:
        db.execute("DELETE FROM scores WHERE value = 0")
    assert said(retry_failed=False) == failed  # as a new metric: it scores the failure that is there
    given = [length]
    said()
    assert {row[3] for row in kept(tmp_path / "e.db", "scores")} == {1.0}
    given = [metrics.Succeeded(), length]
    assert said() == fine


def test_metrics_are_shown_what_the_file_has_of_an_answer_that_has_just_come(tmp_path):
    seen = []

    def see(result):
        attempts = [event for event in result.call.events if hasattr(event, "chunks")]
        return [type(result.error), str(result.error), result.resumed, [one.request.messages for one in attempts]]

    class Seeing(Metric):
        name = "seeing"
        scores_failures = True
        version = "1"

        def __call__(self, case, result):
            seen.append(see(result))
            return 1.0

    pipelines = {"a": "{{ n }}" | Scripted("7", RuntimeError("down"))}
    ran(pipelines, list(DATA)[:2], given=[Seeing()], store=tmp_path / "e.db", concurrency=1)
    with Store(tmp_path / "e.db")._open() as db:
        db.execute("DELETE FROM scores")
    ran(pipelines, list(DATA)[:2], given=[Seeing()], store=tmp_path / "e.db", concurrency=1, retry_failed=False)
    assert len(seen) == 4
    assert seen[:2] == seen[2:]


def test_of_two_that_asked_at_once_the_first_answer_stays_and_both_score_it(tmp_path):
    texts = []

    @metric(version="1", blocks=False)
    def telling(case, result):
        texts.append(result.text)
        return 1.0

    engine = Scripted("first", "the second", delay_s=0.1)
    pipelines = {"a": "{{ n }}" | engine}

    async def both():
        options = {"store": tmp_path / "e.db", "progress": False}
        await asyncio.gather(
            aevaluate(pipelines, list(DATA)[:1], [telling], **options),
            aevaluate(pipelines, list(DATA)[:1], [telling, length], **options),
        )

    asyncio.run(both())
    assert len(engine.requests) == 2
    assert texts == ["first", "first"]
    assert [row[3] for row in kept(tmp_path / "e.db", "scores") if row[2] == "length"] == [5.0]


class Elsewhere:
    """An executor that asks in this process."""

    async def results(self, pipeline, rows, options):
        for index, row in rows:
            yield dataclasses.replace(await pipeline.aresult(row), index=index)


def test_what_an_executor_ran_is_shown_as_run_and_metrics_that_failed_are_asked_again(tmp_path, caplog, capsys):
    thing = (one for one in "abc")
    pipelines = {"a": "{{ n }}" | Scripted(lambda _: str(bool(thing)))}
    broken = [True]

    class Sometimes(Metric):
        name = "sometimes"
        version = "1"

        def __call__(self, case, result):
            if broken:
                raise ValueError("no")
            return 1.0

    def go():
        return ran(pipelines, given=[Sometimes()], store=tmp_path / "e.db", executor=Elsewhere(), progress=True)

    go()
    assert "6 cells: 6 ok, 0 blocked, 0 failed; 6 scores failed" in capsys.readouterr().err
    assert caplog.text == ""
    broken.clear()
    assert [one.error for cell in go().cells() for one in cell.scores] == [None] * 6
    assert "6 from the store" in capsys.readouterr().err
    assert "6 runs of 'a' are those of an earlier call" in caplog.text


def test_typed_answers_are_typed_again_where_a_new_metric_scores_them(tmp_path):
    class Answer(BaseModel):
        n: int

    seen = []

    @metric(version="1", blocks=False)
    def typed(case, result):
        seen.append(result.output)
        return True

    pipeline = Prompt.from_string("{{ n }}", output=Answer) | Scripted('{"n": 3}')
    ran({"a": pipeline}, [Case(input={"n": 1})], store=tmp_path / "e.db")
    ran({"a": pipeline}, [Case(input={"n": 1})], [typed], store=tmp_path / "e.db")
    assert seen == [Answer(n=3)]


# Prompts.


def repository(tmp_path):
    def git(*arguments):
        subprocess.run(
            ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *arguments], check=True
        )

    def write(text):
        (tmp_path / "prompts").mkdir(exist_ok=True)
        (tmp_path / "prompts" / "p.prompt.md").write_text(text)
        git("add", "-A")
        git("commit", "-qm", "x")

    git("init", "-q")
    return write


def test_a_label_that_moves_while_it_runs_changes_nothing_and_the_arm_is_kept(tmp_path):
    write = repository(tmp_path)
    write("one {{ n }}")
    prompts = PromptRepository(tmp_path)
    prompts.label("prod", "HEAD")
    write("two {{ n }}")
    split = Prompt.split({"p@prod": 0.5, "p@HEAD": 0.5}, key="n", repository=prompts)
    engine = Scripted(lambda request: (prompts.label("prod", "HEAD"), "7")[1])
    data = [Case(input={"n": str(n)}) for n in range(12)]
    ran({"a": split | engine}, data, concurrency=1, store=tmp_path / "e.db")
    assert {one.split()[0] for one in asked(engine)[1:]} == {"one", "two"}
    assert all('"arm"' in row[1] for row in kept(tmp_path / "e.db", "records"))


# Bad input.


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"repeats": 0}, "`repeats`"),
        ({"repeats": True}, "`repeats`"),
        ({"concurrency": 0}, "`concurrency`"),
        ({"base": "c"}, "`base` is one of 'a'"),
        ({"budget_usd": -1}, "`budget_usd`"),
        ({"budget_usd": "much"}, "`budget_usd`"),
        ({"stop_when": "tired"}, "`stop_when`"),
        ({"deadline_s": 0}, "`deadline_s`"),
        ({"metric_deadline_s": float("nan")}, "`metric_deadline_s`"),
        ({"versions": {"c": "1"}}, "`versions` names 'c'"),
        ({"primary": "exact"}, "`primary`"),
        ({"level": 2}, "level"),
        ({"executor": "slurm"}, "'slurm'"),
        ({"executor": "ray", "budget_usd": 1}, "leave `budget_usd`"),
        ({"stop_when": "significant"}, "two pipelines"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_before_anybody_is_asked(options, words):
    engine = Scripted("7")
    with pytest.raises(ConfigurationError, match=re.escape(words)):
        ran({"a": "{{ n }}" | engine}, **options)
    assert engine.requests == []


@pytest.mark.parametrize("pipelines", [{}, "a", {"": "{{ n }}" | Scripted("7")}, {"a": Scripted("7")}, {1: 2}])
def test_what_is_no_pipeline_is_refused(pipelines):
    with pytest.raises(ConfigurationError, match="pipeline"):
        ran(pipelines)


def test_no_cases_and_equal_ids_are_refused(tmp_path):
    pipelines = {"a": "{{ n }}" | Scripted("7")}
    with pytest.raises(DatasetError, match="no cases"):
        ran(pipelines, [])
    with pytest.raises(DatasetError, match="both have the id 'x'"):
        ran(pipelines, [Case(input={"n": n}, id="x") for n in range(2)])


def test_a_metric_without_a_version_is_refused_where_scores_are_kept(tmp_path):
    thing = (one for one in "abc")

    def closed(case, result):
        return bool(thing)

    with pytest.raises(ConfigurationError, match="metric 'closed' has no version"):
        ran({"a": "{{ n }}" | Scripted("7")}, given=[closed], store=tmp_path / "e.db")
    assert ran({"a": "{{ n }}" | Scripted("7")}, given=[closed]).id


def test_runs_of_a_pipeline_that_cannot_be_compared_are_not_reused_in_silence(tmp_path, caplog):
    thing = (one for one in "abc")
    pipelines = {"a": "{{ n }}" | Scripted(lambda _: str(bool(thing)))}
    found = ran(pipelines, store=tmp_path / "e.db")
    assert list(found._plan.unpinned) == ["a"]
    assert caplog.text == ""
    ran(pipelines, store=tmp_path / "e.db")
    assert "6 runs of 'a' are those of an earlier call" in caplog.text
    assert "versions={'a': '2'}" in caplog.text
    caplog.clear()
    ran(pipelines, store=tmp_path / "e.db", versions={"a": "1"})
    ran(pipelines, store=tmp_path / "e.db", versions={"a": "1"})
    assert caplog.text == ""


def test_a_store_that_is_no_store_is_refused(tmp_path):
    (tmp_path / "e.db").write_text("something else, which is no data base")
    with pytest.raises(ConfigurationError, match="no SQLite file"):
        ran({"a": "{{ n }}" | Scripted("7")}, store=tmp_path / "e.db")


# Two at once, and interruptions.


def test_the_folder_of_a_store_is_made_and_a_damaged_store_is_refused_with_what_to_do(tmp_path):
    path = tmp_path / "nowhere" / "e.db"
    ran({"a": "{{ n }}" | Scripted("7")}, store=path)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    with pytest.raises(EvaluationError, match="is damaged: take a copy"):
        ran({"a": "{{ n }}" | Scripted("7")}, store=path)


def test_an_engine_that_never_waits_does_not_keep_what_is_finished_from_being_written(tmp_path):
    written = []

    def answer(request):
        number = int(request.messages[-1].text)
        if number == 700:
            written.append(len(kept(tmp_path / "e.db", "runs")))
        return "7"

    ran({"a": "{{ n }}" | Scripted(answer)}, [Case(input={"n": n}) for n in range(900)], store=tmp_path / "e.db")
    assert written[0] > 500


def test_a_second_process_is_told_who_runs_the_experiment(tmp_path):
    program = (
        "import sys; from llmops_sdk import Scripted; from llmops_sdk.evaluation import evaluate, Case\n"
        "print('begun', flush=True)\n"
        "evaluate({'a': '{{ n }}' | Scripted('7', delay_s=30)}, [Case(input={'n': 1})], [], store=sys.argv[1],"
        " progress=False)"
    )
    store = tmp_path / "e.db"
    with subprocess.Popen([sys.executable, "-c", program, str(store)], stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        end = time.monotonic() + 20
        while not any(one.read_text() for one in tmp_path.glob("e.db-*.lock")) and time.monotonic() < end:
            time.sleep(0.01)
        same = {"a": "{{ n }}" | Scripted("7", delay_s=30)}
        with pytest.raises(EvaluationError, match=f"by the process {other.pid}"):
            evaluate(same, [Case(input={"n": 1})], [], store=store, progress=False)
        other.kill()


def test_experiments_of_one_file_may_run_at_once(tmp_path):
    async def both():
        one = {"a": "a {{ n }}" | Scripted(echo, delay_s=0.005)}
        other = {"a": "b {{ n }}" | Scripted(echo, delay_s=0.005)}
        store = tmp_path / "e.db"
        await asyncio.gather(
            *(aevaluate(each, DATA, [length], store=store, progress=False, concurrency=2) for each in (one, other))
        )

    asyncio.run(both())
    assert len(kept(tmp_path / "e.db", "runs")) == 12
    assert list(tmp_path.glob("*.lock")) == []


def test_whoever_interrupts_it_keeps_what_is_finished_and_is_told_how_to_go_on(tmp_path):
    engine = Scripted(echo, delay_s=0.01)
    pipelines = {"a": "{{ n }}" | engine}

    async def interrupted():
        work = asyncio.create_task(
            aevaluate(pipelines, DATA, [length], store=tmp_path / "e.db", progress=False, concurrency=1)
        )
        while len(engine.requests) < 4:  # noqa: ASYNC110  (the engine has no event)
            await asyncio.sleep(0.001)
        work.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await work
        return caught.value

    error = asyncio.run(interrupted())
    assert "the same call goes on from there" in error.__notes__[0]
    done = len(kept(tmp_path / "e.db", "runs"))
    assert 0 < done < 6
    number = len(engine.requests)
    ran(pipelines, store=tmp_path / "e.db")
    assert len(engine.requests) - number == 6 - done


def test_a_file_that_cannot_be_written_ends_it_with_words(tmp_path, monkeypatch):
    def full(*_, **__):
        raise sqlite3.OperationalError("database or disk is full")

    engine = Scripted(echo)

    async def go():
        store = tmp_path / "e.db"
        Store(store).close()
        monkeypatch.setattr("llmops_sdk.evaluation._running.store.transaction", full)
        await aevaluate({"a": "{{ n }}" | engine}, DATA, [length], store=store, progress=False, concurrency=1)

    with pytest.raises(EvaluationError, match="disk is full"):
        asyncio.run(go())


# Money.


PRICES = PriceTable({"priced": Price(input=Decimal(1), output=Decimal(1))})


def priced(*answers):
    engine = Scripted(*answers, model="priced", usage=Usage(input_tokens=500, output_tokens=500))
    return engine, Pipeline(Prompt.from_string("{{ n }}", max_tokens=500), engine, prices=PRICES)


def test_it_ends_where_the_money_is_spent_and_goes_on_with_more(tmp_path, caplog):
    engine, pipeline = priced("7")
    found = ran({"a": pipeline}, budget_usd="0.0025", store=tmp_path / "e.db")
    assert len(engine.requests) == 2
    assert Store(tmp_path / "e.db").ending(found.id) == Ending("budget")
    assert "`budget_usd` is spent" in caplog.text
    assert "the same call goes on from there" in caplog.text
    again = ran({"a": pipeline}, budget_usd="0.1", store=tmp_path / "e.db")
    assert again.id == found.id
    assert len(engine.requests) == 6
    assert Store(tmp_path / "e.db").ending(found.id) == Ending("complete")
    assert {Decimal(row[4]) for row in kept(tmp_path / "e.db", "runs")} == {Decimal("0.001")}


def test_runs_and_judges_together_never_spend_more_than_the_budget_and_go_on_with_more(tmp_path):
    judged = 0

    @metric(version="1")
    async def judge(case, result):
        nonlocal judged
        await asyncio.sleep(0.001)
        judged += 1
        return Score(value=1.0, cost_usd=Decimal("0.004"))

    engine, pipeline = priced("7")
    cases = [Case(input={"n": n}) for n in range(60)]
    found = ran(
        {"a": pipeline}, cases, given=[judge, length], budget_usd="0.1", store=tmp_path / "e.db", concurrency=64
    )
    assert Decimal("0.07") < found.cost_usd + found.judging_cost_usd <= Decimal("0.1")
    assert (found.cost_usd, found.judging_cost_usd) == (len(engine.requests) / Decimal(1000), judged * Decimal("0.004"))
    assert Store(tmp_path / "e.db").ending(found.id) == Ending("budget")
    unjudged = [cell for cell in found.cells() if [one.name for one in cell.scores] == ["length"]]
    assert len(unjudged) == len(engine.requests) - judged  # what costs nothing is scored, and no judge counts as zero

    ran({"a": pipeline}, cases, given=[judge, length], budget_usd=1, store=tmp_path / "e.db", concurrency=64)
    assert (len(engine.requests), judged) == (60, 60)


def test_a_plain_metric_that_has_cost_something_is_held_to_the_budget_from_then_on(tmp_path):
    @metric(version="1", blocks=False)
    def judge(case, result):
        return Score(value=1.0, cost_usd=Decimal("0.004"))

    engine, pipeline = priced("7")
    ran({"a": pipeline}, given=[judge], budget_usd="0.011", store=tmp_path / "e.db", concurrency=1)
    assert 2 <= len(engine.requests) <= 3


def test_a_judge_is_not_asked_with_less_than_the_dearest_has_cost(tmp_path):
    judged = []

    @metric(version="1")
    async def judge(case, result):
        judged.append(case.id)
        return Score(value=1.0, cost_usd=Decimal("0.4"))

    _, pipeline = priced("7")
    found = ran({"a": pipeline}, given=[judge], budget_usd=1, store=tmp_path / "e.db", concurrency=1)
    assert len(judged) == 2  # of the 0.2 USD that are left none can be paid
    assert found.judging_cost_usd == Decimal("0.8")


@pytest.mark.parametrize("kind", ["plain", "blocking", "async"])
def test_a_judge_that_gave_no_grade_is_paid_and_what_it_cost_is_not_forgotten(tmp_path, kind):
    class NoGradeError(Exception):
        cost_usd = Decimal("0.25")

    broken = [True]

    def judge(case, result):
        if broken:
            raise NoGradeError("hm")
        return Score(value=1.0, cost_usd=Decimal("0.5"))

    async def later(case, result):
        await asyncio.sleep(0)
        return judge(case, result)

    one = metric(later if kind == "async" else judge, name="judge", version="1", blocks=kind == "blocking")

    def go(**options):
        return ran({"a": "{{ n }}" | Scripted("7")}, given=[one], store=tmp_path / "e.db", **options)

    assert go().judging_cost_usd == Decimal("1.5")
    assert go().judging_cost_usd == Decimal(3)  # paid once more
    broken.clear()
    assert go(retry_failed=False).judging_cost_usd == Decimal(3)
    assert go().judging_cost_usd == Decimal(6)
    assert go().judging_cost_usd == Decimal(6)


async def test_a_stopping_rule_sees_a_case_only_when_its_pairs_are_judged_too(tmp_path, monkeypatch):
    seen = []
    observe = Stopping.observe

    def observed(self, case, scores):
        seen.append({name for of_arm in scores.values() for name in of_arm})
        observe(self, case, scores)

    class Closer(Metric):
        name, pairwise, bounds, version = "closer", True, (-1.0, 1.0), "1"

        async def __call__(self, case, base, new):
            await asyncio.sleep(0.001 * (case.input["n"] % 5))
            return 0.0

    monkeypatch.setattr(Stopping, "observe", observed)
    await aevaluate(
        {"a": "{{ n }}" | Scripted("1"), "b": "{{ n }}" | Scripted("2")},
        [Case(input={"n": n}) for n in range(40)],
        [Closer()],
        stop_when="significant",
        progress=False,
    )
    assert seen == [{"closer"}] * 40


def test_a_price_that_nobody_knows_ends_an_experiment_with_a_budget_and_the_run_is_kept(tmp_path):
    engine = Scripted("7")
    pipeline = Prompt.from_string("{{ n }}", max_tokens=500) | engine
    with pytest.raises(EvaluationError, match="nobody knows"):
        ran({"a": pipeline}, budget_usd=1, store=tmp_path / "e.db", concurrency=1)
    assert len(kept(tmp_path / "e.db", "runs")) == len(engine.requests)


def test_what_a_try_that_failed_has_cost_is_not_forgotten(tmp_path):
    _, pipeline = priced(RuntimeError("no"), "7")
    ran({"a": pipeline}, [Case(input={"n": 1})], store=tmp_path / "e.db")
    db = sqlite3.connect(tmp_path / "e.db")
    db.execute("UPDATE runs SET cost_usd = '0.5' WHERE error IS NOT NULL")  # as if it had been cut off late
    db.commit()
    db.close()
    ran({"a": pipeline}, [Case(input={"n": 1})], store=tmp_path / "e.db")
    assert Decimal(kept(tmp_path / "e.db", "runs")[0][4]) == Decimal("0.501")


def test_hooks_tags_and_deadlines_reach_the_runs():
    seen = []
    ran(
        {"a": "{{ n }}" | Scripted("7", delay_s=5)},
        [Case(input={"n": 1})],
        deadline_s=0.01,
        tags={"team": "docs"},
        hooks=[lambda event, call: seen.append((type(event).__name__, call.tags["team"]))],
    )
    assert ("Ended", "docs") in seen


# Pairs and stops.


class Longer(Metric):
    name = "longer"
    pairwise = True
    bounds = (-1.0, 1.0)

    def configuration(self):
        return {}

    def __call__(self, case, base, new):
        return float(len(new.text) > len(base.text))


def test_pairwise_metrics_see_both_answers_also_those_that_were_there(tmp_path):
    store = tmp_path / "e.db"
    engine = Scripted(lambda request: request.messages[-1].text)
    pipelines = {"a": "{{ n }}" | engine, "b": "{{ n }} more" | engine}
    ran(pipelines, store=store)
    ran(pipelines, given=[length, Longer()], store=store)
    assert len(engine.requests) == 12
    assert [row[3] for row in kept(store, "scores") if row[2] == "longer"] == [1.0] * 6


def test_it_stops_when_it_is_clear_and_what_takes_no_part_is_not_asked_again(tmp_path):
    engine = Scripted(lambda request: "good" if "new" in request.messages[-1].text else "bad")

    @metric(version="1", blocks=False, bounds=(0, 1))
    def good(case, result):
        return result.text == "good"

    data = Dataset([Case(input={"n": n}, cluster=f"c{n // 2}") for n in range(2000)])
    pipelines = {"a": "{{ n }}" | engine, "b": "new {{ n }}" | engine}
    found = ran(pipelines, data, [good], stop_when="significant", store=tmp_path / "e.db", concurrency=8)
    number = len(engine.requests)
    assert number < 1000
    ending = Store(tmp_path / "e.db").ending(found.id)
    assert ending.reason == "decided"
    assert len(kept(tmp_path / "e.db", "cells")) == 2 * ending.observed
    assert ending.observed % 2 == 0  # whole clusters
    again = ran(pipelines, data, [good], stop_when="significant", store=tmp_path / "e.db", concurrency=8)
    assert len(engine.requests) == number
    assert Store(tmp_path / "e.db").ending(again.id) == ending
    positions = [row[1] for row in kept(tmp_path / "e.db", "cells")]
    assert max(positions) > 3 * ending.observed  # not the first ones of the file


def test_without_a_stop_all_cases_are_asked_and_the_end_is_kept(tmp_path):
    found = ran({"a": "{{ n }}" | Scripted("7")}, store=tmp_path / "e.db")
    assert Store(tmp_path / "e.db").ending(found.id) == Ending("complete")
