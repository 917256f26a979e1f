import copy
import dataclasses
import gc
import logging
import os
import pickle
import random
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
import tracemalloc
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider

from llmops_sdk.calls import Call, Ended, Evaluated, Started
from llmops_sdk.engines import Scripted
from llmops_sdk.errors import ConfigurationError, ServerError
from llmops_sdk.guards import PII, Secrets, guard
from llmops_sdk.messages import Choice, Response
from llmops_sdk.monitoring import Alarm, Monitor, Score, Signal
from llmops_sdk.pipelines import Pipeline
from llmops_sdk.verdicts import Finding, Verdict


def test_a_run_is_kept_with_what_is_known_of_it(watch):
    monitor = watch()
    result = monitor.pipeline.run(word="hello", tags={"team": "a", "user": 7})
    assert monitor.flush()
    (run,) = monitor.store.runs()
    assert (run.id, run.pipeline, run.outcome, run.tags) == (
        result.call.id, "pipeline", "ok", {"team": "a", "user": "7"},
    )  # fmt: skip
    assert abs(run.at - time.time()) < 60
    assert 0 < run.seconds < 60
    assert run.engine == "scripted"
    assert run.cost_usd == result.cost_usd
    assert run.input_tokens == result.usage.input_tokens
    assert {one.name for one in monitor.store.signals()} >= {"error", "blocked", "latency_s", "length", "refusal"}
    assert monitor.counts["observed"] == monitor.counts["stored"] == monitor.store.counters()["stored"] == 1


def test_no_text_is_kept_unless_it_is_asked_for(watch, tmp_path):
    monitor = watch(answer="xyzzy-answer", evaluators={"fine": lambda run: True}, sample=1.0)
    monitor.pipeline.run(word="xyzzy-question")
    assert monitor.flush()
    monitor.close()
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"xyzzy" not in kept


def test_texts_are_kept_as_the_guards_of_the_pipeline_left_them(watch):
    pipeline = "Say {{ word }}" | PII() | Scripted("It is so.")
    monitor = watch(pipeline, content=True)
    monitor.pipeline.run(word="hello")
    monitor.pipeline.run(word="ada@example.org")
    assert monitor.flush()
    plain, found = monitor.store.runs()
    assert (plain.question, plain.answer, plain.variables) == ("Say hello", "It is so.", {"word": "hello"})
    assert "ada@example.org" not in repr(found)


def test_further_guards_clean_what_is_kept(watch):
    @guard
    def no_codes(text):
        return Verdict.block("a code") if "code" in text else Verdict.allow()

    monitor = watch(answer="Write to ada@example.org!", content=[PII(), no_codes])
    monitor.pipeline.run(word="the code")
    assert monitor.flush()
    (run,) = monitor.store.runs()
    assert run.question == "[withheld]"
    assert run.variables == {"word": "[withheld]"}
    assert run.answer.startswith("Write to ")
    assert "ada@" not in run.answer


def test_only_the_tags_that_are_named_are_kept(watch):
    monitor = watch(tags=["team"])
    monitor.pipeline.run(word="hello", tags={"team": "a", "user": "ada"})
    assert monitor.flush()
    assert next(monitor.store.runs()).tags == {"team": "a"}


def test_failed_and_blocked_runs_are_kept_too(watch):
    @guard
    def strict(text):
        return Verdict.block("no") if "bad" in text else Verdict.allow()

    pipeline = "{{ word }}" | strict | Scripted("fine", ServerError("down", engine="scripted", status_code=500))
    monitor = watch(pipeline)
    watched = monitor.pipeline
    watched.run(word="good")
    watched.run(word="bad")
    with pytest.raises(ServerError):
        watched.run(word="good")
    assert monitor.flush()
    runs = list(monitor.store.runs())
    assert [run.outcome for run in runs] == ["ok", "blocked", "ServerError"]
    assert [run.blocked_by for run in runs] == [None, "strict", None]
    assert [(one.value, one.label) for one in monitor.store.signals("error")] == [
        (0.0, None), (0.0, None), (1.0, "ServerError"),
    ]  # fmt: skip
    assert [(one.value, one.label) for one in monitor.store.signals("blocked")][1] == (1.0, "strict")


