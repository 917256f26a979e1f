"""What a monitor counts, as OpenTelemetry metrics of the application's own meter provider."""

from __future__ import annotations

from collections import Counter
from typing import Any

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.monitoring._alarms import Alarm

__all__ = ["Metrics"]


class Metrics:
    """Nothing of OpenTelemetry is imported for it: whoever has a meter provider hands it in.

    What was said of runs is not among them: each judgement is an event of its run, which `tracing.Metrics` counts.

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
        self._alarms = meter.create_counter(f"{name}.alarms", unit="{alarm}", description="Alarms, by signal")

    def counted(self, counts: Counter[str]) -> None:
        """These are new."""
        for name, more in counts.items():
            kind, _, detail = name.partition(".")
            if name == "observed":
                self._observed.add(more)
            elif kind == "skipped":
                self._skipped.add(more, {"reason": detail})

    def alarmed(self, alarm: Alarm) -> None:
        """An alarm was raised."""
        self._alarms.add(1, {"signal": alarm.signal, "direction": alarm.direction})
