"""A report as one HTML page; nothing is loaded, and all that others wrote is escaped."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby

from llmops_sdk.monitoring._alarms import figure
from llmops_sdk.monitoring._report.charts import bars, course, outcomes
from llmops_sdk.monitoring._report.reading import Case, Course, Report, Scored
from llmops_sdk.monitoring._report.style import STYLE
from llmops_sdk.monitoring._report.words import headline, level, moment, money, spent

__all__ = ["page"]

_MOST_ROWS = 12
_MOST_NAMES, _MOST_COURSES, _MOST_SCORED = 5, 40, 100
"""However many pipelines, signals and scores there were in however many years, the page stays one that can be read."""
_MOST_CHARACTERS = 400
_DAY_S = 86_400
_HIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def page(report: Report) -> str:
    """The whole."""
    names = _names(report)
    parts = [_head(report, names), _tiles(report)]
    if report.runs:
        parts += [_flow(report), _courses(report), _scores(report), _cases(report)]
    parts.append(_counters(report))
    return _visible(
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(names)}: monitoring</title><style>{STYLE}</style>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _names(report: Report) -> str:
    names = sorted(report.pipelines)
    more = len(names) - _MOST_NAMES
    listed = ", ".join(map(_short, names[:_MOST_NAMES])) or "monitoring"
    return f"{listed} and {more:,} more" if more > 0 else listed


def _visible(page: str) -> str:
    """Without control characters, and those that turn the direction of what follows, outside of where they stand."""
    return _HIDDEN.sub("\N{REPLACEMENT CHARACTER}", page)


def _head(report: Report, names: str) -> str:
    kind = "bad" if report.alarms else "good" if report.runs else "quiet"
    alarms = "".join(
        f"<li><b>{escape(moment(alarm.at))}</b> {escape(alarm.message)}</li>" for alarm in report.alarms[-50:]
    )
    left_out = len(report.alarms) - 50
    more = f"<p class=note>and {left_out:,} before these</p>" if left_out > 0 else ""
    return (
        f"<header><h1>{escape(names)}</h1><p class=note>{escape(moment(report.since))} to "
        f"{escape(moment(report.until))} UTC</p></header>"
        f'<section class="verdict {kind}"><h2>{escape(headline(report))}</h2><ul>{alarms}</ul>{more}</section>'
    )


def _tiles(report: Report) -> str:
    runs = max(report.runs, 1)
    errors = report.runs - sum(report.outcomes[kind] for kind in ("ok", "blocked", "cancelled"))
    slow = [figure(report.seconds.quantile(share), "s") if report.runs else "-" for share in (0.5, 0.95, 0.99)]
    unpriced = f"{report.unpriced:,} runs without a price" if report.unpriced else ""
    tiles = (
        ("runs", f"{report.runs:,}", ""),
        ("answered", figure(report.outcomes["ok"] / runs, "%"), ""),
        ("blocked", figure(report.outcomes["blocked"] / runs, "%"), _most(report.blocked_by.most_common(2))),
        ("failed", figure(errors / runs, "%"), _most(_errors(report))),
        ("time, median", slow[0], f"95 of 100 within {slow[1]}, 99 within {slow[2]}"),
        ("cost", spent(report.cost_usd, report.unpriced), unpriced),
        ("tokens", f"{report.input_tokens + report.output_tokens:,}", f"{report.output_tokens:,} of them in answers"),
    )
    return (
        "<section class=tiles>"
        + "".join(
            f"<div><span>{name}</span><b>{escape(value)}</b><small>{escape(note)}</small></div>"
            for name, value, note in tiles
        )
        + "</section>"
    )


def _errors(report: Report) -> list[tuple[str, int]]:
    known = {"ok", "blocked", "cancelled"}
    return [(name, count) for name, count in report.outcomes.most_common() if name not in known][:2]


def _most(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts)


def _flow(report: Report) -> str:
    legend = "".join(f'<i class="{kind}"></i>{kind} ' for kind in ("ok", "blocked", "cancelled", "error"))
    figures = [f"<figure><figcaption>runs <small>{legend}</small></figcaption>{outcomes(report)}</figure>"]
    if report.cost_usd:
        by_day = [
            (number * _DAY_S, float(sum(bucket.cost_usd for bucket in day)))
            for number, day in groupby(report.buckets, key=lambda bucket: bucket.at // _DAY_S)
        ]
        name = "cost by day" if report.width_s <= _DAY_S else f"cost by {report.width_s / _DAY_S:.0f} days"
        figures.append(f"<figure><figcaption>{name}</figcaption>{bars(report, by_day, name, money)}</figure>")
    tags = sorted(report.by_tag.items(), key=lambda item: (-item[1][1], -item[1][0], item[0]))
    table = _table(
        ("tag", "runs", "cost"),
        [(tag, f"{runs:,}", spent(cost, unpriced)) for tag, (runs, cost, unpriced) in tags[:_MOST_ROWS]],
    )
    others = _others(len(tags) - _MOST_ROWS, "tags")
    return f"<section><div class=pictures>{''.join(figures)}</div>{table}{others}</section>"


def _others(number: int, of_what: str) -> str:
    return f"<p class=note>and {number:,} other {of_what}</p>" if number > 0 else ""


def _courses(report: Report) -> str:
    if not report.courses:
        return ""
    courses = report.courses[:_MOST_COURSES]  # first those that changed
    drawn = "".join(
        f"<figure{' class=changed' if signal.alarms else ''}><figcaption>{escape(signal.name)} "
        f"<small>{escape(_level(signal))}</small></figcaption>{course(report, signal)}</figure>"
        for signal in courses
    )
    return (
        "<section><h2>Signals</h2><p class=note>The line is the rate, or the median, of each stretch of time. The band "
        "of a rate is where 95 of 100 stretches lie while nothing changes; that of values is their middle half. A dot "
        "on a red line is an alarm, and the shade before it reaches back to the likely moment of the change.</p>"
        f"<div class=pictures>{drawn}</div>{_others(len(report.courses) - len(courses), 'signals')}</section>"
    )


def _level(signal: Course) -> str:
    return f"{level(signal.level(signal.whole), signal.name, signal.kind)} in {signal.whole.count:,} runs"


def _scores(report: Report) -> str:
    if not report.scored:
        return ""
    rows = [
        (one.name, one.by, *_scored(one), _most(one.labels.most_common(4)), _most(one.errors.most_common(2)))
        for one in report.scored[:_MOST_SCORED]
    ]
    headings = ("name", "by", "scores", "mean, 95 %", "labels", "failed")
    others = _others(len(report.scored) - len(rows), "names")
    return f"<section><h2>Scores and feedback</h2>{_table(headings, rows)}{others}</section>"


def _scored(one: Scored) -> tuple[str, str]:
    mean = one.scores.mean
    if math.isnan(mean):
        return "0", "-"
    interval = one.interval
    reach = "" if interval is None else f" [{interval[0]:.3f}, {interval[1]:.3f}]"
    return f"{one.scores.count:,}", f"{mean:.3f}{reach}"


def _cases(report: Report) -> str:
    if not report.cases:
        return ""
    rows = [_case(case) for case in report.cases]
    headings = ("score", "by", "when", "run", "why", "question", "answer")
    return f"<section><h2>Lowest scores</h2><div class=wide>{_table(headings, rows)}</div></section>"


def _case(case: Case) -> tuple[str, ...]:
    score, run = case.score, case.run
    why = " ".join(part for part in (score.label, score.explanation) if part)
    texts = ("", "") if run is None else (run.question or "", run.answer or "")
    return (
        f"{score.score:.3f}",
        score.name,
        moment(score.at),
        score.run,
        *(_short(text) for text in (why, *texts)),
    )


def _short(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"


def _counters(report: Report) -> str:
    if not report.counters:
        return ""
    rows = [(name, f"{value:,}") for name, value in sorted(report.counters.items())[:_MOST_SCORED]]
    return (
        "<section><h2>Counted</h2><p class=note>Since the store was made, over all processes: what was observed, and "
        f"what was left out.</p>{_table(('what', 'how often'), rows)}</section>"
    )


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    body = "".join(
        "<tr>" + "".join(f"<td{' class=n' if _is_figure(cell) else ''}>{escape(cell)}" for cell in row) for row in rows
    )
    return f"<table><tr>{''.join(f'<th>{escape(one)}' for one in headings)}{body}</table>" if body else ""


def _is_figure(cell: str) -> bool:
    return cell.lstrip("$-")[:1].isdigit() and len(cell) < 12
