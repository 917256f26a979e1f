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
    from llmops_sdk.evaluation._experiment import Contrast, Experiment
    from llmops_sdk.evaluation._judges import Calibration, Judge, PairwiseJudge, Panel, PositionBias
    from llmops_sdk.evaluation._running import aevaluate, evaluate
    from llmops_sdk.evaluation.metrics import Metric, Score, metric

__all__ = [
    "Calibration",
    "Case",
    "Contrast",
    "Dataset",
    "Experiment",
    "Judge",
    "Metric",
    "PairwiseJudge",
    "Panel",
    "PositionBias",
    "Score",
    "aevaluate",
    "evaluate",
    "metric",
    "metrics",
    "statistics",
]

_HOMES = {
    "Calibration": "_judges",
    "Case": "_cases",
    "Contrast": "_experiment",
    "Dataset": "_datasets",
    "Experiment": "_experiment",
    "Judge": "_judges",
    "Metric": "metrics",
    "PairwiseJudge": "_judges",
    "Panel": "_judges",
    "PositionBias": "_judges",
    "Score": "metrics",
    "aevaluate": "_running",
    "evaluate": "_running",
    "metric": "metrics",
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