def test_one_monitor_watches_several_pipelines(watch, tmp_path):
    with Monitor(store=tmp_path / "several.db") as monitor:
        for name in ("one", "two"):
            pipeline = ("Say {{ word }}" | Scripted("so")).with_hooks(monitor)
            pipeline.run(word=name)
        with pytest.raises(ConfigurationError, match="no pipeline of its own"):
            _ = monitor.pipeline
        assert monitor.flush()
        assert len(list(monitor.store.runs())) == 2


async def test_streams_are_observed_with_their_first_chunk(watch):
    monitor = watch()
    async for _ in monitor.pipeline.astream(word="hello"):
        pass
    assert monitor.flush()
    (first,) = monitor.store.signals("first_chunk_s")
    assert 0 <= first.value < 60


def test_own_signals_stand_beside_those_of_the_library(watch):
    sorry = Signal(name="sorry", kind="rate", of=lambda run: ("sorry" in run.answer, "en"))
    monitor = watch(answer="I am sorry", signals=["length", sorry])
    monitor.pipeline.run(word="hello")
    assert monitor.flush()
    assert [(one.name, one.value, one.label) for one in monitor.store.signals()] == [
        ("length", 10.0, None), ("sorry", 1.0, "en"),
    ]  # fmt: skip


def test_a_signal_that_fails_is_counted_and_said_once(watch, caplog):
    def broken(run):
        raise KeyError(run.id)

    wrong = Signal(name="wrong", kind="rate", of=lambda run: 0.5)
    monitor = watch(signals=["length", Signal(name="broken", kind="value", of=broken), wrong])
    for _ in range(3):
        monitor.pipeline.run(word="hello")
    assert monitor.flush()
    assert monitor.counts["signals.failed.broken"] == monitor.counts["signals.failed.wrong"] == 3
    assert len([record for record in caplog.records if "signals.failed" in record.message]) == 2
    assert [one.name for one in monitor.store.signals()] == ["length"] * 3


def test_a_full_queue_costs_no_run_and_is_counted(watch):
    stop = threading.Event()
    slow = Signal(name="slow", kind="rate", of=lambda run: stop.wait(20))
    monitor = watch(signals=[slow], queue=2)
    for _ in range(10):
        assert monitor.pipeline.run(word="hello").text == "It is so."
    stop.set()
    assert monitor.flush()
    counts = monitor.counts
    assert counts["skipped.queue_full"] > 0
    assert counts["stored"] + counts["skipped.queue_full"] == 10
    assert monitor.pipeline.run(word="hello")
    assert monitor.flush()
    assert monitor.store.counters()["skipped.queue_full"] == counts["skipped.queue_full"]


