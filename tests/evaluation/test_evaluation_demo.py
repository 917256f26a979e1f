"""The example of evaluations runs as it stands."""

from __future__ import annotations

import runpy
from pathlib import Path

DEMO = Path(__file__).parents[2] / "examples" / "evaluation_demo.py"


def test_the_example_says_a_verdict_and_writes_a_report(tmp_path, capsys):
    main = runpy.run_path(str(DEMO))["main"]
    store, report = tmp_path / "e.db", tmp_path / "report.html"
    given = ("--engine", "scripted", "--store", str(store), "--report", str(report), "--repeats", "1")

    assert main(*given) == 0
    said = capsys.readouterr().out
    assert "mails of a book shop: 2 pipelines on 18 cases of mails" in said
    assert " from short by classification: " in said or " than short by classification: " in said
    assert 'id="matrices"' in report.read_text("utf-8")
