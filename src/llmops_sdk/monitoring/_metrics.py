"""What a monitor counts, as OpenTelemetry metrics of the application's own meter provider."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.monitoring._alarms import Alarm
from llmops_sdk.monitoring._records import StoredScore

__all__ = ["Metrics"]

_SCORES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class Metrics:
    """Nothing of OpenTelemetry is imported for it: whoever has a meter provider hands it in.

    Raises:
        ConfigurationError: It is no meter provider.
    """

    def __init__(self, provider: Any) -> None:
        if not callable(getattr(provider, "get_meter", None)):
            raise ConfigurationError(
                f"`meter_provider` is an OpenTelemetry MeterProvider, such as `metrics.get_meter_provider()`, "
                f"not {provider!r}"
            )
        meter = provider.get_meter("llmops_sdk")
        name = "llmops.monitoring"
        self._observed = meter.create_counter(f"{name}.observed", unit="{run}", description="Runs that were observed")
        self._skipped = meter.create_counter(
            f"{name}.skipped", unit="{item}", description="What was left out, by reason"
        )
        self._evaluations = meter.create_counter(
            f"{name}.evaluations", unit="{evaluation}", description="What evaluators were asked, by result"
        )
        self._alarms = meter.create_counter(f"{name}.alarms", unit="{alarm}", description="Alarms, by signal")
        self._scores = meter.create_histogram(
            f"{name}.score",
            unit="1",
            description="Scores of evaluators and people",
            explicit_bucket_boundaries_advisory=_SCORES,
        )

    def counted(self, counts: Counter[str], scores: Sequence[StoredScore]) -> None:
        """These are new."""
        for name, more in counts.items():
            kind, _, detail = name.partition(".")
            if name == "observed":
                self._observed.add(more)
            elif kind == "skipped":
                self._skipped.add(more, {"reason": detail})
            elif kind == "evaluations" and detail != "unpriced":  # those are among the others
                self._evaluations.add(more, {"result": detail or "ok"})
        for score in scores:
            if score.score is not None:
                self._scores.record(score.score, {"name": score.name, "by": score.by})

    def alarmed(self, alarm: Alarm) -> None:
        """An alarm was raised."""
        self._alarms.add(1, {"signal": alarm.signal, "direction": alarm.direction})