def test_a_locked_store_is_tried_again_and_loses_nothing(watch):
    monitor = watch()
    monitor.store._file.timeout_s = 0.01
    watched = monitor.pipeline
    watched.run(word="hello")
    assert monitor.flush()
    monitor.store.close()
    with sqlite3.connect(monitor.store.path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        watched.run(word="hello")
        assert not monitor.flush(0.5)
        assert monitor.counts["store.failed"] >= 1
        other.execute("ROLLBACK")
    other.close()
    deadline = time.monotonic() + 20
    while not monitor.flush():
        assert time.monotonic() < deadline
    assert monitor.counts["stored"] == len(list(monitor.store.runs())) == 2


def test_a_damaged_store_breaks_no_run_and_is_counted(watch):
    monitor = watch()
    watched = monitor.pipeline
    watched.run(word="hello")
    assert monitor.flush()
    monitor.store.close()
    for end in ("-wal", "-shm"):
        path = monitor.store.path.with_name(monitor.store.path.name + end)
        path.unlink(missing_ok=True)
    monitor.store.path.write_bytes(b"rubbish" * 10_000)
    for _ in range(3):
        assert watched.run(word="hello").text == "It is so."
    monitor.flush()
    assert monitor.counts["stored"] == 1
    assert monitor.counts["skipped.store"] == 3


def test_a_store_that_is_gone_for_long_bounds_what_waits(watch, tmp_path):
    monitor = watch(queue=3)
    monitor._recorder._write = _raises(sqlite3.OperationalError("disk full"))
    for _ in range(10):
        monitor.pipeline.run(word="hello")
        monitor._batches.flush(10)
    assert len(monitor._recorder.waiting) == 3
    assert monitor.counts["skipped.store"] == 7
    del monitor._recorder._write


def _raises(error):
    def write(batch):
        raise error

    return write


def test_a_closed_monitor_takes_nothing_more_and_says_so(watch):
    monitor = watch()
    monitor.pipeline.run(word="hello")
    monitor.close()
    monitor.close()
    monitor.pipeline.run(word="hello")
    assert monitor.counts["stored"] == monitor.counts["skipped.closed"] == 1


def test_a_second_monitor_goes_on_with_the_file(watch):
    for number in (1, 2):
        monitor = watch()
        monitor.pipeline.run(word="hello")
        monitor.close()
        assert len(list(monitor.store.runs())) == monitor.store.counters()["stored"] == number


def test_old_runs_are_forgotten_after_the_days_that_are_kept(watch):
    monitor = watch(keep_days=0.5)
    old = Call(hooks=(monitor,))
    old._started_wall -= 86_400
    for call in (old, Call(hooks=(monitor,))):
        call.record(Started(call.started, "p", False))
        call.record(Ended(call.started, "ok", None))
    assert monitor.flush()
    assert [run.id for run in monitor.store.runs()] == [call.id]


def test_a_process_that_ends_keeps_all_that_has_come(tmp_path):
    code = """
        import sys
        from llmops_sdk.engines import Scripted
        from llmops_sdk.monitoring import Monitor
        async def fine(run):
            return True
        watched = Monitor("Say {{ word }}" | Scripted("so"), store=sys.argv[1], evaluators=[fine], sample=1.0).pipeline
        for _ in range(20):
            watched.run(word="hello")
    """
    path = tmp_path / "monitor.db"
    subprocess.run([sys.executable, "-W", "error", "-c", textwrap.dedent(code), str(path)], check=True, timeout=60)
    with Monitor(store=path) as monitor:
        assert len(list(monitor.store.runs())) == len(list(monitor.store.scores("fine"))) == 20


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_is_watched_too(tmp_path):
    code = """
        import os, sys
        from llmops_sdk.engines import Scripted
        from llmops_sdk.monitoring import Monitor
        monitor = Monitor("Say {{ word }}" | Scripted("so"), store=sys.argv[1])
        watched = monitor.pipeline
        watched.run(word="parent")
        monitor.flush()
        watched.run(word="parent")
        child = os.fork()
        watched.run(word="both")
        monitor.close()
        assert monitor.counts["stored"] == (1 if child == 0 else 3), monitor.counts
        if child:
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    """
    path = tmp_path / "monitor.db"
    subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(path)], check=True, timeout=60)
    with Monitor(store=path) as monitor:
        assert len(list(monitor.store.runs())) == monitor.store.counters()["stored"] == 4


def test_what_was_reported_as_stored_outlives_a_kill(tmp_path):
    code = """
        import os, signal, sys
        from llmops_sdk.engines import Scripted
        from llmops_sdk.monitoring import Monitor
        monitor = Monitor("Say {{ word }}" | Scripted("so"), store=sys.argv[1])
        watched = monitor.pipeline
        for number in range(200):
            watched.run(word="hello")
            if number % 50 == 49:
                monitor.flush()
                print(monitor.counts["stored"], flush=True)
        watched.run(word="hello")
        os.kill(os.getpid(), signal.SIGKILL)
    """
    path = tmp_path / "monitor.db"
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    reported = int(ended.stdout.split()[-1])
    assert reported == 200
    with Monitor(store=path) as monitor:
        assert len(list(monitor.store.runs())) >= reported


