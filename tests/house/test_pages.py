"""What can be set stands on a page, not in the code alone."""

import inspect
import re

import pytest

from llmops_sdk import evaluation, monitoring, tracing

TRACING, MONITORING = "docs/concepts/tracing/", "docs/concepts/monitoring"
JUDGES = "docs/concepts/evaluation/judges.md"


@pytest.mark.parametrize(
    ("made", "pages"),
    [
        (tracing.setup, (TRACING + "delivery.md",)),
        (tracing.OpenTelemetry, (TRACING + "spans.md", TRACING + "backends.md")),
        (tracing.Metrics, (TRACING + "metrics.md",)),
        (tracing.ContentPolicy, (TRACING + "content.md",)),
        (tracing.Logs, ("docs/concepts/calls.md", TRACING + "content.md")),
        (tracing.JSONL, ("docs/concepts/calls.md", TRACING + "content.md")),
        (tracing.memory, ("docs/concepts/calls.md",)),
        (monitoring.Monitor, (MONITORING + ".md", MONITORING + "-alarms.md")),
        (monitoring.Detector, (MONITORING + "-alarms.md",)),
        (evaluation.Judge, (JUDGES,)),
        (evaluation.PairwiseJudge, (JUDGES,)),
        (evaluation.Panel, (JUDGES,)),
        (evaluation.Judge.calibrate, (JUDGES,)),
        (evaluation.Calibration.mean, (JUDGES,)),
        (evaluation.Suite, ("docs/concepts/evaluation/gate.md",)),
        (evaluation.Suite.gate, ("docs/concepts/evaluation/gate.md",)),
        (evaluation.Experiment.report, ("docs/concepts/evaluation/report.md",)),
        (evaluation.Experiment.load, ("docs/concepts/evaluation/report.md",)),
        (monitoring.Probes, (MONITORING + "-alarms.md",)),
        (monitoring.judged_by, (MONITORING + ".md",)),
    ],
    ids=lambda given: getattr(given, "__name__", None),
)
def test_every_option_stands_on_a_page(files, made, pages):
    text = "\n".join(files[page] for page in pages)
    options = [
        name for name, one in inspect.signature(made).parameters.items() if one.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    assert [name for name in options if not re.search(rf"\b{name}(`|=)", text)] == []
