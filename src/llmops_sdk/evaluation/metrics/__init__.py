"""Metrics: how good an answer is. Each is called with a case and a result, and gives a score.

A function of your own is a metric, too::

    def polite(case, result):
        return "please" in result.text.lower()

Import the module: `from llmops_sdk.evaluation import metrics`, then `metrics.Exact()`.
"""

from __future__ import annotations

from llmops_sdk.evaluation.metrics._exact import Exact
from llmops_sdk.evaluation.metrics._metric import Metric, MetricLike, Score, metric, metrics_of, scores_of

__all__ = ["Exact", "Metric", "MetricLike", "Score", "metric", "metrics_of", "scores_of"]
