"""From runs that have ended to the store: on the monitor's thread, some at a time, each batch one transaction."""

from __future__ import annotations

import logging
import math
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from llmops_sdk.calls import Call
from llmops_sdk.faults import Faults, error_name
from llmops_sdk.monitoring._alarms import Alarm
from llmops_sdk.monitoring._budget import DayBudget, day_of
from llmops_sdk.monitoring._content import Kept
from llmops_sdk.monitoring._counts import Counts
from llmops_sdk.monitoring._detecting import SCORE, Detecting, Seen
from llmops_sdk.monitoring._embedding import Embedding
from llmops_sdk.monitoring._evaluating import Said
from llmops_sdk.monitoring._observed import Observed, observed_of
from llmops_sdk.monitoring._records import StoredRun, StoredSignal
from llmops_sdk.monitoring._signals import Signal
from llmops_sdk.monitoring._store import Store
from llmops_sdk.monitoring._writing import Writing
from llmops_sdk.usage import EXACT

__all__ = ["Recorder", "Ways"]

log = logging.getLogger("llmops_sdk")

_NAP_S = 0.00005
"""A thread that only computes keeps the interpreter for 5 ms at a time, and each answer of the application would wait
for that long. So it naps after each run, and they wait for one run at most."""
_FEW = 0.1
"""How full the queue is when there is time for naps; a busy machine makes them long."""
_CALM = 0.2
"""How full it is at most when each run is read whole. Of a batch that comes when it is fuller, an even share is."""
_MOST_WHOLE = 100
"""Runs of one batch that then are read whole: their texts too, and detectors see them. Which ones depends on nothing
that they say, so it changes no rate of false alarms."""
_AGAIN_S = 1.0
"""After so long a store that could not be written is tried again."""
_PRUNED_EVERY_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """How a monitor treats runs.

    Attributes:
        signals: What is read off each run.
        sampled: Whether a run is drawn for the evaluators.
        evaluate: Hands a run to them.
        tags: Names of the tags that are kept; `None` for all.
        kept: Which texts are kept.
        keep_days: After so many days runs are forgotten; `None` for never.
        most_waiting: Runs that wait for a store that cannot be written; later ones are lost, and counted.
        fill: How full the queue is, 0 to 1.
        alarmed: Called with the alarms that were raised.
        written: Called with the counters that were new in a batch, once it is kept.
    """

    signals: Sequence[Signal]
    sampled: Callable[[Call], bool]
    evaluate: Callable[[Observed], None]
    tags: frozenset[str] | None
    kept: Kept
    keep_days: float | None
    most_waiting: int
    fill: Callable[[], float]
    alarmed: Callable[[Sequence[Alarm]], None]
    written: Callable[[Counter[str]], None]


@dataclass(frozen=True, slots=True)
class _Row:
    """A run that is ready to be written; `whole` where its texts were read, and detectors are to see it."""

    run: StoredRun
    signals: tuple[StoredSignal, ...]
    whole: bool


