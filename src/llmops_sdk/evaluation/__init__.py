"""Evaluation: is it better, by how much, how sure, at what price?

`evaluate({"base": a, "new": b}, dataset, metrics=[...])` runs pipelines on a data set, scores their answers, and says
whether the difference is more than noise. Statistics need the extra `evaluation`.

The names are found on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmops_sdk.evaluation import metrics, statistics
    from llmops_sdk.evaluation._cases import Case
    from llmops_sdk.evaluation._datasets import Dataset
    from llmops_sdk.evaluation._experiment import Analysis, Contrast, Experiment, experiments_in
    from llmops_sdk.evaluation._gate import CaseDrop, GateCheck, GateResult, Suite, gate_junit, gate_markdown
    from llmops_sdk.evaluation._judges import Calibration, Judge, PairwiseJudge, Panel, PositionBias
    from llmops_sdk.evaluation._optimising import Candidate, Optimisation, aoptimise, optimise
    from llmops_sdk.evaluation._running import aevaluate, evaluate
    from llmops_sdk.evaluation.metrics import Metric, Score, metric

__all__ = [
    "Analysis",
    "Calibration",
    "Candidate",
    "Case",
    "CaseDrop",
    "Contrast",
    "Dataset",
    "Experiment",
    "GateCheck",
    "GateResult",
    "Judge",
    "Metric",
    "Optimisation",
    "PairwiseJudge",
    "Panel",
    "PositionBias",
    "Score",
    "Suite",
    "aevaluate",
    "aoptimise",
    "evaluate",
    "experiments_in",
    "gate_junit",
    "gate_markdown",
    "metric",
    "metrics",
    "optimise",
    "statistics",
]

_HOMES = {
    "Analysis": "_experiment",
    "Calibration": "_judges",
    "Candidate": "_optimising",
    "Case": "_cases",
    "CaseDrop": "_gate",
    "Contrast": "_experiment",
    "Dataset": "_datasets",
    "Experiment": "_experiment",
    "GateCheck": "_gate",
    "GateResult": "_gate",
    "Judge": "_judges",
    "Metric": "metrics",
    "Optimisation": "_optimising",
    "PairwiseJudge": "_judges",
    "Panel": "_judges",
    "PositionBias": "_judges",
    "Score": "metrics",
    "Suite": "_gate",
    "aevaluate": "_running",
    "aoptimise": "_optimising",
    "evaluate": "_running",
    "experiments_in": "_experiment",
    "gate_junit": "_gate",
    "gate_markdown": "_gate",
    "metric": "metrics",
    "optimise": "_optimising",
}


def __getattr__(name: str) -> Any:
    if name in ("metrics", "statistics"):
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
