import json
import time
from dataclasses import replace

import pytest

from llmops_sdk.cli import main
from llmops_sdk.engines import Scripted
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards import PII, guard
from llmops_sdk.monitoring import Alarm, Monitor, StoredRun, StoredScore, StoredSignal
from llmops_sdk.verdicts import Verdict

RUN = StoredRun(id="", at=0.0, pipeline="support", outcome="ok", seconds=0.5)


def put(monitor, name, *, at=100.0, signals=(), scores=(), **fields):
    run = replace(RUN, id=name, at=at, **fields)
    with monitor.store.writing() as writing:
        writing.run(run, [StoredSignal(run=name, at=at, name=n, kind=k, value=v) for n, k, v in signals])
        for score, by in scores:
            writing.score(StoredScore(run=name, at=at, name="helpful" if by == "llm" else "stars", score=score, by=by))


def reasons(monitor, **options):
    return {case.run.id: case.reasons for case in monitor.cases(**options)}


@pytest.fixture
def monitor(tmp_path):
    with Monitor(store=tmp_path / "monitor.db") as monitor:
        yield monitor


def test_bad_runs_are_found_with_their_reasons(monitor):
    put(
        monitor,
        "good",
        signals=[("refusal", "rate", 0.0), ("length", "value", 9.0)],
        scores=[(0.9, "llm"), (1.0, "human")],
    )
    put(monitor, "cancelled", outcome="cancelled")
    put(monitor, "blocked", outcome="blocked", blocked_by="pii")
    put(monitor, "failed", outcome="ServerError")
    put(monitor, "low", scores=[(0.2, "llm")])
    put(monitor, "disliked", scores=[(0.0, "human")])
    put(monitor, "refused", signals=[("refusal", "rate", 1.0)])
    put(monitor, "no score", scores=[(None, "llm")])
    assert reasons(monitor) == {
        "blocked": ("blocked",),
        "failed": ("error",),
        "low": ("score:helpful",),
        "disliked": ("feedback",),
        "refused": ("signal:refusal",),
    }


def test_runs_that_stand_out_while_an_alarms_signal_changed_are_bad(monitor):
    alarm = Alarm(
        signal="length", at=200.0, direction="up", before=10.0, now=50.0, since=150.0, observations=9, evidence=1.0,
        message="longer",
    )  # fmt: skip
    with monitor.store.writing() as writing:
        writing.alarm(alarm)
        writing.alarm(replace(alarm, signal="cache_hit", direction="down", before=0.5, now=0.1))
    put(monitor, "before", at=149.0, signals=[("length", "value", 99.0)])
    put(monitor, "long", at=160.0, signals=[("length", "value", 60.0), ("cache_hit", "rate", 1.0)])
    put(monitor, "short", at=170.0, signals=[("length", "value", 20.0), ("cache_hit", "rate", 0.0)])
    assert reasons(monitor) == {"long": ("alarm:length",), "short": ("alarm:cache_hit",)}


def test_cases_come_newest_first_within_a_time_and_up_to_a_limit(monitor):
    for at in range(5):
        put(monitor, str(at), at=float(at), outcome="blocked")
    assert list(reasons(monitor, limit=2)) == ["4", "3"]
    assert list(reasons(monitor, since=1.0, until=3.0)) == ["2", "1"]
    assert list(reasons(monitor, where=lambda case: case.run.id == "3")) == ["3"]
    with pytest.raises(ConfigurationError, match="'bad' or a function"):
        monitor.cases("worst")


def test_an_export_is_json_lines_of_a_stated_version(tmp_path):
    with Monitor(
        "Say {{ word }}" | Scripted("I'm sorry, but I can't help with that."), store=tmp_path / "m.db", content=True
    ) as monitor:
        result = monitor.pipeline.run(word="hello", tags={"team": "a"})
        monitor.feedback(result.call.id, score=0, comment="no help")
        assert monitor.flush()
        assert monitor.export_cases(tmp_path / "bad.jsonl") == 1
    (line,) = map(json.loads, (tmp_path / "bad.jsonl").read_text().splitlines())
    assert (line["format"], line["version"], line["id"]) == ("llmops_sdk.cases", 1, result.call.id)
    assert (line["question"], line["variables"]) == ("Say hello", {"word": "hello"})
    assert line["answer"].startswith("I'm sorry")
    assert line["reasons"] == ["feedback", "signal:refusal"]
    assert line["scores"] == [
        {"name": "feedback", "score": 0.0, "label": None, "explanation": "no help", "by": "human", "error": None}
    ]
    assert line["tags"] == {"team": "a"}
    assert line["at"].endswith("+00:00")
    assert line["engine"] == "scripted"


def test_the_command_line_tells_the_cases_and_writes_the_report(monitor, tmp_path, capsys):
    put(monitor, "a" * 32, at=1.0, outcome="blocked", answer="so")
    put(monitor, "b" * 32, at=time.time(), outcome="blocked")
    monitor.store.close()
    path = str(monitor.store.path)
    assert main(["monitor", "cases", path]) == 1
    newest, oldest = capsys.readouterr().out.splitlines()
    assert newest.endswith(f"{'b' * 32}  blocked")
    assert oldest == f"1970-01-01 00:00:01  {'a' * 32}  blocked  'so'"
    assert main(["monitor", "cases", path, "--days", "1", "--format", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["id"] == "b" * 32
    assert main(["monitor", "report", path]) == 0
    assert "2" in capsys.readouterr().out
    assert main(["monitor", "report", path, "-o", str(tmp_path / "week.html")]) == 0
    assert "<html" in (tmp_path / "week.html").read_text()
    assert main(["monitor", "cases", str(tmp_path / "none.db")]) == 2
    assert "no file" in capsys.readouterr().err
    assert not (tmp_path / "none.db").exists()
    assert monitor.report(tmp_path / "own.html") == tmp_path / "own.html"


def test_guards_clean_every_text_of_an_export(monitor, tmp_path):
    @guard
    def no_codes(text):
        return Verdict.flag("a code") if "code" in text else Verdict.allow()

    @guard
    def broken(text):
        raise RuntimeError("broken")

    put(
        monitor, "a", outcome="blocked", question="write to ada@example.org", answer="the code",
        variables={"word": ["ada@example.org", 3]}, tags={"user": "ada@example.org"},
    )  # fmt: skip
    monitor.feedback("a", score=0, comment="it is ada@example.org")
    assert monitor.flush()
    monitor.export_cases(tmp_path / "bad.jsonl", redact=[PII(), no_codes])
    text = (tmp_path / "bad.jsonl").read_text()
    line = json.loads(text)
    assert "ada@" not in text
    assert line["question"].startswith("write to ")
    assert line["answer"] == "[withheld]"
    assert line["variables"]["word"][1] == 3
    monitor.export_cases(tmp_path / "bad.jsonl", redact=[broken])
    assert json.loads((tmp_path / "bad.jsonl").read_text())["question"] == "[withheld]"
    with pytest.raises(ConfigurationError, match="list of guards"):
        monitor.export_cases(tmp_path / "bad.jsonl", redact=["pii"])
