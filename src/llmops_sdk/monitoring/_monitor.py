"""`Monitor`: the hook, and what people do with what it has seen."""

from __future__ import annotations

import logging
import math
import os
import time
import uuid
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self, get_args

from llmops_sdk.calls import Call, Ended, Evaluated, Event, feedback_score
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.faults import error_name
from llmops_sdk.guards import Guard
from llmops_sdk.monitoring._alarms import Alarm, Told
from llmops_sdk.monitoring._batches import Batches
from llmops_sdk.monitoring._budget import DayBudget
from llmops_sdk.monitoring._cases import Case, Where, cases_in, exported
from llmops_sdk.monitoring._content import Kept, cleaning
from llmops_sdk.monitoring._counts import Counts
from llmops_sdk.monitoring._detecting import Detecting
from llmops_sdk.monitoring._drift import Season
from llmops_sdk.monitoring._evaluating import EVALUATING, Evaluations, Said
from llmops_sdk.monitoring._evaluators import EvaluatorLike, embedder, evaluators_of
from llmops_sdk.monitoring._metrics import Metrics
from llmops_sdk.monitoring._options import check_numbers, money, sampling
from llmops_sdk.monitoring._recorder import Recorder, Ways
from llmops_sdk.monitoring._records import StoredScore
from llmops_sdk.monitoring._report import write_report
from llmops_sdk.monitoring._signals import Signal, chosen
from llmops_sdk.monitoring._store import Store, opened_store
from llmops_sdk.pipelines import Pipeline

__all__ = ["Monitor"]

log = logging.getLogger("llmops_sdk")


_ENDING_S = 1.0
"""How long the monitor's thread may take for its last batch."""


