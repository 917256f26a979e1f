"""`llmops lint`: what it prints, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmops_sdk.cli import main


@pytest.fixture
def prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "prompts"
    folder.mkdir()
    (folder / "a.prompt.md").write_text("[user]\nHello \n", "utf-8")
    return folder


def test_problems_are_lines_and_the_exit_code_is_one(prompts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint"]) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("prompts/a.prompt.md:2:6: P202 blanks at the end")
    assert last == "0 errors, 1 warning"


def test_clean_prompts_are_said_to_be_clean(prompts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", "--ignore", "P2,P301", "prompts/a.prompt.md"]) == 0
    assert "clean" in capsys.readouterr().out


def test_machines_get_json_and_sarif(prompts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", "--format", "json"]) == 1
    (problem,) = json.loads(capsys.readouterr().out)
    assert (problem["path"], problem["line"], problem["code"]) == ("prompts/a.prompt.md", 2, "P202")
    assert main(["lint", "--format", "sarif"]) == 1
    assert json.loads(capsys.readouterr().out)["version"] == "2.1.0"


def test_what_cannot_be_checked_is_an_error(prompts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", "nowhere"]) == 2
    assert "there is no nowhere" in capsys.readouterr().err
    assert main(["lint", "--select", "X"]) == 2
    with pytest.raises(SystemExit):
        main(["lint", "--provider", "nobody"])


def test_the_rules_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", "--list"]) == 0
    assert "untrusted-in-system" in capsys.readouterr().out
