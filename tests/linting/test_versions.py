"""Prompts of versions: what a label, a tag or a commit holds is checked, whatever lies in the working tree."""

from __future__ import annotations

from pathlib import Path

import pytest
from dulwich import porcelain

from llmops_sdk.cli import main
from llmops_sdk.errors import ConfigurationError, PromptError
from llmops_sdk.linting import lint
from llmops_sdk.prompts import PromptRepository


@pytest.fixture
def repository(tmp_path: Path) -> PromptRepository:
    """A commit with problems, a tag on it, and a working tree without any."""
    folder = tmp_path / "prompts"
    (folder / "shared").mkdir(parents=True)
    (folder / "shared" / "tone.md").write_text("Be kind. \n", "utf-8")
    (folder / "a.prompt.md").write_text("{% include 'shared/tone.md' %}", "utf-8")
    (folder / "b.prompt.md").write_text("Hello {{ name", "utf-8")
    (folder / "c.prompt.md").write_bytes(b"\xff")
    with porcelain.init(str(tmp_path)) as repo:
        porcelain.add(repo, [str(path) for path in folder.rglob("*.md")])
        porcelain.commit(repo, message=b"one", author=b"A <a@b>", committer=b"A <a@b>")
        porcelain.tag_create(repo, b"v1")
    for path in folder.glob("*.prompt.md"):
        path.write_text("Hello", "utf-8")
    (folder / "shared" / "tone.md").write_text("Be kind.\n", "utf-8")
    return PromptRepository(tmp_path)


def test_a_version_is_read_with_all_that_it_includes(repository: PromptRepository) -> None:
    found = lint(repository=repository, version="v1")
    assert [(one.path, one.line, one.code) for one in found] == [
        ("prompts/shared/tone.md", 1, "P202"),
        ("prompts/b.prompt.md", 1, "P001"),
        ("prompts/c.prompt.md", 1, "P001"),
    ]
    assert found[2].message.startswith("this is not UTF-8")
    assert lint("a@v1", repository=repository) == found[:1]
    assert lint("a", repository=repository, version="v1", select=["P001"]) == []
    assert lint("a", repository=repository) == lint(repository=repository) == []


def test_what_a_repository_does_not_have_is_an_error(repository: PromptRepository) -> None:
    for spec in ("nobody@v1", "a@v9", "a@"):
        with pytest.raises(PromptError):
            lint(spec, repository=repository)
    with pytest.raises(ConfigurationError, match="needs the `repository`"):
        lint(version="v1")


def test_the_command_reads_versions_and_settings(
    repository: PromptRepository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(repository.root)
    assert main(["lint"]) == 0
    assert capsys.readouterr().out == "All prompts are clean.\n"
    assert main(["lint", "--version", "v1", "--format", "github"]) == 1
    assert capsys.readouterr().out.splitlines()[0] == (
        "::warning file=prompts/shared/tone.md,line=1,col=9,title=P202::blanks at the end of a line (1): delete them"
    )
    (repository.root / "pyproject.toml").write_text("[tool.llmops.lint]\nignore = ['P001']\n", "utf-8")
    assert main(["lint", "--version", "v1"]) == 1
    text = capsys.readouterr().out
    assert text.endswith("\n0 errors, 1 warning\n")
    assert "\x1b" not in text
    assert main(["lint", "--version", "v1", "--ignore", "P2,P001"]) == 0
    assert main(["lint", "--version", "v9"]) == main(["lint", "--counter", "no-such-model"]) == 2
