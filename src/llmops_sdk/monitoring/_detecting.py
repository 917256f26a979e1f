"""The detectors of a monitor: one for each signal and each score, the same ones for all processes.

Their states stand in the store. They are read and written in the transaction that keeps the runs they have seen, so
that they have seen each run once, whichever process wrote it and whatever was killed.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.monitoring._alarms import Alarm
from llmops_sdk.monitoring._counts import Counts
from llmops_sdk.monitoring._drift import Detector, Season
from llmops_sdk.monitoring._records import Kind
from llmops_sdk.monitoring._writing import Writing

__all__ = ["SCORE", "Detecting", "Seen"]

log = logging.getLogger("llmops_sdk")

_MOST = 200
"""Detectors. Evaluators that make up names of scores must not fill the memory."""
SCORE = "score."
"""Detectors of scores are called by this and the score's name."""
_WARM_UP, _WARM_UP_IN_AN_HOUR = 100, 20
"""Observations that are only a reference; with a season there is one for each hour."""


class Seen(NamedTuple):
    """A number that a detector is to see; `at` is when the run ended, in seconds since the epoch."""

    name: str
    kind: Kind
    value: float
    at: float


class Detecting:
    """Feeds the detectors.

    Each owner (a signal, an evaluator; and one for all that people and the application's own code say) has an even
    share of the false alarms. An owner may have several detectors: an evaluator gives several scores, people are asked
    for several things. The k-th of them has 1 / (k (k + 1)) of the share: however many there will be, together they
    never have more than all of it, and none has to give back what it had.

    Args:
        false_alarms_per_day: The most false alarms in a day of all detectors together.
        signals: Names of the signals, each of which has one detector.
        evaluators: Names of the evaluators.
        season: The cycle in which the signals may move.
        counts: Where it is counted what is left out.
    """

    def __init__(
        self,
        false_alarms_per_day: float,
        *,
        signals: Collection[str],
        evaluators: Collection[str],
        season: Season | None,
        counts: Counts,
    ) -> None:
        self._each = false_alarms_per_day / (len(signals) + len(evaluators) + 1)
        self._signals = frozenset(signals)
        self._evaluators = sorted((f"{SCORE}{name}" for name in evaluators), key=len, reverse=True)
        self._season = season
        self._counts = counts
        self._detectors: dict[str, Detector] | None = None
        self._owned: Counter[str] = Counter()

    def forget(self) -> None:
        """What was seen last was not kept: begin again from the store."""
        self._detectors = None

    def see(self, writing: Writing, seen: Iterable[Seen]) -> list[Alarm]:
        """Feed the detectors, keep their states and the alarms, all within `writing`."""
        if self._detectors is None:
            self._detectors = self._loaded(writing)
        alarms: list[Alarm] = []
        places: dict[str, set[str]] = {}
        begun: set[str] = set()
        for one in seen:
            detector = self._detector(self._detectors, one)
            if detector is None:
                self._counts.add("skipped.detectors_full")
                continue
            if not detector.observed:
                begun.add(one.name)
            places.setdefault(one.name, set()).add(detector.place_of(one.at))
            alarm = detector.observe(one.value, one.at)
            if alarm is not None:
                alarms.append(alarm)
                begun.add(one.name)
        for name, touched in places.items():
            self._keep(writing, name, self._detectors[name].state(), None if name in begun else touched)
        for alarm in alarms:
            writing.alarm(alarm)
        return alarms

    def _keep(self, writing: Writing, name: str, state: dict[str, Any], touched: set[str] | None) -> None:
        """Write a state down; of its references only those that were `touched`, or all where it has begun anew."""
        references = state.pop("references")
        if touched is None:
            writing.forget_references(name)
            touched = set(references)
        writing.keep_detector(name, state, {place: references[place] for place in touched if place in references})

    def _loaded(self, writing: Writing) -> dict[str, Detector]:
        detectors: dict[str, Detector] = {}
        self._owned.clear()
        for name, state in writing.detectors():
            try:
                known = state["arguments"]
                wanted = self._arguments(name, known["kind"])
                # Of the rate the one that is stated now counts: what was staked so far was within the one before.
                if {**known, **wanted} != {**known, "false_alarms_per_day": wanted["false_alarms_per_day"]}:
                    raise ConfigurationError("it was made with other options")
                detectors[name] = Detector.from_state({**state, "arguments": {**known, **wanted}})
            except (ConfigurationError, KeyError, TypeError, ValueError) as exc:
                log.warning("the state of the detector %r is not used, it learns its reference again: %s", name, exc)
        return detectors

    def _detector(self, detectors: dict[str, Detector], one: Seen) -> Detector | None:
        detector = detectors.get(one.name)
        if detector is None and len(detectors) < _MOST:
            detector = detectors[one.name] = Detector(**self._arguments(one.name, one.kind))
        return detector

    def _arguments(self, name: str, kind: Kind) -> dict[str, Any]:
        """Those of the next detector of its owner."""
        if name in self._signals:
            share = self._each
        else:
            owner = next((own for own in self._evaluators if name == own or name.startswith(f"{own}.")), "")
            self._owned[owner] += 1
            share = self._each / (self._owned[owner] * (self._owned[owner] + 1))
        return {
            "signal": name,
            "kind": kind,
            "false_alarms_per_day": share,
            "season": self._season,
            "warm_up": _WARM_UP if self._season is None else _WARM_UP_IN_AN_HOUR,
        }
