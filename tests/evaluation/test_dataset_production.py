import json

import pytest

from llmops_sdk import Pipeline, Prompt, Scripted, guards, tracing
from llmops_sdk.errors import ConfigurationError, DatasetError
from llmops_sdk.evaluation import Dataset
from llmops_sdk.monitoring import Monitor
from llmops_sdk.verdicts import Verdict

NOT_KEPT = "the texts of the run were not kept, or may not be shown"
WITHHELD = "guards withhold the question"


@pytest.fixture
def monitor(tmp_path):
    line = Pipeline(Prompt.from_string("Answer: {{ question }}"), Scripted("Write to ada@example.org."))
    with Monitor(line, store=tmp_path / "monitor.db", content=True) as monitor:
        yield monitor


def ask(monitor, question, correction=None, **tags):
    result = monitor.pipeline.run(question=question, tags=tags)
    monitor.feedback(result.call.id, score=0, comment="wrong")
    if correction is not None:
        monitor.feedback(result.call.id, comment="a first try", name="correction")
        monitor.feedback(result.call.id, comment=correction, name="correction")
    return result.call.id


def exported(monitor, path):
    assert monitor.flush()
    monitor.export_cases(path)
    return path


def test_bad_runs_of_a_monitor_become_cases_with_what_people_wrote_in_place_of_the_answer(monitor, tmp_path):
    first = ask(monitor, "Who is Ada?", correction="A mathematician.", session="s1")
    second = ask(monitor, "Who is Bob?", session="s1")

    data = Dataset.from_feedback(exported(monitor, tmp_path / "bad.jsonl"), cluster="session")

    cases = {case.id: case for case in data}
    assert set(cases) == {first, second}
    assert cases[first].input == {"question": "Who is Ada?"}
    assert (cases[first].expected, cases[second].expected) == ("A mathematician.", None)
    assert cases[first].tags == ("feedback",)
    assert cases[first].cluster == cases[second].cluster == "s1"
    assert cases[first].metadata["answer"] == "Write to ada@example.org."
    assert data.left_out == {}
    assert Dataset.from_feedback(monitor.cases(), cluster="session").hash == data.hash
    answered = Dataset.from_feedback(monitor.cases(), expected="answer")
    assert {case.expected for case in answered} == {"Write to ada@example.org."}
    assert {case.expected for case in Dataset.from_feedback(monitor.cases(), expected=None)} == {None}


def test_the_applications_own_guards_read_every_text(monitor, tmp_path):
    ask(monitor, "Mail bob@example.org?", correction="Mail eve@example.org", who="joe@example.org")
    path = exported(monitor, tmp_path / "bad.jsonl")
    line = Prompt.from_string("{{ q }}") | guards.PII() | Scripted("yes")

    for redact in ([guards.PII()], line):
        (case,) = Dataset.from_feedback(path, redact=redact, cluster="who")
        assert "@" not in json.dumps(case.to_json())
        assert case.input["question"].startswith("Mail ")
        assert case.expected.startswith("Mail ")


@pytest.mark.parametrize("action", ["rewrite", "block"])
def test_clusters_stay_what_they_are_when_guards_hide_whose_they_are(monitor, tmp_path, action):
    for who in ("joe@example.org", "eve@example.org", "joe@example.org", "room 5"):
        for question in ("Hello?", "Mail bob@example.org and ann@example.org?"):
            ask(monitor, question, who=who)
    path = exported(monitor, tmp_path / "bad.jsonl")

    @guards.guard
    def no_mail(text):
        return Verdict.block("mail") if text in ("joe@example.org", "eve@example.org") else Verdict.allow()

    redact = [no_mail] if action == "block" else [guards.PII()]
    cases = list(Dataset.from_feedback(path, redact=redact, cluster="who"))
    plain = {case.id: case.cluster for case in Dataset.from_feedback(path, cluster="who")}

    assert len(cases) == 8
    assert len({(case.cluster, plain[case.id]) for case in cases}) == len({case.cluster for case in cases}) == 3
    assert {case.cluster for case in cases} & set(plain.values()) == {"room 5"}


