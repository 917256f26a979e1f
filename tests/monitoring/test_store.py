import sqlite3
import subprocess
import sys
import textwrap
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.monitoring import Alarm, Store, StoredRun, StoredScore, StoredSignal
from llmops_sdk.monitoring._schema import run_of, run_row
from llmops_sdk.monitoring._store import opened_store

RUN = StoredRun(id="a" * 32, at=100.0, pipeline="support", outcome="ok", seconds=0.5)


def signal(run, name, value, kind="value", label=None):
    return StoredSignal(run=run.id, at=run.at, name=name, kind=kind, value=value, label=label)


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "monitor.db")
    yield store
    store.close()


def test_what_is_written_is_read_again(store):
    run = replace(
        RUN, tags={"team": "a"}, cost_usd=Decimal("0.000000000000000000012"), input_tokens=3, output_tokens=4,
        model="m", engine="e", prompt="p", prompt_version="prod", prompt_commit="9f", blocked_by="pii", sampled=True,
        question="Why?", answer="So.", variables={"name": "Ada", "documents": [{"id": "1", "text": "t"}]},
    )  # fmt: skip
    signals = [signal(run, "length", 3.0), signal(run, "refusal", 1.0, "rate", "en")]
    score = StoredScore(run=run.id, at=101.0, name="helpful", score=0.5, label="so", explanation="it is", by="llm")
    failed = StoredScore(run="unknown", at=102.0, name="helpful", error="ValueError", cost_usd=Decimal("0.01"))
    alarm = Alarm(
        signal="length",
        at=103.0,
        direction="up",
        before=1.0,
        now=2.0,
        since=90.0,
        observations=4,
        evidence=7.5,
        message="longer",
    )
    with store.writing() as writing:
        assert writing.run(run, signals)
        writing.score(score)
        writing.score(failed)
        writing.alarm(alarm)
        writing.count("observed")
        writing.count("observed", 2)
        writing.keep_detector("length", {"n": 1}, {"8 ": {"ones": 1}})
        writing.keep_detector("length", {"n": 2}, {"9 ": {"ones": 2}})
        writing.keep_detector("cost", {"n": 3}, {"8 ": {"ones": 3}})
    assert list(store.runs()) == [run]
    assert store.run(run.id) == run
    assert store.run("nobody") is None
    assert list(store.signals()) == signals
    assert list(store.signals("refusal")) == signals[1:]
    assert store.names() == {"length": "value", "refusal": "rate"}
    assert list(store.scores()) == [score, failed]
    assert list(store.scores(run=run.id)) == list(store.scores(until=102.0)) == [score]
    assert list(store.alarms()) == [alarm]
    assert store.counters() == {"observed": 3}
    with store.writing() as writing:
        assert list(writing.detectors()) == [
            ("length", {"n": 2, "references": {"8 ": {"ones": 1}, "9 ": {"ones": 2}}}),
            ("cost", {"n": 3, "references": {"8 ": {"ones": 3}}}),
        ]
        writing.forget_references("length")
        assert next(iter(writing.detectors())) == ("length", {"n": 2, "references": {}})


def test_a_stretch_of_time_holds_its_start_and_not_its_end(store):
    runs = [replace(RUN, id=f"{at:032d}", at=float(at)) for at in (3, 1, 2)]
    with store.writing() as writing:
        for run in runs:
            writing.run(run, [signal(run, "length", run.at)])
    assert [run.at for run in store.runs()] == [1.0, 2.0, 3.0]
    assert [run.at for run in store.runs(since=2.0, until=3.0)] == [2.0]
    assert [one.value for one in store.signals("length", since=2.0)] == [2.0, 3.0]


def test_a_run_is_stored_once(store):
    with store.writing() as writing:
        assert writing.run(RUN, [signal(RUN, "length", 1.0)])
        assert not writing.run(RUN, [signal(RUN, "length", 2.0)])
    assert [one.value for one in store.signals()] == [1.0]


def test_what_fails_in_the_middle_writes_nothing(store):
    with pytest.raises(sqlite3.IntegrityError), store.writing() as writing:
        writing.run(RUN)
        writing.run(replace(RUN, id="b"), [signal(RUN, "length", float("nan"))])
    assert list(store.runs()) == []