def test_alarms_are_kept_called_back_logged_and_counted(watch, caplog):
    told = []

    def broken(alarm):
        raise RuntimeError("pager is down")

    monitor = watch(signals=["length"], on_alarm=[broken, told.append], false_alarms_per_day=0.1)
    chance = random.Random(1)
    for number in range(600):
        call = Call(hooks=(monitor,))
        call._started_wall = 1.8e9 + number
        call.record(Started(call.started, "p", False))
        size = chance.randrange(100, 120) * (1 if number < 300 else 4)
        call.record(Ended(call.started, "ok", None, _answer(size)))
        if number % 100 == 99:  # so that no batch is so large that the detectors see a share of it only
            assert monitor.flush()
    assert monitor.flush()
    (alarm,) = told
    assert (alarm.signal, alarm.direction) == ("length", "up")
    assert list(monitor.store.alarms()) == told
    assert monitor.counts["alarms"] == monitor.counts["on_alarm.failed"] == 1
    assert any(str(alarm) in record.message and record.levelno == logging.WARNING for record in caplog.records)


def _answer(size):
    return Response(choices=(Choice(text="x" * size),))


def test_memory_stays_flat(watch):
    monitor = watch(signals=[])  # detectors have bounds of their own

    def some():
        for _ in range(300):
            call = Call(hooks=(monitor,))
            call.record(Started(call.started, "p", False))
            call.record(Ended(call.started, "ok", None, _answer(10_000)))
        assert monitor.flush()
        gc.collect()

    some()
    tracemalloc.start()
    some()
    before = tracemalloc.get_traced_memory()[0]
    some()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 20_000


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"pipeline": "prompt"}, "watches a pipeline"),
        ({"sample": 2}, "a share from 0 to 1"),
        ({"sample": True}, "a share from 0 to 1"),
        ({"evaluators": "polite"}, "list of functions and guards"),
        ({"evaluators": [lambda run: True]}, "has no name"),
        ({"evaluators": [3]}, "no evaluator"),
        ({"evaluators": [PII(), PII()]}, "two evaluators are called"),
        ({"signals": "length"}, "a list of names"),
        ({"signals": ["lenght"]}, "no signal is called 'lenght'"),
        ({"signals": ["length", "length"]}, "there twice"),
        ({"store": "postgresql://x"}, "is no file"),
        ({"tags": "team"}, "list of names of tags"),
        ({"content": ["pii"]}, "list of guards"),
        ({"tags": 3}, "list of names of tags"),
        ({"on_alarm": [3]}, "function of an alarm"),
        ({"on_alarm": 3}, "function of an alarm"),
        ({"embed": "embedded:"}, "aembed"),
        ({"false_alarms_per_day": 0}, "above 0"),
        ({"season": "month"}, "`season` is"),
        ({"timeout_s": float("nan")}, "above 0"),
        ({"keep_days": -1}, "above 0"),
        ({"concurrency": 0}, "whole number from 1"),
        ({"waiting": 1.5}, "whole number from 0"),
        ({"queue": True}, "whole number from 1"),
        ({"budget_usd": "much"}, "US dollars over 0"),
        ({"budget_usd": -1}, "US dollars over 0"),
        ({"meter_provider": 3}, "MeterProvider"),
    ],
)
def test_a_wrong_option_is_refused_with_words(options, said, tmp_path):
    options = {"store": tmp_path / "m.db", **options}
    pipeline = options.pop("pipeline", None)
    with pytest.raises(ConfigurationError, match=said):
        Monitor(pipeline, **options)


def test_a_wrong_signal_is_refused_with_words():
    for wrong in ({"name": " "}, {"kind": "ratio"}, {"of": 3}):
        with pytest.raises(ConfigurationError, match="signal"):
            Signal(**{"name": "n", "kind": "rate", "of": len, **wrong})


def test_feedback_is_joined_to_its_run_before_and_after(watch):
    monitor = watch()
    result = monitor.pipeline.run(word="hello")
    monitor.feedback(result.call.id, score=False, comment="wrong")
    monitor.feedback("0" * 32, score=1, name="stars", label="great")
    assert monitor.flush()
    late = watch()
    late.feedback(result.call.id, score=0.25)
    assert late.flush()
    scores = list(late.store.scores(run=result.call.id))
    assert [(one.name, one.score, one.explanation, one.by) for one in scores] == [
        ("feedback", 0.0, "wrong", "human"), ("feedback", 0.25, None, "human"),
    ]  # fmt: skip
    (unknown,) = late.store.scores("stars")
    assert (unknown.run, unknown.score, unknown.label) == ("0" * 32, 1.0, "great")


