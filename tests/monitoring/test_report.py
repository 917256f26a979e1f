"""The report: what a store holds, told in one page that needs nothing else."""

from __future__ import annotations

import contextlib
import random
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import pytest

from llmops_sdk.engines import Scripted
from llmops_sdk.errors import ConfigurationError, EngineConnectionError
from llmops_sdk.monitoring import Alarm, Detector, Monitor, Observed, Store, StoredRun, StoredScore, StoredSignal
from llmops_sdk.monitoring._report import report_text, write_report
from llmops_sdk.monitoring._report.reading import OTHER, read

MONDAY = 1_796_000_000.0 // 86_400 * 86_400
DAY_S = 86_400.0
EVIL = "<script>alert('x')</script>\"'&"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "monitor.db")
    yield opened
    opened.close()


def fill(store: Store, *, count: int = 2_000, days: int = 4, turn: int | None = 1_400, tag: str = "sales") -> None:
    """Runs of some days, in which the refusals become more often from number `turn` on."""
    chance, detector = random.Random(1), Detector("refusal", kind="rate")
    with store.writing() as writing:
        for number in range(count):
            at, name = MONDAY + number * days * DAY_S / count, f"run-{number:05d}"
            refused = float(chance.random() < (0.15 if turn is not None and number >= turn else 0.02))
            outcome = "blocked" if number % 50 == 0 else "TimeoutError" if number % 200 == 1 else "ok"
            run = StoredRun(
                id=name,
                at=at,
                pipeline="support",
                outcome=outcome,
                tags={"team": tag},
                seconds=1.0 + number % 10 / 10,
                cost_usd=None if number % 100 == 0 else Decimal("0.002"),
                input_tokens=100,
                output_tokens=10,
                blocked_by="PII" if outcome == "blocked" else None,
                question=tag,
                answer=tag,
            )
            signals = [
                StoredSignal(run=name, at=at, name="refusal", kind="rate", value=refused),
                StoredSignal(run=name, at=at, name="latency_s", kind="value", value=run.seconds),
            ]
            writing.run(run, signals)
            if (alarm := detector.observe(refused, at)) is not None:
                writing.alarm(alarm)
            if number % 40 == 0:
                writing.score(StoredScore(run=name, at=at, name="helpful", score=number % 3 / 2, by="llm", label=tag))
        writing.score(StoredScore(run="elsewhere", at=MONDAY + 9, name="feedback", score=-1.0, by="human"))
        writing.score(StoredScore(run="run-00001", at=MONDAY + 9, name="helpful", by="llm", error="RateLimitError"))
        writing.count("skipped.queue_full", 12)


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loaded: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loaded += [value or "" for name, value in attrs if name in {"src", "href", "action", "xlink:href"}]
        self.loaded += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_verdict_comes_first_and_in_words(store: Store, tmp_path: Path) -> None:
    fill(store)
    page = _Page(write_report(store, tmp_path / "week.html").read_text("utf-8"))
    assert "1 alarm: refusal changed." in page.text
    assert "refusal rose from " in page.text
    assert page.text.index("1 alarm") < page.text.index("Signals")
    for told in ("2,000", "TimeoutError", "PII", "team=sales", "skipped.queue_full", "RateLimitError", "elsewhere"):
        assert told in page.text


def test_without_an_alarm_it_says_so(store: Store, tmp_path: Path) -> None:
    fill(store, count=1_000, turn=None)
    assert "No alarm" in write_report(store, tmp_path / "week.html").read_text("utf-8")


def test_what_others_wrote_stays_text_and_nothing_is_loaded(store: Store, tmp_path: Path) -> None:
    fill(store, count=500, tag=EVIL)
    text = write_report(store, tmp_path / "week.html").read_text("utf-8")
    page = _Page(text)
    assert "script" not in page.tags
    assert page.loaded == []
    assert "url(" not in text
    assert "@import" not in text
    assert EVIL in page.text


def test_its_pictures_are_well_formed(store: Store, tmp_path: Path) -> None:
    fill(store)
    text = write_report(store, tmp_path / "week.html").read_text("utf-8")
    pictures = [part.split("</svg>")[0] + "</svg>" for part in text.split("<svg")[1:]]
    assert len(pictures) == 4  # runs, cost, two signals
    for picture in pictures:
        # HTML lets short attributes stand without quotes; XML does not.
        ET.fromstring("<svg" + re.sub(r"class=(\w+)", r'class="\1"', picture))
        assert "nan" not in picture


def test_figures_are_those_of_the_store(store: Store) -> None:
    fill(store)
    report = read(store, None, None)
    assert (report.runs, report.outcomes["blocked"], report.unpriced) == (2_000, 40, 20)
    assert report.cost_usd == Decimal("0.002") * 1_980
    assert sum(bucket.runs for bucket in report.buckets) == 2_000
    assert report.seconds.quantile(0.5) == pytest.approx(1.5, abs=0.1)
    helpful = next(one for one in report.scored if one.name == "helpful")
    assert helpful.interval is not None
    assert helpful.interval[0] < helpful.scores.mean < helpful.interval[1]
    assert (helpful.scores.count, dict(helpful.errors)) == (50, {"RateLimitError": 1})
    assert report.cases[0].score.run == "elsewhere"
    assert report.cases[0].run is None
    assert [case.score.score for case in report.cases] == sorted(case.score.score or 0 for case in report.cases)


