"""What a report tells, read from the store once, row by row, in memory that does not grow with the number of runs."""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.monitoring._alarms import Alarm
from llmops_sdk.monitoring._records import Kind, StoredRun, StoredScore
from llmops_sdk.monitoring._store import Store

__all__ = ["Bucket", "Case", "Course", "Report", "Scored", "read"]

_WIDTHS_S = (60, 300, 900, 3_600, 3 * 3_600, 6 * 3_600, 86_400, 7 * 86_400, 28 * 86_400)
_MOST_BUCKETS = 84
_SAMPLE = 400
_CASES = 20
_MOST_TAGS = 2_000
OTHER = "(others)"


class Sample:
    """At most 400 of some numbers, each equally likely, and how many there were and their sum."""

    __slots__ = ("_chance", "_kept", "count", "total")

    def __init__(self) -> None:
        self._kept: list[float] = []
        self._chance = random.Random(0)
        self.count = 0
        self.total = 0.0

    def add(self, value: float) -> None:
        """One more."""
        self.count += 1
        self.total += value
        if len(self._kept) < _SAMPLE:
            self._kept.append(value)
        elif (place := self._chance.randrange(self.count)) < _SAMPLE:
            self._kept[place] = value

    @property
    def mean(self) -> float:
        """Of all of them."""
        return self.total / self.count if self.count else math.nan

    def quantile(self, share: float) -> float:
        """Of those that are kept."""
        ordered = sorted(self._kept)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else math.nan


@dataclass(slots=True, kw_only=True)
class Bucket:
    """The runs of one stretch of time."""

    at: float
    runs: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    cost_usd: Decimal = Decimal(0)


@dataclass(slots=True, kw_only=True)
class Course:
    """One signal: its numbers of each stretch of time, and its alarms."""

    name: str
    kind: Kind
    buckets: dict[int, Sample] = field(default_factory=lambda: defaultdict(Sample))
    whole: Sample = field(default_factory=Sample)
    alarms: list[Alarm] = field(default_factory=list)

    @property
    def usual(self) -> float:
        """The level that the first alarm compared with, or else that of the whole time."""
        if self.alarms:
            return self.alarms[0].before
        return self.level(self.whole)

    def level(self, sample: Sample) -> float:
        """The mean of a rate, the median of values."""
        return sample.mean if self.kind == "rate" else sample.quantile(0.5)

    def band(self, sample: Sample) -> tuple[float, float]:
        """For a rate, where 95 of 100 stretches lie as long as nothing changes; for values their middle half."""
        if self.kind == "value":
            return sample.quantile(0.25), sample.quantile(0.75)
        usual = self.usual
        spread = 1.96 * math.sqrt(max(usual * (1 - usual), 0.0) / max(sample.count, 1))
        return max(0.0, usual - spread), min(1.0, usual + spread)


@dataclass(slots=True, kw_only=True)
class Scored:
    """What one evaluator, or people, said."""

    name: str
    by: str
    scores: Sample = field(default_factory=Sample)
    squares: float = 0.0
    labels: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Of the mean, with a confidence of 95 %, by the normal approximation; `None` for fewer than two scores."""
        count = self.scores.count
        if count < 2:
            return None
        variance = max(0.0, self.squares - self.scores.total**2 / count) / (count - 1)
        reach = 1.96 * math.sqrt(variance / count)
        return self.scores.mean - reach, self.scores.mean + reach


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A run that was found bad, and what was said of it."""

    score: StoredScore
    run: StoredRun | None


