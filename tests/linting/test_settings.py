"""Settings of the linter in `pyproject.toml`."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.linting import lint_settings


def test_settings_are_those_of_the_nearest_file(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert "select" not in lint_settings(inner)
    (tmp_path / "pyproject.toml").write_text(
        "[tool.llmops.lint]\nselect = ['P1']\nwindow = 8\nper-file-ignores = {'old/*' = ['P2']}\n", "utf-8"
    )
    assert lint_settings(inner) == {"select": ["P1"], "window": 8, "per_file_ignores": {"old/*": ["P2"]}}
    (tmp_path / "a" / "pyproject.toml").write_text("[tool.other]\n", "utf-8")
    assert lint_settings(inner) == {}


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("[tool.llmops.lint", "is no TOML"),
        ("[tool.llmops]\nlint = 1", "is a table"),
        ("[tool.llmops.lint]\nselct = []", "has no 'selct'"),
        ("[tool.llmops.lint]\nselect = 'P1'", "list of codes"),
        ("[tool.llmops.lint]\ncounter = 1", "a name or a path"),
        ("[tool.llmops.lint]\nper-file-ignores = ['P1']", "by pattern"),
    ],
)
def test_a_wrong_setting_is_refused_with_the_file(tmp_path: Path, table: str, problem: str) -> None:
    (tmp_path / "pyproject.toml").write_text(table, "utf-8")
    with pytest.raises(ConfigurationError, match=problem) as caught:
        lint_settings(tmp_path)
    assert "pyproject.toml" in str(caught.value)
