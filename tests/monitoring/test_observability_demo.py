"""The example plays to its end, shows what it announces, and nothing of it quotes what a guard found."""

import runpy
from pathlib import Path

DEMO = Path(__file__).parents[2] / "examples" / "observability_demo.py"


def test_the_demo_shows_what_it_announces(capsys, tmp_path):
    report = tmp_path / "week.html"
    assert runpy.run_path(str(DEMO))["main"]("--report", str(report)) == 0
    shown = capsys.readouterr().out
    assert "ServerError" in shown
    assert "0.000100 USD" in shown
    assert '{"event": "ended"' in shown
    assert "   apply_guardrail pii" in shown
    assert "asked     Answer the customer: Where is my parcel? Write to [EMAIL_1]." in shown
    assert "0 alarms after 201 runs\n" in shown
    assert "  refusal    0.00 → " in shown
    assert "0  That is no answer." in shown
    assert "feedback, signal:refusal" in shown
    assert 'llmops_runs_total{llmops_call_outcome="ok",llmops_tag_shop="south"} 300.0' in shown
    assert "rejected=0, dropped=0, waiting=0" in shown
    assert "refusal" in report.read_text()
    assert "ada" + "@" not in shown + report.read_text()
