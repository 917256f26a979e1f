"""`llmops eval`."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as Xml

import pytest

import llmops_sdk
from llmops_sdk.cli import main

SETTINGS = """
[tool.llmops.eval]
suites = ["evals/answer.py:suite"]
against = "prod"
"""


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def llmops(application, monkeypatch, capsys):
    """Runs the command where the application is; its files are read anew each time."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)

    def run(*arguments):
        before = set(sys.modules)
        code = main(["eval", *arguments])
        for name in set(sys.modules) - before:
            if name.startswith("llmops_eval_"):
                del sys.modules[name]
        return Done(code, *capsys.readouterr())

    return run


def test_the_exit_code_says_the_verdict(llmops, application, monkeypatch):
    gate = ("gate", "evals/answer.py", "--against", "prod")
    assert llmops(*gate).code == 0  # nothing has changed
    application.prompt("Miss every 10.")
    failed = llmops(*gate, "--max-drop", "1%")
    assert failed.code == 1
    assert failed.out.startswith("failed: answers, worktree against prod, 60 cases\n")
    assert llmops(*gate, "--max-drop", "40%").code == 0
    assert llmops(*gate, "--metric", "exact=40%").code == 0
    assert llmops(*gate, "--metric", "exact=none").code == 2
    assert llmops(*gate, "--max-drop", "12%").code == 3
    assert llmops(*gate, "--max-drop", "12%", "--unsure", "pass").code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gate"], "nothing says what to compare with"),
        (["gate", "--against", "prod"], "no suite is named"),
        (["gate", "evals/none.py", "--against", "prod"], "there is no Python file"),
        (["gate", "evals/answer.py:sweet", "--against", "prod"], "has no suite 'sweet'; it has suite"),
        (["gate", "evals/answer.py", "--against", "nowhere"], "nowhere"),
        (["gate", "evals/answer.py", "--against", "prod", "--max-drop", "much"], "a drop is a number"),
        (["gate", "evals/answer.py", "--against", "prod", "--metric", "other=1%"], "no suite has a metric 'other'"),
        (["gate", "evals/answer.py", "--against", "prod", "--metric", "exact"], "exact=1%"),
        (["report", "none.db"], "none.db"),
    ],
)
def test_what_could_not_be_done_says_what_to_write(llmops, arguments, words):
    done = llmops(*arguments)
    assert done.code == 2
    assert words in done.err


def test_settings_stand_in_pyproject(llmops, application):
    (application.root / "pyproject.toml").write_text(SETTINGS + 'unsure = "pass"\nmax-drop = "12%"\n')
    file = application.root / "evals" / "answer.py"
    file.write_text(file.read_text().replace('max_drop="1%", ', ""))
    application.prompt("Miss every 10.")
    assert llmops("gate").code == 0
    assert llmops("gate", "--unsure", "fail").code == 3
    assert llmops("gate", "--max-drop", "1%").code == 1
    assert json.loads(llmops("list", "--format", "json").out)[0]["metrics"] == ["exact"]
    (application.root / "pyproject.toml").write_text(SETTINGS + 'maxdrop = "1%"\n')
    wrong = llmops("gate")
    assert (wrong.code, "has no 'maxdrop'" in wrong.err) == (2, True)


def test_what_ci_reads_is_written(llmops, application, monkeypatch, tmp_path):
    application.prompt("Miss every 10.")
    gate = ("gate", "evals/answer.py", "--against", "prod")
    page = tmp_path / "summary.md"
    page.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    done = llmops(*gate, "--junit", "out.xml", "--report", "out.html", "--store", "runs.db", "--format", "json")
    assert done.code == 1, done.err
    (said,) = json.loads(done.out)
    assert (said["verdict"], said["dropped_cases"]) == ("failed", 6)
    assert Xml.parse("out.xml").find(".//failure") is not None
    assert page.read_text().startswith("before\n## ❌ failed")
    assert "<html" in Path("out.html").read_text()[:200]
    llmops(*gate, "--markdown", "own.md")
    assert Path("own.md").read_text().startswith("## ❌ failed")
    assert page.read_text().count("## ❌ failed") == 1
    kept = json.loads(llmops("list", "--store", "runs.db", "--format", "json").out)
    assert kept[0]["arms"] == ["prod", "worktree"]
    assert "worse" in llmops("report", "runs.db", kept[0]["id"]).out