class Recorder:
    """Reads runs, and writes what it read.

    Args:
        store: Where to.
        ways: How.
        counts: What happened how often.
        detecting: The detectors.
        budget: What evaluators may spend.
    """

    def __init__(self, store: Store, ways: Ways, *, counts: Counts, detecting: Detecting, budget: DayBudget) -> None:
        self._store = store
        self._ways = ways
        self._counts = counts
        self._detecting = detecting
        self._budget = budget
        self._embedding = Embedding()
        self._steps = {signal.name: signal.step for signal in ways.signals if signal.step}
        self._faults = Faults()
        self.begin_anew()

    def begin_anew(self) -> None:
        """In a forked child: what waits is the parent's."""
        self.waiting: list[_Row | Said] = []
        self._stuck = False  # the store could not be written
        self._pruned_at = 0.0
        self._more_to_prune = False
        self._detecting.forget()

    def work(self, batch: list[Call | Said]) -> float | None:
        """Read the runs, and write all that waits; gives the seconds after which to try again what failed."""
        every = 1 if self._ways.fill() <= _CALM else math.ceil(len(batch) / _MOST_WHOLE)
        for number, item in enumerate(batch):
            if self._stuck and len(self.waiting) >= self._ways.most_waiting:
                self._counts.add("skipped.store")
                continue
            try:
                whole = number % every == 0
                self.waiting.append(self._heard(item) if isinstance(item, Said) else self._read(item, whole=whole))
            except Exception as exc:  # noqa: BLE001  (a run that nobody foresaw must not end the thread)
                self._failed("skipped.unreadable", exc, quotes=True)
            if self._ways.fill() < _FEW:
                time.sleep(_NAP_S)
        return self._write_all()

    def give_up(self) -> None:
        """The monitor is closed, and nobody writes any more: what waits is lost, and counted."""
        lost, self.waiting = self.waiting, []
        if lost:
            self._counts.add("skipped.store", len(lost))

    # Reading.

    def _read(self, call: Call, *, whole: bool) -> _Row:
        run = observed_of(call)
        sampled = self._sampled(call)
        row = _Row(self._stored(run, sampled), tuple(self._signals(run, whole=whole)), whole)
        self._counts.add("observed")
        if sampled:
            self._ways.evaluate(run)
        return row

    def _heard(self, said: Said) -> Said:
        return replace(said, scores=tuple(map(self._ways.kept.said, said.scores)))

    def _sampled(self, call: Call) -> bool:
        try:
            return self._ways.sampled(call)
        except Exception as exc:  # noqa: BLE001  (of the application)
            self._failed("sample.failed", exc, quotes=True)
            return False

    def _signals(self, run: Observed, *, whole: bool) -> list[StoredSignal]:
        found = []
        for signal in self._ways.signals:
            if signal.reads_text and not whole:
                self._counts.add("skipped.signals_busy")
                continue
            try:
                read = signal.read(run)
            except Exception as exc:  # noqa: BLE001  (of the application, or of a text that nobody foresaw)
                self._failed(f"signals.failed.{signal.name}", exc, quotes=True)
                continue
            if read is not None:
                label = None if read.label is None else run.call.hidden_label(read.label)
                found.append(read if label == read.label else replace(read, label=label))
        return found

    def _stored(self, run: Observed, sampled: bool) -> StoredRun:
        question, answer, variables = self._ways.kept.texts(run.call)
        response, prompt = run.response, run.prompt
        return StoredRun(
            id=run.id,
            at=run.at,
            pipeline=run.pipeline,
            outcome=run.outcome,
            tags={
                str(name): str(value)
                for name, value in run.call.shown_tags.items()
                if self._ways.tags is None or name in self._ways.tags
            },
            seconds=run.seconds,
            cost_usd=run.cost_usd,
            input_tokens=run.usage.input_tokens,
            output_tokens=run.usage.output_tokens,
            model=None if response is None else response.model,
            engine=None if response is None else response.engine,
            prompt=None if prompt is None else prompt.name,
            prompt_version=None if prompt is None else prompt.version,
            prompt_commit=None if prompt is None else prompt.commit,
            blocked_by=run.blocked_by,
            sampled=sampled,
            question=question,
            answer=answer,
            variables=variables,
        )

    # Writing.

    def _write_all(self) -> float | None:
        batch = self.waiting
        if not (batch or self._more_to_prune or self._counts.unwritten):
            return None
        try:
            self._write(batch)
            self._stuck = False
        except (sqlite3.OperationalError, OSError) as exc:  # locked, full, gone: it may be better later
            self._failed("store.failed", exc)
            self._stuck = True
            return _AGAIN_S
        except Exception as exc:  # noqa: BLE001  (damaged, or one of them cannot be written)
            self._failed("store.failed", exc)
            if len(batch) == 1:
                self.waiting = []
                self._counts.add("skipped.store")
                return None
            return self._one_by_one(batch)
        self.waiting = []
        return _NAP_S if self._more_to_prune else None

    def _one_by_one(self, batch: list[_Row | Said]) -> float | None:
        for number, item in enumerate(batch):
            self.waiting = [item]
            again_s = self._write_all()
            if again_s is not None and self.waiting:
                self.waiting = batch[number:]
                return again_s
        self.waiting = []
        return None

    def _write(self, batch: list[_Row | Said]) -> None:
        counts, new = self._counts.take(), Counter[str]()
        day, ours = day_of(time.time()), Decimal(0)
        alarms: list[Alarm] = []
        try:
            with self._store.writing() as writing:
                if self._store.changed_by_others():
                    self._detecting.forget()
                    self._embedding.forget()
                seen: list[Seen] = []
                for item in batch:
                    if isinstance(item, Said):
                        ours = EXACT.add(ours, item.spent_usd)
                        seen += self._say(writing, item)
                    elif writing.run(item.run, item.signals):
                        new["stored"] += 1
                        if not item.whole:
                            new["skipped.detectors_busy"] += 1
                            continue
                        ended = item.run.at + item.run.seconds
                        seen += [Seen(one.name, one.kind, self._stepped(one), ended) for one in item.signals]
                alarms = self._detecting.see(writing, seen)
                if alarms:
                    new["alarms"] = len(alarms)
                self._embedding.keep(writing)
                for name, more in (counts + new).items():
                    writing.count(name, more)
                spent = writing.spend(day, ours) if self._budget.usd is not None else Decimal(0)
                self._prune(writing)
        except BaseException:
            self._counts.give_back(counts)
            self._detecting.forget()
            self._embedding.forget()
            raise
        self._counts.written(new)
        self._ways.written(counts + new)
        self._budget.written(day, spent, ours)
        if alarms:
            self._ways.alarmed(alarms)

    def _stepped(self, signal: StoredSignal) -> float:
        step = self._steps.get(signal.name)
        return signal.value if step is None else round(signal.value / step) * step

    def _say(self, writing: Writing, said: Said) -> list[Seen]:
        seen = []
        for score in said.scores:
            writing.score(score)
            if score.score is not None:
                # What was said of a run belongs to the hour of the run, where that is known.
                seen.append(Seen(f"{SCORE}{score.name}", "value", score.score, said.at or score.at))
        if said.vector is not None:
            distance = self._embedding.distance(writing, said.vector)
            if distance is not None and writing.signal(said.run, "embedding", "value", distance):
                seen.append(Seen("embedding", "value", distance, said.at))
        return seen

    def _prune(self, writing: Writing) -> None:
        days, now = self._ways.keep_days, time.time()
        if days is not None and (self._more_to_prune or now - self._pruned_at >= _PRUNED_EVERY_S):
            self._more_to_prune = writing.prune(now - days * 86_400)
            self._pruned_at = now

    def _failed(self, name: str, error: BaseException, *, quotes: bool = False) -> None:
        """Count it, and say so once for each kind; of one that may quote a text only the class."""
        self._counts.add(name)
        if self._faults.is_new(name, error):
            said = error_name(error) if quotes else error
            log.warning("the monitor goes on without: %s (%s); the like is counted, and not logged again", name, said)
