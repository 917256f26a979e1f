"""The instruments of our own metrics, and those of runs and tools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from opentelemetry.metrics import Counter, Histogram, Meter

from llmops_sdk.tracing.opentelemetry._metrics import names
from llmops_sdk.tracing.opentelemetry._metrics.conventions import SECONDS, histogram

__all__ = ["Instruments"]

_RUN_SECONDS: Final = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 102.4, 204.8, 409.6)
"""Advised by the conventions for agents and workflows."""

_GUARD_SECONDS: Final = (
    0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""A pattern takes microseconds, a judge seconds."""

_SCORES: Final = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 2.0, 3.0, 4.0, 5.0, 10.0)
"""Most scores are shares; some are marks up to 5 or 10."""


class Instruments:
    """Makes them all; each is one attribute."""

    def __init__(self, meter: Meter) -> None:
        def seconds(name: str, boundaries: Sequence[float], description: str) -> Histogram:
            return histogram(meter, name, "s", boundaries, description)

        def counter(name: str, unit: str, description: str) -> Counter:
            return meter.create_counter(name, unit=unit, description=description)

        self.runs = counter(names.RUNS, "{run}", "Runs that have ended, by outcome")
        self.run_duration = seconds(names.INVOKE_AGENT_DURATION, _RUN_SECONDS, "How long runs took")
        self.tool_duration = seconds(names.EXECUTE_TOOL_DURATION, SECONDS, "How long tools took")
        self.spent_usd = counter(names.SPENT_USD, "{USD}", "US dollars that attempts have cost")
        self.estimated_usd = counter(
            names.ESTIMATED_SPENT_USD, "{USD}", "US dollars that attempts may have cost which nobody has counted"
        )
        self.unpriced = counter(names.ATTEMPTS_UNPRICED, "{attempt}", "Attempts of which nobody knows the cost")
        self.longest_gap = seconds(names.STREAM_LONGEST_GAP, SECONDS, "Longest wait between two chunks of a stream")
        self.guard_verdicts = counter(names.GUARD_VERDICTS, "{verdict}", "Verdicts of guards, by action")
        self.guard_duration = seconds(names.GUARD_DURATION, _GUARD_SECONDS, "How long guards worked")
        self.retries = counter(names.RETRIES, "{retry}", "Engines that were asked again after a wait")
        self.failovers = counter(names.FAILOVERS, "{failover}", "Failures after which another engine was asked")
        self.hedges = counter(names.HEDGES, "{hedge}", "Engines that were asked beside a slow one")
        self.escalations = counter(names.ESCALATIONS, "{escalation}", "Answers that were not good enough")
        self.streams_resumed = counter(names.STREAMS_RESUMED, "{stream}", "Broken streams that went on elsewhere")
        self.limit_wait = seconds(names.LIMIT_WAIT_DURATION, SECONDS, "How long runs waited for a limit")
        self.limits_degraded = counter(names.LIMITS_DEGRADED, "{time}", "Times that shared limits were out of reach")
        self.cache_answers = counter(names.CACHE_ANSWERS, "{answer}", "Answers that a cache gave")
        self.output_validations = counter(names.OUTPUT_VALIDATIONS, "{answer}", "Answers held against their schema")
        self.evaluations = counter(names.EVALUATIONS, "{evaluation}", "Evaluations of runs, by label")
        self.evaluation_score = histogram(meter, names.EVALUATION_SCORE, "1", _SCORES, "Scores of runs")
        self.values_folded = counter(
            names.VALUES_FOLDED, "{value}", "Values of attributes that became `other`, since there are too many"
        )
