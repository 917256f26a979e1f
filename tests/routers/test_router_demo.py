"""The example of the docs plays to its end and shows what it announces."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_demo_of_the_router_shows_what_it_announces(capsys):
    assert runpy.run_path(str(ROOT / "examples" / "router_demo.py"))["main"]() == 0
    shown = capsys.readouterr().out
    assert "1  failing  in turn\n  2  hanging  in turn\n  3  steady   in turn" in shown
    assert "failing → hanging → steady" in shown
    assert "\n20 answers\n" in shown
    assert "-  hanging  not asked: its breaker is open" in shown
    assert "\nsteady      21       0        105       0          42  0.00011025  0\n" in shown
    assert "Reloaded(kept=('steady', 'hanging'), changed=(), added=(), removed=('failing',))" in shown
    assert "400 requests to 3 engines, seed 1" in shown