class Monitor:
    """Watches the runs of pipelines: keeps what they were like, has a share of them judged, and notices changes.

    It is a hook. `monitor.pipeline` is the pipeline with it; without a pipeline it can be one of the `hooks=[...]` of
    several. On the path of a run it only notes that the run has ended; all else is done on a thread of its own, and
    evaluators work on the SDK's loop. Nothing that goes wrong there reaches a run, and all that is left out is counted
    by reason (`counts`).

    Several processes may share one store. A monitor that is pickled with its pipeline (`map(executor="ray")`) is made
    once in each worker, over the same file and so on the same machine, and without the `meter_provider`. Close the
    monitor (or use it in a `with`) so that nothing is left waiting; at the end of a process that is done for you. It
    counts for what was put in after a fork, too.

    Args:
        pipeline: The pipeline to watch.
        evaluators: Functions of an `Observed` that say how good an answer is (a bool, a number, a label, a `Score`, a
            mapping of these, or `None` for nothing to say), `async` or not; and guards. Or a mapping of names to them.
        sample: Which runs they judge: the share, `0 <= sample <= 1`, drawn by the id of the call and so the same in all
            processes; or a function of the call.
        store: `"sqlite:///monitor.db"`, a path, or a `Store`.
        signals: What is read off each run: names of `SIGNALS`, and `Signal`s of your own. `None`: all of `SIGNALS`.
        embed: An engine that embeds the answers of the sampled runs: their distance from the first 200 is the signal
            `embedding`.
        tags: Names of the tags that are kept; `None` for all.
        content: Whether questions, answers, variables and the explanations of evaluators are kept; `True` keeps what
            the pipeline's guards let pass unseen or made clean, a list of guards has them read it once more. Off by
            default.
        on_alarm: Called with each `Alarm`, on the monitor's thread; one function or several.
        false_alarms_per_day: The most false alarms in a day of all signals and scores together, on average, `> 0`.
        season: The cycle in which signals and scores may move without an alarm: `"day"` compares each run with those of
            the same hour of the day (UTC), `"week"` with those of the same hour of the week. Each hour needs 20 runs
            before it is watched. `None` compares all runs, after the first 100.
        budget_usd: US dollars that evaluators may spend in a day (UTC), over all processes that share the store; those
            under way when it is spent are not stopped. What one spends is what its `Score.cost_usd` says; `judged_by`
            and guards say it. What nobody knows is counted (`evaluations.unpriced`).
        concurrency: How many evaluators work at once, `>= 1`.
        waiting: How many may wait for that; more are left out.
        timeout_s: Seconds for each evaluator.
        queue: Runs that may wait for the monitor's thread, and for a store that cannot be written, `>= 1`; they are
            kept in memory with their texts.
        keep_days: After so many days a run is forgotten, with all that belongs to it; `None` keeps all.
        meter_provider: OpenTelemetry's, for metrics of what was seen.

    Raises:
        ConfigurationError: An argument makes no sense.

    Example:
        >>> import tempfile
        >>> from llmops_sdk.engines import Scripted
        >>> folder = tempfile.TemporaryDirectory()
        >>> def polite(run):
        ...     return "please" in run.answer
        >>> pipeline = "Say {{ word }}" | Scripted("Hello, please!")
        >>> with Monitor(pipeline, evaluators=[polite], sample=1.0, store=f"sqlite:///{folder.name}/m.db") as monitor:
        ...     result = monitor.pipeline.run(word="hello")
        ...     monitor.flush()
        ...     [score.score for score in monitor.store.scores("polite")]
        True
        [1.0]
        >>> folder.cleanup()
    """

    def __init__(
        self,
        pipeline: Pipeline | None = None,
        *,
        evaluators: Sequence[EvaluatorLike] | Mapping[str, EvaluatorLike] = (),
        sample: float | Callable[[Call], object] = 0.05,
        store: Store | str | os.PathLike[str] = "sqlite:///monitor.db",
        signals: Sequence[str | Signal] | None = None,
        embed: Any = None,
        tags: Sequence[str] | None = None,
        content: bool | Sequence[Guard] = False,
        on_alarm: Callable[[Alarm], object] | Sequence[Callable[[Alarm], object]] = (),
        false_alarms_per_day: float = 0.05,
        season: Season | None = "day",
        budget_usd: Decimal | float | str | None = None,
        concurrency: int = 4,
        waiting: int = 100,
        timeout_s: float = 60.0,
        queue: int = 5_000,
        keep_days: float | None = None,
        meter_provider: Any = None,
    ) -> None:
        options = {name: given for name, given in locals().items() if name not in ("self", "pipeline")}
        if pipeline is not None and not isinstance(pipeline, Pipeline):
            raise ConfigurationError(f"a monitor watches a pipeline, `prompt | engine`, not {pipeline!r}")
        check_numbers(
            above_zero={"false_alarms_per_day": false_alarms_per_day, "timeout_s": timeout_s, "keep_days": keep_days},
            whole={"concurrency": (concurrency, 1), "waiting": (waiting, 0), "queue": (queue, 1)},
        )
        if season is not None and season not in get_args(Season):
            raise ConfigurationError(f'`season` is "day", "week" or None, not {season!r}')
        if tags is not None and (isinstance(tags, str) or not isinstance(tags, Iterable)):
            raise ConfigurationError(f"`tags` is a list of names of tags, such as ['team'], not {tags!r}")
        self._told = Told(on_alarm)
        judging = evaluators_of(evaluators)
        read = chosen(signals)
        self._sample = sampling(sample)
        self._metrics = None if meter_provider is None else Metrics(meter_provider)
        self.store = opened_store(store)
        self._counts = Counts()
        budget = DayBudget(money(budget_usd))
        self._evaluations = Evaluations(
            self,
            judging if embed is None else (*judging, embedder(embed)),
            concurrency=concurrency,
            waiting=waiting,
            timeout_s=timeout_s,
            budget=budget,
            counts=self._counts,
            tell=self._put,
        )
        ways = Ways(
            signals=read,
            sampled=self._sample,
            evaluate=self._evaluations.begin,
            tags=None if tags is None else frozenset(tags),
            kept=Kept(content),
            keep_days=keep_days,
            most_waiting=queue,
            fill=lambda: self._batches.fill,
            alarmed=self._on_alarms,
            written=self._on_written,
        )
        detecting = Detecting(
            false_alarms_per_day,
            signals=[one.name for one in read] + ([] if embed is None else ["embedding"]),
            evaluators=[one.name for one in judging],
            season=season,
            counts=self._counts,
        )
        self._recorder = Recorder(self.store, ways, counts=self._counts, detecting=detecting, budget=budget)
        self._batches = Batches(self._recorder.work, most=queue, end=self.close, anew=self._begin_anew)
        self._watched = pipeline
        # The file is meant from wherever a worker stands, and no connection of another process leaves it.
        self._options = {**options, "store": self.store.path, "meter_provider": None}
        self._known_as = uuid.uuid4().hex
        _monitors[self._known_as] = self

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline with this monitor as a hook.

        Raises:
            ConfigurationError: The monitor was made without one.
        """
        if self._watched is None:
            raise ConfigurationError("this monitor has no pipeline of its own: write `Monitor(pipeline, ...)`")
        return self._watched.with_hooks(self)

    def __call__(self, event: Event, call: Call, /) -> None:
        """The hook."""
        if isinstance(event, Ended):
            if EVALUATING.get() is None:
                self._put(call)
        elif isinstance(event, Evaluated) and EVALUATING.get() is not self:
            self._put(_said(event, call))

    def _put(self, item: Call | Said) -> None:
        if not self._batches.put(item):
            self._counts.add("skipped.closed" if self._batches.closed else "skipped.queue_full")

    def feedback(
        self,
        call_id: str,
        *,
        score: float | bool | None = None,
        comment: str | None = None,
        label: str | None = None,
        name: str = "feedback",
    ) -> None:
        """Keep what a person said of a run, now or days later, in this process or another one.

        It waits for nothing: `flush()` says whether it is kept. Feedback on a run that the store does not know is kept,
        and belongs to the run as soon as that comes.

        Args:
            call_id: `result.call.id`, as your application has handed it on to the page where people judge.
            score: A number, by custom from 0 (bad) to 1 (good); `True` and `False` are 1 and 0.
            comment: What the person wrote.
            label: A word, such as `"wrong"`.
            name: What was asked for, where people are asked for several things.

        Raises:
            ConfigurationError: It says nothing, or an argument makes no sense.
        """
        if not isinstance(call_id, str) or not 1 <= len(call_id) <= 128:
            raise ConfigurationError(f"`call_id` is the id of a call, `result.call.id`, not {call_id!r}")
        number = feedback_score(score, comment=comment, label=label, name=name)
        kept = StoredScore(
            run=call_id, at=time.time(), name=name, score=number, label=label, explanation=comment, by="human"
        )
        self._put(Said(scores=(kept,)))

    def cases(
        self, where: Where = "bad", *, since: float | None = None, until: float | None = None, limit: int | None = None
    ) -> Iterator[Case]:
        """Runs that somebody should look at, the newest first.

        Args:
            where: `"bad"`: blocked or failed; a score or feedback under 0.5; a refusal, a loop, a change of language,
                unused documents; or what stands out while an alarm's signal changed. Or a function of a `Case`.
            since: Seconds since the epoch, as `until`, which is not included.
            until: See `since`.
            limit: At most so many.
        """
        if where != "bad" and not callable(where):
            raise ConfigurationError(f"`where` is 'bad' or a function of a case, not {where!r}")
        return cases_in(self.store, where, since=since, until=until, limit=limit)

    def export_cases(
        self,
        path: str | os.PathLike[str],
        where: Where = "bad",
        *,
        redact: Sequence[Guard] = (),
        since: float | None = None,
        until: float | None = None,
        limit: int | None = None,
    ) -> int:
        """Write `cases(...)` to a file, one JSON object a line; gives how many.

        Texts are there only where the monitor kept them (`content=`). The guards of `redact` read each text once more:
        what they rewrite is written as they leave it, anything else that they find something in as `"[withheld]"`.
        """
        by = cleaning(redact, "redact")
        return exported(path, self.cases(where, since=since, until=until, limit=limit), by)

    def report(self, path: str | os.PathLike[str], *, since: float | None = None, until: float | None = None) -> Path:
        """Write what changed, how it went and what it cost to one HTML file; gives its path.

        Args:
            path: The file.
            since: Seconds since the epoch, as `until`, which is not included.
            until: See `since`.

        Raises:
            ConfigurationError: `since` is not before `until`, or the folder is not there.
        """
        return write_report(self.store, path, since=since, until=until)

    @property
    def counts(self) -> dict[str, int]:
        """How often what happened in this process; `store.counters()` has the sums over all.

        `observed` (runs that were read), `stored` (runs that are in the store for good), `evaluations`,
        `evaluations.failed`, `.not_applicable` and `.unpriced`, `alarms`, `store.failed`, `signals.failed.NAME`, and
        `skipped.REASON`: `queue_full`, `closed`, `store`, `evaluations_full`, `budget`, `signals_busy` (texts were not
        read), `detectors_busy` and `detectors_full` (runs that are kept, but that no detector has seen).
        """
        return self._counts.all()

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until all that has come so far is judged and kept; `False` when that took longer, or cannot be done."""
        ends = time.monotonic() + timeout_s
        in_time = self._batches.flush(timeout_s)
        in_time = in_time and self._evaluations.wait(ends - time.monotonic())
        return in_time and self._batches.flush(ends - time.monotonic()) and not self._recorder.waiting

    def close(self, timeout_s: float = 10.0) -> None:
        """Keep all that has come so far, and take nothing more. Closing twice is harmless."""
        if self._batches.closed:
            return
        if not self.flush(timeout_s):
            self._evaluations.give_up()
            log.warning("the monitor was closed before all was kept; %r", self.counts)
        if self._batches.close(_ENDING_S):
            self._recorder.give_up()
        self.store.close()

    def _begin_anew(self) -> None:
        self._counts.begin_anew()
        self._evaluations.begin_anew()
        self._recorder.begin_anew()

    def _on_written(self, counts: Counter[str]) -> None:
        if self._metrics is not None:
            self._metrics.counted(counts)

    def _on_alarms(self, alarms: Sequence[Alarm]) -> None:
        for alarm in alarms:
            if self._metrics is not None:
                self._metrics.alarmed(alarm)
            if failed := self._told(alarm):
                self._counts.add("on_alarm.failed", failed)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self._known_as, self._watched, self._options)

    def __repr__(self) -> str:
        return f"<Monitor of {self.store.path.name!r}>"


_monitors: weakref.WeakValueDictionary[str, Monitor] = weakref.WeakValueDictionary()


def _again(known_as: str, pipeline: Pipeline | None, options: dict[str, Any]) -> Monitor:
    """The monitor of this name in this process, made when it is first unpickled here."""
    known = _monitors.get(known_as)
    if known is None:
        known = Monitor(pipeline, **options)
        known._known_as = known_as
        known = _monitors.setdefault(known_as, known)
    return known


def _said(event: Evaluated, call: Call) -> Said:
    """Somebody else's judgement: a person's, or that of the application's own code."""
    kept = StoredScore(
        run=call.id,
        at=call.wall_time(event.at),
        name=call.hidden_label(event.name),
        score=event.score if event.score is None or math.isfinite(event.score) else None,
        label=None if event.label is None else call.hidden_label(event.label),
        explanation=None if event.explanation is None else call.hidden(event.explanation),
        by=event.by,
        error=None if event.error is None else error_name(event.error),
    )
    return Said(scores=(kept,))
