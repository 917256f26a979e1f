"""What is shown to people."""

from __future__ import annotations

import pytest

from llmops_sdk.cli._terminal import print_lines, print_table

LONG = "a" * 300


def test_nothing_that_is_shown_is_obeyed_or_read_as_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_lines([["\x1b[2J[red]", ("[b]\x1b[31m", "bold red")]])
    print_table(("name", "why"), [("\x1b[2J[red]", ("[b]\x1b[31m", "bold red"))])
    assert capsys.readouterr().out.splitlines() == [
        " [2J[red][b] [31m",
        "name       why     ",
        " [2J[red]  [b] [31m",
    ]


def test_nothing_is_cut_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_lines([[LONG]])
    assert capsys.readouterr().out == f"{LONG}\n"
    print_table(("name",), [(LONG,)])
    assert capsys.readouterr().out.count("a") == len(LONG) + 1
