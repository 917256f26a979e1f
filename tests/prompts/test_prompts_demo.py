"""The example plays to its end, and shows what it announces."""

import runpy
import shutil
import sys
from pathlib import Path

DEMO = Path(__file__).parents[2] / "examples" / "prompts_demo.py"


def test_the_demo_shows_the_life_of_a_prompt(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert shutil.which("git")
    assert runpy.run_path(str(DEMO))["main"]() == 0
    shown = capsys.readouterr().out
    assert "→ main (" in shown
    assert "  compatible\n" in shown
    assert "breaking    variable-unfenced" in shown
    assert "support/answer: warm into main: clean" in shown
    assert "parameters: {temperature: 0.3, max_tokens: 60}" in shown
    assert "rollback" in shown
    assert "as locked" in shown
    assert "pipelines.support.guards.prompt_injection.hash" in shown
    assert "under the lock" in shown
    assert "P103" in shown
    assert "cut: sources from 460 to " in shown
    assert "c-7 gets prod, and again prod" in shown
    assert "bookshop" not in sys.modules
