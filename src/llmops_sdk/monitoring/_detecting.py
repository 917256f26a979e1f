"""The detectors of a monitor: one for each signal and each score, the same ones for all processes.

Their states stand in the store. They are read and written in the transaction that keeps the runs they have seen, so
that they have seen each run once, whichever process wrote it and whatever was killed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import NamedTuple

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.monitoring._alarms import Alarm
from llmops_sdk.monitoring._counts import Counts
from llmops_sdk.monitoring._drift import Detector
from llmops_sdk.monitoring._records import Kind
from llmops_sdk.monitoring._writing import Writing

__all__ = ["Detecting", "Seen"]

log = logging.getLogger("llmops_sdk")

_MOST = 200
"""Detectors. Evaluators that make up names of scores must not fill the memory."""


class Seen(NamedTuple):
    """A number that a detector is to see; `at` is when the run ended, in seconds since the epoch."""

    name: str
    kind: Kind
    value: float
    at: float


class Detecting:
    """Feeds the detectors.

    Args:
        false_alarms_per_day: The most false alarms in a day of all detectors together.
        expected: How many detectors that is shared among.
        counts: Where it is counted what is left out.
    """

    def __init__(self, false_alarms_per_day: float, expected: int, counts: Counts) -> None:
        self._each = false_alarms_per_day / expected
        self._counts = counts
        self._detectors: dict[str, Detector] | None = None

    def forget(self) -> None:
        """What was seen last was not kept: begin again from the store."""
        self._detectors = None

    def see(self, writing: Writing, seen: Iterable[Seen]) -> list[Alarm]:
        """Feed the detectors, keep their states and the alarms, all within `writing`."""
        if self._detectors is None:
            self._detectors = self._loaded(writing)
        alarms: list[Alarm] = []
        touched: set[str] = set()
        for name, kind, value, at in seen:
            detector = self._detector(self._detectors, name, kind)
            if detector is None:
                self._counts.add("skipped.detectors_full")
                continue
            touched.add(name)
            alarm = detector.observe(value, at)
            if alarm is not None:
                alarms.append(alarm)
        writing.keep_detectors({name: self._detectors[name].state() for name in touched})
        for alarm in alarms:
            writing.alarm(alarm)
        return alarms

    def _loaded(self, writing: Writing) -> dict[str, Detector]:
        detectors: dict[str, Detector] = {}
        for name, state in writing.detectors().items():
            try:
                detectors[name] = Detector.from_state(dict(state))
            except (ConfigurationError, KeyError, TypeError, ValueError):
                log.warning("the state of the detector %r is of another version; it learns its reference again", name)
        return detectors

    def _detector(self, detectors: dict[str, Detector], name: str, kind: Kind) -> Detector | None:
        detector = detectors.get(name)
        if detector is None and len(detectors) < _MOST:
            detector = detectors[name] = Detector(name, kind=kind, false_alarms_per_day=self._each)
        return detector