def test_a_cost_that_is_not_known_is_not_told_as_nothing(store: Store, tmp_path: Path) -> None:
    fill(store, count=50)  # the first of them has no price
    page = _Page(write_report(store, tmp_path / "week.html").read_text("utf-8"))
    assert "cost ≥ $0.098" in report_text(store)
    assert "≥ $0.098" in page.text
    with store.writing() as writing:
        writing.run(StoredRun(id="free", at=MONDAY, pipeline="p", outcome="ok", tags={"team": "new"}, seconds=1.0), [])
    assert read(store, None, None).by_tag["team=new"] == (1, 0, 1)


def test_it_tells_only_of_the_time_that_was_asked_for(store: Store) -> None:
    fill(store)
    report = read(store, MONDAY + DAY_S, MONDAY + 2 * DAY_S)
    assert report.runs == 500
    assert (report.since, report.until) == (MONDAY + DAY_S, MONDAY + 2 * DAY_S)
    assert report.alarms == []


def test_many_different_tags_are_bounded(store: Store) -> None:
    with store.writing() as writing:
        for number in range(2_100):
            tags = {"user": str(number)}
            writing.run(StoredRun(id=str(number), at=MONDAY, pipeline="p", outcome="ok", seconds=1.0, tags=tags))
    report = read(store, None, None)
    assert len(report.by_tag) == 2_001
    assert report.by_tag[OTHER][0] == 100


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_store_with_next_to_nothing_makes_a_page(store: Store, tmp_path: Path, count: int) -> None:
    with store.writing() as writing:
        for number in range(count):
            run = StoredRun(id=str(number), at=MONDAY + number, pipeline="p", outcome="ok", seconds=0.0)
            writing.run(run, [StoredSignal(run=run.id, at=run.at, name="refusal", kind="rate", value=0.0)])
    text = write_report(store, tmp_path / "week.html").read_text("utf-8")
    assert ("No runs were observed." in text) == (count == 0)
    assert report_text(store)


def test_the_text_steers_no_terminal(store: Store) -> None:
    fill(store)
    with store.writing() as writing:
        writing.score(StoredScore(run="run-00001", at=MONDAY, name="\x1b[2Jgone", score=1.0))
    text = report_text(store)
    assert "\x1b" not in text
    assert "1 alarm: refusal changed." in text
    assert "2,000 runs: " in text


def test_a_report_that_cannot_be_written_leaves_the_old_one(store: Store, tmp_path: Path) -> None:
    old = tmp_path / "week.html"
    old.write_text("old", "utf-8")
    with pytest.raises(ConfigurationError, match="begins before it ends"):
        write_report(store, old, since=2.0, until=1.0)
    assert old.read_text("utf-8") == "old"
    with pytest.raises(ConfigurationError, match="no folder"):
        write_report(store, tmp_path / "missing" / "week.html")
    assert [path.name for path in tmp_path.glob("*.html*")] == ["week.html"]


def brief(run: Observed) -> float:
    return 1 / len(run.answer)


def test_real_runs_are_told(tmp_path: Path) -> None:
    pipeline = "Say {{ word }}" | Scripted("Hello.", EngineConnectionError("no", engine="e"))
    with Monitor(pipeline, evaluators=[brief], sample=1.0, store=tmp_path / "m.db") as monitor:
        for number in range(30):
            with contextlib.suppress(EngineConnectionError):
                monitor.pipeline.run(word=str(number), tags={"team": EVIL})
        assert monitor.flush()
        page = _Page(monitor.report(tmp_path / "week.html").read_text("utf-8"))
    for told in (
        "No alarm",
        "EngineConnectionError 15",
        f"team={EVIL}",
        "latency_s",
        "refusal",
        "Lowest scores",
        "brief",
    ):
        assert told in page.text
    assert "script" not in page.tags
    assert "Hello" not in page.text  # texts are not kept unless somebody asks for it


def test_a_page_of_years_with_names_without_end_stays_small(tmp_path: Path) -> None:
    store = Store(tmp_path / "years.db")
    with store.writing() as writing:
        for number in range(600):
            at = 1.2e9 + number * 12 * 86_400
            run = StoredRun(id=f"{number:032}", at=at, pipeline=f"p{number}", outcome=f"E{number}", seconds=1.0)
            signal = StoredSignal(run=run.id, at=at, name=f"s{number % 80}", kind="value", value=float(number))
            writing.run(run, [signal])
            writing.score(StoredScore(run=run.id, at=at, name=f"n{number}", score=0.1, explanation="e" * 5_000))
            writing.count(f"signals.failed.{number}")
            writing.alarm(
                Alarm(
                    signal="s1", at=at, direction="up", before=1.0, now=2.0, since=at, evidence=1.0, message="m" * 200
                )
            )
    page = write_report(store, tmp_path / "years.html").read_text("utf-8")
    store.close()
    assert len(page) < 300_000
    assert "and 595 more" in page
    assert "and 40 other signals" in page
    assert "and 500 other names" in page


def test_no_character_that_is_not_seen_gets_onto_the_page(store: Store, tmp_path: Path) -> None:
    evil = "a\x00b\x1b[31m\u202ec\ud800"
    run = StoredRun(id="0" * 32, at=1.8e9, pipeline=evil, outcome="ok", tags={evil: evil}, seconds=1.0)
    with store.writing() as writing:
        writing.run(run)
        writing.score(StoredScore(run=run.id, at=1.8e9, name=evil, score=0.0, label=evil))
    page = write_report(store, tmp_path / "evil.html").read_text("utf-8")
    assert not re.search("[\x00\x1b\u202e\ud800]", page)