@dataclass(slots=True, kw_only=True)
class Report:
    """All of it. Times are in seconds since the epoch."""

    since: float
    until: float
    width_s: float
    buckets: list[Bucket]
    pipelines: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    blocked_by: Counter[str] = field(default_factory=Counter)
    seconds: Sample = field(default_factory=Sample)
    cost_usd: Decimal = Decimal(0)
    unpriced: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    by_tag: dict[str, tuple[int, Decimal, int]] = field(default_factory=dict)
    courses: list[Course] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)
    scored: list[Scored] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)
    counters: Mapping[str, int] = field(default_factory=dict)

    def place(self, at: float) -> int:
        """The number of the stretch in which a moment lies."""
        return min(max(int((at - self.since) // self.width_s), 0), len(self.buckets) - 1)


def read(store: Store, since: float | None, until: float | None) -> Report:
    """Read a stretch of time."""
    if since is not None and until is not None and not since < until:
        raise ConfigurationError(f"since={since!r}, until={until!r}: a report begins before it ends")
    report = _frame(store, since, until)
    for run in store.runs(since, until):
        _add_run(report, run)
    _read_courses(store, report, since, until)
    _read_scores(store, report, since, until)
    report.counters = store.counters()
    return report


def _frame(store: Store, since: float | None, until: float | None) -> Report:
    first, last = since, until
    if first is None or last is None:
        times = [run.at for run in (next(store.runs(since, until), None),) if run is not None]
        moments = (run.at for run in store.runs(since, until))
        latest = max(moments, default=None) if last is None else None
        first = first if first is not None else times[0] if times else (last or 1.0) - 1.0
        last = last if last is not None else (latest if latest is not None else first) + 1.0
    last = max(last, first + 1.0)
    width = next((one for one in _WIDTHS_S if (last - first) / one <= _MOST_BUCKETS), (last - first) / _MOST_BUCKETS)
    begin = first // width * width
    count = max(1, math.ceil((last - begin) / width))
    return Report(
        since=begin,
        until=last,
        width_s=width,
        buckets=[Bucket(at=begin + number * width) for number in range(count)],
    )


def _add_run(report: Report, run: StoredRun) -> None:
    bucket = report.buckets[report.place(run.at)]
    bucket.runs += 1
    kind = run.outcome if run.outcome in {"ok", "blocked", "cancelled"} else "error"
    bucket.outcomes[kind] += 1
    report.runs += 1
    report.outcomes[run.outcome] += 1
    report.pipelines[run.pipeline] += 1
    report.seconds.add(run.seconds)
    if run.blocked_by:
        report.blocked_by[run.blocked_by] += 1
    if run.cost_usd is None:
        report.unpriced += 1
    else:
        bucket.cost_usd += run.cost_usd
        report.cost_usd += run.cost_usd
    report.input_tokens += run.input_tokens or 0
    report.output_tokens += run.output_tokens or 0
    for name, value in run.tags.items():
        tag = f"{name}={value}"
        if tag not in report.by_tag and len(report.by_tag) >= _MOST_TAGS:
            tag = OTHER
        runs, cost, unpriced = report.by_tag.get(tag, (0, Decimal(0), 0))
        report.by_tag[tag] = runs + 1, cost + (run.cost_usd or 0), unpriced + (run.cost_usd is None)


def _read_courses(store: Store, report: Report, since: float | None, until: float | None) -> None:
    report.alarms = list(store.alarms(since, until))
    courses = {}
    for name, kind in store.names().items():
        course = Course(name=name, kind="rate" if kind == "rate" else "value")
        for signal in store.signals(name, since, until):
            course.buckets[report.place(signal.at)].add(signal.value)
            course.whole.add(signal.value)
        if course.whole.count:
            courses[name] = course
    for alarm in report.alarms:
        if alarm.signal in courses:
            courses[alarm.signal].alarms.append(alarm)
    # What changed comes first.
    report.courses = sorted(courses.values(), key=lambda course: (not course.alarms, course.name))


def _read_scores(store: Store, report: Report, since: float | None, until: float | None) -> None:
    scored: dict[tuple[str, str], Scored] = {}
    worst: list[tuple[float, int, StoredScore]] = []
    for number, one in enumerate(store.scores(None, since, until)):
        about = scored.setdefault((one.name, one.by), Scored(name=one.name, by=one.by))
        if one.error is not None:
            about.errors[one.error] += 1
        if one.label is not None:
            about.labels[one.label] += 1
        if one.score is not None:
            about.scores.add(one.score)
            about.squares += one.score**2
            heapq.heappush(worst, (-one.score, number, one))
            if len(worst) > _CASES:
                heapq.heappop(worst)
    report.scored = [scored[key] for key in sorted(scored)]
    lowest = sorted(worst, key=lambda entry: (-entry[0], entry[1]))
    report.cases = [Case(score=one, run=store.run(one.run)) for _, _, one in lowest]
