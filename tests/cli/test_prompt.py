"""`llmops prompt`, on a real repository."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from llmops_sdk.cli import main

TEXT = "---\ndescription: Answers\n---\n[system]\nVersion %s\n[user]\n{{ question }}\n"


@pytest.fixture
def commits(tmp_path: Path) -> list[str]:
    """A repository in the folder, with two commits."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "-q", "-b", "main")
    git("config", "user.name", "Ada")
    git("config", "user.email", "ada@example.org")
    file = tmp_path / "prompts" / "support" / "answer.prompt.md"
    file.parent.mkdir(parents=True)
    found = []
    for version in ("1", "2"):
        file.write_text(TEXT % version)
        git("add", "-A")
        git("commit", "-q", "-m", f"Version {version}\x1b[31m")
        found.append(git("rev-parse", "HEAD"))
    return found


@pytest.fixture
def llmops(tmp_path: Path, capsys, commits) -> Callable[..., tuple[int, str, str]]:
    """Runs `llmops prompt` there: exit code, output, errors."""

    def run(command: str, *arguments: str) -> tuple[int, str, str]:
        code = main(["prompt", command, *arguments, "-C", str(tmp_path)])
        return (code, *capsys.readouterr())

    return run


def rows(out: str) -> list[dict]:
    return [json.loads(line) for line in out.splitlines()]


def test_prompts_are_named_and_shown(llmops, commits) -> None:
    assert llmops("list") == (0, "name          \nsupport/answer\n", "")
    assert rows(llmops("list", commits[0], "--format", "json")[1]) == [{"name": "support/answer"}]
    code, out, _ = llmops("show", "support/answer@HEAD")
    assert code == 0
    assert "description  Answers" in out
    assert out.endswith("[system]\nVersion 2\n[user]\n{{ question }}\n\n")
    shown = rows(llmops("show", f"support/answer@{commits[0]}", "--format", "json")[1])[0]
    assert (shown["commit"], shown["variables"], shown["text"]) == (commits[0], ["question"], TEXT % "1")


def test_history_is_listed(llmops, commits) -> None:
    first, second = commits
    code, out, _ = llmops("log", "support/answer")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["commit", second[:12], first[:12]]
    assert "\x1b" not in out
    assert [row["commit"] for row in rows(llmops("log", "support/answer", "--limit", "1", "--format", "json")[1])] == [
        second
    ]
    blamed = rows(llmops("blame", "support/answer", "--format", "json")[1])
    assert [row["commit"] == second for row in blamed] == [row["text"] == "Version 2" for row in blamed]
    assert llmops("blame", "support/answer", "--version", first)[1].count(first[:12]) == 7


def test_labels_are_moved_and_rolled_back(llmops, commits) -> None:
    first, second = commits
    assert llmops("label", "prod", first, "-m", "Start", "--who", "Grace")[0] == 0
    assert llmops("label", "prod", "main", "--expected", first)[0] == 0
    listed = rows(llmops("labels", "--format", "json")[1])
    assert [(row["label"], row["commit"], row["version"]) for row in listed] == [("prod", second, "main")]

    code, out, _ = llmops("rollback", "prod", "-m", "It is \x1b[2Jrude")
    assert code == 0
    assert [word in out for word in (first[:12], second[:12], "rollback", "rude")] == [True] * 4
    assert "\x1b" not in out
    audit = rows(llmops("labels", "prod", "--format", "json")[1])
    assert [(row["from"], row["to"], row["kind"]) for row in audit] == [
        (second, first, "rollback"),
        (first, second, "move"),
        (None, first, "move"),
    ]
    assert (audit[2]["who"], audit[2]["why"]) == ("Grace", "Start")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "support/anwser"], "Did you mean 'support/answer'"),
        (["rollback", "prod"], "there is no label 'prod'"),
        (["label", "prod", "nowhere"], "no version 'nowhere'"),
        (["log", "other"], "there is no prompts/other.prompt.md"),
        (["merge", "support/answer", "main", "main", "-o", "no/such/file.md"], "'no/such/file.md' cannot be written"),
    ],
)
def test_what_cannot_be_done_is_exit_code_2(llmops, arguments: list[str], said: str) -> None:
    code, out, error = llmops(*arguments)

    assert (code, out) == (2, "")
    assert error.startswith("llmops: ")
    assert said in error


def test_the_moves_of_a_label_that_is_not_there_are_an_error_and_not_an_empty_table(llmops) -> None:
    code, out, err = llmops("labels", "prod")
    assert (code, out) == (2, "")
    assert "there is no label 'prod': there are none; `llmops prompt label prod HEAD` makes it" in err