def test_old_runs_are_forgotten_with_all_that_belongs_to_them(store):
    old, new = RUN, replace(RUN, id="b" * 32, at=200.0)
    with store.writing() as writing:
        for run in (old, new):
            writing.run(run, [signal(run, "length", run.at)])
            writing.score(StoredScore(run=run.id, at=300.0, name="feedback", score=1.0))
        writing.score(StoredScore(run="never seen", at=50.0, name="feedback", score=1.0))
    with store.writing() as writing:
        assert not writing.prune(150.0)
    assert [run.id for run in store.runs()] == [new.id]
    assert [one.run for one in store.signals()] == [new.id]
    assert [one.run for one in store.scores()] == [new.id]


@given(
    text=st.text(alphabet=st.characters(), max_size=20),
    cost=st.none() | st.decimals(allow_nan=False, allow_infinity=False),
    tags=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
)
def test_any_run_comes_back_from_its_row(text, cost, tags):
    run = replace(RUN, question=text, answer=text, cost_usd=cost, tags=tags, variables={"question": text})
    with sqlite3.connect(":memory:") as db:
        row = db.execute(f"SELECT 1, {', '.join('?' * 19)}", run_row(run)).fetchone()
    db.close()
    surrogate = any(0xD800 <= ord(character) < 0xE000 for character in text)
    back = run_of(row)
    assert back.tags == tags
    assert back.cost_usd == cost
    assert back == run or surrogate


def test_the_store_is_named_by_a_url_or_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for said in ("sqlite:///a.db", "a.db", tmp_path / "a.db", f"sqlite:///{tmp_path}/a.db"):
        assert opened_store(said).path == tmp_path / "a.db"


@pytest.mark.parametrize(
    "wrong", ["", "postgresql://x/y", "sqlite://", "sqlite:///", ":memory:", "sqlite:///:memory:", 3, None]
)
def test_a_store_that_is_not_known_is_refused(wrong):
    with pytest.raises(ConfigurationError, match=r"sqlite:///monitor\.db"):
        opened_store(wrong)


def test_a_file_of_others_and_a_missing_folder_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("not a database, but more than sixteen bytes")
    with pytest.raises(ConfigurationError, match="no SQLite file"):
        Store(tmp_path / "notes.txt")
    with sqlite3.connect(tmp_path / "theirs.db") as db:
        db.execute("CREATE TABLE theirs (x)")
    db.close()
    with pytest.raises(ConfigurationError, match="another program"):
        Store(tmp_path / "theirs.db")
    with pytest.raises(ConfigurationError, match="no folder"):
        Store(tmp_path / "nowhere" / "monitor.db")


def test_several_processes_write_one_file(tmp_path):
    code = """
        import sys
        from llmops_sdk.monitoring import Store, StoredRun
        store = Store(sys.argv[1])
        for number in range(20):
            with store.writing() as writing:
                writing.run(StoredRun(id=sys.argv[2] + str(number), at=1.0, pipeline="p", outcome="ok", seconds=1.0))
                writing.count("observed")
    """
    path = tmp_path / "monitor.db"
    writers = [subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), str(path), name]) for name in "abc"]
    assert [writer.wait(30) for writer in writers] == [0, 0, 0]
    store = Store(path)
    assert len(list(store.runs())) == store.counters()["observed"] == 60


def test_another_writer_is_noticed(tmp_path, store):
    with store.writing() as writing:
        assert store.changed_by_others()  # the first time nobody knows
        writing.count("observed")
    with store.writing():
        assert not store.changed_by_others()
    other = Store(store.path)
    with other.writing() as writing:
        writing.count("observed")
    other.close()
    with store.writing():
        assert store.changed_by_others()


def test_what_was_committed_outlives_a_kill(tmp_path):
    code = """
        import os, signal, sys
        from llmops_sdk.monitoring import Store, StoredRun
        store = Store(sys.argv[1])
        for number in range(1000):
            with store.writing() as writing:
                writing.run(StoredRun(id=str(number), at=1.0, pipeline="p", outcome="ok", seconds=1.0))
            print(number, flush=True)
            if number == 20:
                os.kill(os.getpid(), signal.SIGKILL)
    """
    path = tmp_path / "monitor.db"
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    reported = {int(line) for line in ended.stdout.split()}
    assert 20 in reported
    assert {str(number) for number in reported} <= {run.id for run in Store(path).runs()}