def test_a_suite_that_cannot_be_judged_does_not_keep_others_from_it(llmops, application):
    other = application.root / "evals" / "other.py"
    other.write_text(
        "from llmops_sdk import Prompt, Scripted\nfrom llmops_sdk.evaluation import Case, Suite, metrics\n"
        "suite = Suite(lambda: Prompt.load('gone') | Scripted('1'), [Case(input={})], [metrics.Exact()], name='gone')\n"
    )
    application.prompt("Miss every 10.")
    done = llmops(
        "gate", "evals/other.py", "evals/answer.py", "--against", "prod", "--max-drop", "1%", "--junit", "out.xml"
    )
    assert done.code == 2
    assert "failed: answers" in done.out
    assert "gone" in done.err
    assert [one.get("errors") for one in Xml.parse("out.xml").getroot()] == ["0", "1"]


def test_what_a_suite_raises_is_its_own_verdict_and_never_a_pass(llmops, application):
    header = "from evals.answer import cases\nfrom llmops_sdk.evaluation import Suite, metrics\n"
    raises = application.root / "evals" / "raises.py"
    raises.write_text(header + "suite = Suite(lambda: 1 / 0, cases, [metrics.Exact()], name='raises')\n")
    done = llmops("gate", "evals/raises.py", "evals/answer.py", "--against", "prod", "--max-drop", "1%")
    assert done.code == 2
    assert "passed: answers" in done.out
    assert "raises: the application raised:\nTraceback" in done.err
    raises.write_text("raise SystemExit(0)\n")
    done = llmops("gate", "evals/raises.py", "--against", "prod")
    assert (done.code, done.err) == (2, "llmops: the application ended the command: SystemExit(0)\n")


def test_folders_of_what_is_written_are_made(llmops, application):
    (application.root / "pyproject.toml").write_text(SETTINGS + 'store = ".llmops/evals.db"\n')
    application.prompt("Miss every 10.")
    done = llmops("gate", "--junit", "out/a.xml", "--markdown", "out/b/c.md", "--report", "out/d.html")
    assert done.code == 1, done.err
    assert all(Path(one).is_file() for one in (".llmops/evals.db", "out/a.xml", "out/b/c.md", "out/d.html"))
    blocked = llmops("gate", "--junit", "pyproject.toml/out.xml")
    assert (blocked.code, "the folder of pyproject.toml/out.xml cannot be made" in blocked.err) == (2, True)
    blocked = llmops("run", "--store", "pyproject.toml/runs.db")
    assert (blocked.code, "raised" in blocked.err) == (2, False), blocked.err


def test_a_misspelt_metric_in_the_settings_is_not_passed_over(llmops, application):
    (application.root / "pyproject.toml").write_text(SETTINGS + 'max-drop = { exct = "1%", "*" = "90%" }\n')
    file = application.root / "evals" / "answer.py"
    file.write_text(file.read_text().replace('max_drop="1%", ', ""))
    application.prompt("Miss every 10.")
    done = llmops("gate")
    assert (done.code, "no suite has a metric 'exct'; there are exact" in done.err) == (2, True)


def test_two_versions_are_compared_without_a_gate(llmops, application):
    application.prompt("Miss every 10.")
    done = llmops("compare", "prod", "worktree", "evals/answer.py")
    assert done.code == 0
    assert "worse" in done.out
    assert "90.0 %" in llmops("run", "evals/answer.py").out
    assert "100.0 %" in llmops("run", "evals/answer.py", "--at", "prod").out


@pytest.mark.once
def test_the_command_is_there_in_a_process_of_its_own_and_tells_what_a_file_raises(application):
    (application.root / "evals" / "broken.py").write_text("import nothing_of_this_name\n")
    sources = str(Path(llmops_sdk.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-m", "llmops_sdk.cli", "eval", "gate", "evals/broken.py", "--against", "prod"],
        env={**os.environ, "PYTHONPATH": sources},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 2
    assert "the application raised" in done.stderr
    assert "nothing_of_this_name" in done.stderr