def test_feedback_that_is_recorded_on_the_call_reaches_the_store(watch):
    monitor = watch()
    result = monitor.pipeline.run(word="hello")
    result.call.record(Evaluated(result.call.clock(), "feedback", 0.0, None, "no", "human"))
    assert monitor.flush()
    (score,) = monitor.store.scores("feedback")
    assert (score.run, score.score, score.explanation, score.by) == (result.call.id, 0.0, "no", "human")
    assert abs(score.at - time.time()) < 60


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"score": float("inf")},
        {"score": "good"},
        {"call_id": "", "score": 1},
        {"call_id": 3, "score": 1},
        {"comment": 3},
        {"label": b"x"},
        {"score": 1, "name": None},
    ],
)
def test_feedback_that_says_nothing_is_refused(watch, wrong):
    monitor = watch()
    wrong = {"call_id": "0" * 32, **wrong}
    with pytest.raises(ConfigurationError):
        monitor.feedback(wrong.pop("call_id"), **wrong)


def test_secrets_do_not_reach_the_store_through_the_content(watch, tmp_path):
    token = "gh" + "p_" + "a1B2" * 9
    pipeline = "Say {{ word }}" | Secrets() | Scripted("It is so.")
    monitor = watch(pipeline, content=True)
    monitor.pipeline.run(word=token)
    assert monitor.flush()
    monitor.close()
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert token.encode() not in kept


def sure(run):
    return True


def test_a_pickled_one_is_itself_here_and_one_of_the_same_file_in_another_process(watch):
    monitor = watch(evaluators=[sure], sample=1.0, meter_provider=MeterProvider(shutdown_on_exit=False))
    packed = pickle.dumps(monitor.pipeline)
    assert pickle.loads(packed)._hooks == (monitor,)
    assert copy.deepcopy(monitor) is monitor
    code = """
        import pickle, sys
        packed = sys.stdin.buffer.read()
        pipelines = [pickle.loads(packed) for _ in range(3)]
        assert len({id(one._hooks[0]) for one in pipelines}) == 1
        for one in pipelines:
            one.run(word="there")
    """
    here = str(Path(__file__).parent)
    subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import sys; sys.path.insert(0, {here!r})\n{textwrap.dedent(code)}"],
        input=packed, check=True, timeout=60,
    )  # fmt: skip
    monitor.pipeline.run(word="here")
    assert monitor.flush()
    assert len(list(monitor.store.runs())) == len(list(monitor.store.scores("sure"))) == 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_of_multiprocessing_that_ends_keeps_all_that_has_come(tmp_path):
    path = tmp_path / "monitor.db"
    code = """
        import multiprocessing, sys
        from llmops_sdk.engines import Scripted
        from llmops_sdk.monitoring import Monitor
        def fine(run):
            return True
        def work(path):
            watched = Monitor("Say {{ word }}" | Scripted("so"), store=path, evaluators=[fine], sample=1.0).pipeline
            for _ in range(20):
                watched.run(word="hello")
        if __name__ == "__main__":
            child = multiprocessing.get_context("fork").Process(target=work, args=(sys.argv[1],))
            child.start()
            child.join()
            sys.exit(child.exitcode)
    """
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(code))
    subprocess.run([sys.executable, script, path], check=True, timeout=60)
    with Monitor(store=path) as monitor:
        assert len(list(monitor.store.runs())) == len(list(monitor.store.scores("fine"))) == 20


@pytest.mark.parametrize("wall", [float("nan"), -1e18, 1e300])
def test_a_clock_that_tells_nonsense_spoils_neither_the_store_nor_the_report(watch, tmp_path, wall):
    monitor = watch()
    call = Call(hooks=(monitor,))
    call._started_wall = wall
    call.record(Started(call.started, "p", False))
    call.record(Ended(call.started, "ok", None))
    assert monitor.flush()
    assert monitor.counts == {"observed": 1, "stored": 1}
    assert monitor.report(tmp_path / "week.html").stat().st_size > 1_000


