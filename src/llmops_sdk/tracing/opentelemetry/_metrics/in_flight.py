"""What is under way: runs by pipeline, attempts by engine."""

from __future__ import annotations

import os
import weakref
from collections import Counter
from collections.abc import Iterable, Mapping

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from llmops_sdk.tracing._dialects import names as attributes
from llmops_sdk.tracing._text import name_of
from llmops_sdk.tracing.opentelemetry._metrics import names

__all__ = ["InFlight"]


class InFlight:
    """Keeps the runs that have begun and not ended, with the engines that each is asking.

    Nothing is counted up and down: a run that is gone takes all its attempts with it, so a number cannot drift. Each
    change is one operation of a dict or a list, which no other thread comes between; numbers are made when somebody
    collects them. A forked child begins with none: the runs of its parent end there.
    """

    def __init__(self, meter: Meter) -> None:
        self._runs: dict[str, tuple[str, list[str]]] = {}
        self._pipelines: dict[str, None] = {}  # of each that was seen a number is told, which may be 0
        self._engines: dict[str, None] = {}
        forget = weakref.WeakMethod(self._forget)
        os.register_at_fork(after_in_child=lambda: own() if (own := forget()) is not None else None)
        meter.create_observable_up_down_counter(
            names.RUNS_IN_FLIGHT, [self._read_runs], unit="{run}", description="Runs that have begun and not ended"
        )
        meter.create_observable_up_down_counter(
            names.ATTEMPTS_IN_FLIGHT,
            [self._read_attempts],
            unit="{attempt}",
            description="Engines that are being asked by runs",
        )

    def begun(self, run: str, pipeline: str) -> None:
        """A run has begun."""
        self._pipelines[pipeline] = None
        self._runs[run] = (pipeline, [])

    def ended(self, run: str) -> None:
        """It has ended."""
        self._runs.pop(run, None)

    def asked(self, run: str, engine: str) -> None:
        """It asks an engine."""
        one = self._runs.get(run)
        if one is not None:
            self._engines[engine] = None
            one[1].append(engine)

    def answered(self, run: str, engine: str) -> bool:
        """The engine has answered or failed; whether the run is still under way."""
        one = self._runs.get(run)
        if one is None:
            return False
        if engine in one[1]:  # else it was asked for another run, which has left it to this one
            one[1].remove(engine)
        return True

    def _forget(self) -> None:
        self._runs.clear()

    def _read_runs(self, _: CallbackOptions) -> Iterable[Observation]:
        pipelines = Counter(pipeline for pipeline, _ in list(self._runs.values()))
        return _observations(pipelines, list(self._pipelines), attributes.AGENT_NAME)

    def _read_attempts(self, _: CallbackOptions) -> Iterable[Observation]:
        engines = Counter(engine for _, asked in list(self._runs.values()) for engine in tuple(asked))
        return _observations(engines, list(self._engines), attributes.ENGINE)


def _observations(counts: Mapping[str, int], known: Iterable[str], attribute: str) -> Iterable[Observation]:
    return [Observation(counts.get(name, 0), {attribute: name_of(name)}) for name in known]
