"""The example of the docs plays to its end, and their tables say what the code says."""

import inspect
import re
import runpy
from pathlib import Path

from llmops_sdk import Router
from llmops_sdk.routers import Leg

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


def test_the_page_of_the_router_names_every_option_with_its_default():
    page = (ROOT / "docs" / "concepts" / "routers.md").read_text()
    stated = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)`", page, re.MULTILINE))
    options = inspect.signature(Router).parameters.values()
    assert stated == {
        one.name: repr(one.default).replace("'", '"') for one in options if one.kind is inspect.Parameter.KEYWORD_ONLY
    }
    leg = re.search(r"`Leg\(engine, ([^`]*)\)`", page)[1]
    assert re.findall(r"(\w+)=", leg) == list(inspect.signature(Leg).parameters)[1:]