def test_what_a_store_never_took_is_counted_when_the_monitor_closes(watch):
    monitor = watch()
    monitor._recorder._write = _raises(sqlite3.OperationalError("read-only"))
    for _ in range(3):
        monitor.pipeline.run(word="hello")
    monitor.close(timeout_s=0.3)
    assert monitor.counts["skipped.store"] == 3


def test_one_that_is_closed_by_its_own_alarm_does_not_wait_for_itself(watch):
    closed = threading.Event()

    def close(alarm):
        monitor.close(timeout_s=60)
        closed.set()

    monitor = watch(on_alarm=close)
    alarm = Alarm(signal="s", at=2.0, direction="up", before=1.0, now=2.0, since=1.0, evidence=1.0, message="up")
    monitor._recorder._detecting.see = lambda writing, seen: [alarm]
    monitor.pipeline.run(word="hello")
    assert closed.wait(10)
    assert monitor.counts["stored"] == 1


def test_what_a_machine_takes_by_itself_is_no_change_of_latency(watch):
    monitor = watch(signals=["latency_s"], season=None, false_alarms_per_day=100)
    for number in range(1_000):
        call = Call(hooks=(monitor,))
        call._started_wall = 1.8e9 + number
        call.record(Started(call.started, "p", False))
        call.record(Ended(call.started + (0.0001 if number < 500 else 0.004), "ok", None, _answer(3)))
        if number % 100 == 99:
            assert monitor.flush()
    assert "alarms" not in monitor.counts
    assert max(one.value for one in monitor.store.signals("latency_s")) == pytest.approx(0.004)


def test_when_many_wait_an_even_share_is_read_whole_and_the_rest_is_counted(watch):
    monitor = watch(signals=["length", "refusal"])
    monitor._batches.put = lambda item: True
    calls = []
    for _ in range(300):
        call = Call()
        call.record(Started(call.started, "p", False))
        call.record(Ended(call.started, "ok", None, _answer(3)))
        calls.append(call)
    monitor._recorder.work(calls[:150])
    assert "skipped.signals_busy" not in monitor.counts
    monitor._recorder._ways = dataclasses.replace(monitor._recorder._ways, fill=lambda: 0.3)
    monitor._recorder.work(calls[150:])
    assert monitor.counts["skipped.signals_busy"] == monitor.counts["skipped.detectors_busy"] == 75
    assert len(list(monitor.store.signals("length"))) == len(list(monitor.store.runs())) == 300
    read = {one.run for one in monitor.store.signals("refusal")}
    assert read == {call.id for call in [*calls[:150], *calls[150::2]]}


@pytest.mark.parametrize("stage", ["input", "output"])
@pytest.mark.parametrize("content", [True, False])
def test_what_a_guard_found_is_in_no_byte_of_the_store_the_report_and_the_log(watch, tmp_path, caplog, stage, content):
    key = "k-" + "9Zq4" * 6

    @guard
    def finds(text):
        at = text.find(key)
        return Verdict.allow() if at < 0 else Verdict.rewrite(
            text.replace(key, "KEY"), [Finding(kind="key", start=at, end=at + len(key))]
        )  # fmt: skip

    def says(run):
        return Score(score=0.1, label=f"about {key}", explanation=f"because of {key}")

    def breaks(run):
        raise ValueError(f"cannot read {key}")

    signals = [Signal(name="own", kind="rate", of=lambda run: (1, key)), Signal(name="bad", kind="rate", of=breaks)]
    answers = Scripted(f"{key.upper()} and {key}")
    line = (finds, answers) if stage == "input" else (answers, finds)
    pipeline = Pipeline("Say {{ word }}", *line)
    monitor = watch(pipeline, evaluators=[says, breaks], sample=1.0, content=content, signals=signals)
    result = monitor.pipeline.run(word=key, tags={"who": key, "n": {"of": [key]}})
    result.feedback(score=0, comment=f"it said {key}", label=key, name=f"of {key}")
    assert monitor.flush()
    monitor.report(tmp_path / "report.html")
    assert monitor.export_cases(tmp_path / "cases.jsonl") == 1
    for file in tmp_path.iterdir():  # the WAL, too
        assert key.encode() not in file.read_bytes(), file
    assert key not in caplog.text
    assert "it said [found by a guard]" in (tmp_path / "cases.jsonl").read_text()
