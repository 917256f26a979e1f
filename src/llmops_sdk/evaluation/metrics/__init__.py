"""Metrics: how good an answer is. Each is called with a case and a result, and gives a score.

A function of your own is a metric, too::

    def polite(case, result):
        return "please" in result.text.lower()

Import the module: `from llmops_sdk.evaluation import metrics`, then `metrics.Exact()`. BLEU, chrF, ROUGE and edit
distances need the extra `evaluation`, JSON schemas the extra `json-schema`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from llmops_sdk.evaluation.metrics._functions import metric, metrics_of
from llmops_sdk.evaluation.metrics._metric import Metric, MetricLike, Score
from llmops_sdk.evaluation.metrics._scores import scores_of

if TYPE_CHECKING:
    from llmops_sdk.evaluation.metrics._classification import Classification
    from llmops_sdk.evaluation.metrics._conditions import (
        AskedAtMost,
        Condition,
        MaxLatency,
        NoFindingLeft,
        StayedInProcess,
        UsedEngine,
    )
    from llmops_sdk.evaluation.metrics._confusion import ClassReport, ConfusionMatrix
    from llmops_sdk.evaluation.metrics._containing import Contains, ContainsAll, Regex, StartsWith
    from llmops_sdk.evaluation.metrics._embedding import EmbeddingSimilarity
    from llmops_sdk.evaluation.metrics._exact import EditDistance, EditSimilarity, Exact
    from llmops_sdk.evaluation.metrics._guarding import Findings, GuardMetric, Refused
    from llmops_sdk.evaluation.metrics._json import FieldsEqual, JSONSchema, JSONValid, OutputValid
    from llmops_sdk.evaluation.metrics._measures import (
        Blocked,
        Cost,
        Latency,
        Succeeded,
        TimeToFirstToken,
        Tokens,
    )
    from llmops_sdk.evaluation.metrics._numeric import Numeric
    from llmops_sdk.evaluation.metrics._overlap import BLEU, ROUGE, ChrF, TokenF1
    from llmops_sdk.evaluation.metrics._summaries import summary_of
    from llmops_sdk.evaluation.metrics._texts import SQUAD, FormOptions, ReadingOptions, TextForm, TextMetric
    from llmops_sdk.evaluation.metrics._tools import ToolCalls

__all__ = [
    "BLEU",
    "ROUGE",
    "SQUAD",
    "AskedAtMost",
    "Blocked",
    "ChrF",
    "ClassReport",
    "Classification",
    "Condition",
    "ConfusionMatrix",
    "Contains",
    "ContainsAll",
    "Cost",
    "EditDistance",
    "EditSimilarity",
    "EmbeddingSimilarity",
    "Exact",
    "FieldsEqual",
    "Findings",
    "FormOptions",
    "GuardMetric",
    "JSONSchema",
    "JSONValid",
    "Latency",
    "MaxLatency",
    "Metric",
    "MetricLike",
    "NoFindingLeft",
    "Numeric",
    "OutputValid",
    "ReadingOptions",
    "Refused",
    "Regex",
    "Score",
    "StartsWith",
    "StayedInProcess",
    "Succeeded",
    "TextForm",
    "TextMetric",
    "TimeToFirstToken",
    "TokenF1",
    "Tokens",
    "ToolCalls",
    "UsedEngine",
    "metric",
    "metrics_of",
    "scores_of",
    "summary_of",
]

_HOMES = {
    "BLEU": "_overlap",
    "ROUGE": "_overlap",
    "SQUAD": "_texts",
    "AskedAtMost": "_conditions",
    "Blocked": "_measures",
    "ChrF": "_overlap",
    "ClassReport": "_confusion",
    "Classification": "_classification",
    "Condition": "_conditions",
    "ConfusionMatrix": "_confusion",
    "Contains": "_containing",
    "ContainsAll": "_containing",
    "Cost": "_measures",
    "EditDistance": "_exact",
    "EditSimilarity": "_exact",
    "EmbeddingSimilarity": "_embedding",
    "Exact": "_exact",
    "FieldsEqual": "_json",
    "Findings": "_guarding",
    "FormOptions": "_texts",
    "GuardMetric": "_guarding",
    "JSONSchema": "_json",
    "JSONValid": "_json",
    "Latency": "_measures",
    "MaxLatency": "_conditions",
    "NoFindingLeft": "_conditions",
    "Numeric": "_numeric",
    "OutputValid": "_json",
    "ReadingOptions": "_texts",
    "Refused": "_guarding",
    "Regex": "_containing",
    "StartsWith": "_containing",
    "StayedInProcess": "_conditions",
    "Succeeded": "_measures",
    "TextForm": "_texts",
    "TextMetric": "_texts",
    "TimeToFirstToken": "_measures",
    "TokenF1": "_overlap",
    "Tokens": "_measures",
    "ToolCalls": "_tools",
    "UsedEngine": "_conditions",
    "summary_of": "_summaries",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