def test_a_question_that_guards_withhold_is_left_out_and_counted(monitor, tmp_path):
    @guards.guard
    def no_bob(text):
        return Verdict.block("bob") if "bob" in text.lower() else Verdict.allow()

    ask(monitor, "Who is Bob?")
    kept = ask(monitor, "Who is Ada?", correction="Not Bob.")

    data = Dataset.from_feedback(exported(monitor, tmp_path / "bad.jsonl"), redact=[no_bob])

    assert [case.id for case in data] == [kept]
    assert next(iter(data)).expected is None
    assert data.left_out[WITHHELD] == 1
    assert data.left_out["guards withhold the expected output (the case is there without it)"] == 1
    assert WITHHELD in str(data.describe())


def test_runs_whose_texts_were_not_kept_are_counted_and_an_empty_set_says_why(tmp_path):
    with Monitor("{{ q }}" | Scripted("yes"), store=tmp_path / "m.db", content=False) as monitor:
        result = monitor.pipeline.run(q="?")
        monitor.feedback(result.call.id, score=0)
        path = exported(monitor, tmp_path / "bad.jsonl")
    data = Dataset.from_feedback(path)
    assert data.left_out == {NOT_KEPT: 1}
    with pytest.raises(DatasetError, match=rf"'feedback' has no cases \(1 left out: {NOT_KEPT}\)"):
        data.hash  # noqa: B018


def test_runs_become_cases_by_their_calls_results_or_memory():
    seen = tracing.memory()
    line = Pipeline(Prompt.from_string("{{ q }} in {{ lang }}"), Scripted("yes"), hooks=[seen])
    results = [line.run(q=f"q{n}", lang="de", tags={"user": n % 2}) for n in range(3)]
    results[0].feedback(comment="no", name="correction")

    data = Dataset.from_traces(seen, cluster="user", expected="answer")

    assert [case.input for case in data] == [{"q": f"q{n}", "lang": "de"} for n in range(3)]
    assert [case.cluster for case in data] == ["0", "1", "0"]
    assert {case.expected for case in data} == {"yes"}
    assert [case.id for case in data] == [result.call.id for result in results]
    for source in (results, seen.calls, (result for result in results)):
        assert Dataset.from_traces(source, cluster="user", expected="answer").hash == data.hash
    assert next(iter(Dataset.from_traces(results, expected="correction"))).expected == "no"
    assert next(iter(Dataset.from_traces(results))).expected is None


def test_runs_without_a_prompt_become_cases_of_their_question():
    result = Pipeline(Scripted("yes")).run("Really?")
    (case,) = Dataset.from_traces([result])
    assert case.input == "Really?"


def test_what_a_guard_of_the_run_has_found_is_no_part_of_a_case():
    line = Prompt.from_string("{{ q }}") | guards.PII() | Scripted("yes")
    data = Dataset.from_traces([line.run(q="Mail bob@example.org"), line.run(q="Hello")])
    assert "bob@" not in json.dumps([case.to_json() for case in data])
    assert len(data) + sum(data.left_out.values()) == 2


def test_a_blocked_run_without_a_text_that_may_be_shown_is_left_out():
    line = Prompt.from_string("{{ q }}") | guards.Secrets(action="block") | Scripted("yes")
    data = Dataset.from_traces([line.run(q="key " + "AKIA" + "IOSFODNN7EXAMPLE")])
    assert list(data) == []
    assert data.left_out == {NOT_KEPT: 1}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            {"id": "1", "question": "?"},
            r"row 1 of '.*' is no case of a monitor: `monitor\.export_cases\(path\)` writes",
        ),
        ({"format": "llmops_sdk.cases", "version": 2}, "row 1 of '.*' is of version 2"),
        ([1], "row 1 of '.*' is no case of a monitor"),
    ],
)
def test_a_line_that_no_monitor_has_written_is_refused(tmp_path, line, said):
    path = tmp_path / "cases.jsonl"
    path.write_text(json.dumps(line))
    with pytest.raises(DatasetError, match=said) as raised:
        Dataset.from_feedback(path)
    assert (raised.value.path, raised.value.row) == (str(path), 1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"redact": ["pii"]}, "`redact` is a list of guards"),
        ({"redact": "pii"}, "`redact` is a list of guards"),
        ({"expected": "comment"}, "`expected` is 'correction', 'answer' or None"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, said):
    with pytest.raises(ConfigurationError, match=said):
        Dataset.from_feedback([], **options)


def test_what_holds_no_runs_is_refused():
    with pytest.raises(ConfigurationError, match="runs are read from"):
        Dataset.from_traces(7)
    with pytest.raises(DatasetError, match="row 1 is no case of a monitor"):
        Dataset.from_traces(["text"])
