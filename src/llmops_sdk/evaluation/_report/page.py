"""A report as one HTML page: it loads nothing, and what others wrote is escaped."""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from llmops_sdk.evaluation._experiment.words import claim, counted, evidence, level, moments, people_say, spent
from llmops_sdk.evaluation._report.browsing import browsed
from llmops_sdk.evaluation._report.charts import slug
from llmops_sdk.evaluation._report.matrices import matrices
from llmops_sdk.evaluation._report.pictures import pictures
from llmops_sdk.evaluation._report.texts import escape

if TYPE_CHECKING:
    from llmops_sdk.evaluation._experiment.columns import Columns
    from llmops_sdk.evaluation._experiment.contrasts import Contrast
    from llmops_sdk.evaluation._experiment.experiment import Experiment
    from llmops_sdk.evaluation._experiment.summaries import ScoreSummary
    from llmops_sdk.evaluation._report.browsing import Browsed
    from llmops_sdk.evaluation._running.plan import Plan
    from llmops_sdk.evaluation._running.reading import Reading

__all__ = ["page"]

_MOST_GROUPS = 60
_NONE = "\N{EN DASH}"
_MARKS = {"better": "▲", "worse": "▼", "equivalent": "=", "cannot": "?"}
_CHANGES = (("", "all"), ("win", "wins"), ("loss", "losses"), ("tie", "ties"), ("unpaired", "without a pair"))
_ORDERS = (
    ("data", "as in the data"), ("best", "largest win first"), ("worst", "largest loss first"),
    ("lowest", "lowest score first"), ("slowest", "slowest first"), ("dearest", "dearest first"),
    ("longest", "longest answer first"),
)  # fmt: skip


def page(experiment: Experiment, reading: Reading, columns: Columns, plan: Plan, *, cases: int) -> str:
    """The whole."""
    files = importlib.resources.files(__package__ or "")
    style, script = (files.joinpath(name).read_text("utf-8") for name in ("report.css", "report.js"))
    shown = browsed(reading, columns, plan, cases)
    body = "".join(
        (
            _head(experiment),
            _verdicts(experiment),
            _pipelines(experiment),
            pictures(experiment, columns),
            matrices(reading, plan),
            _groups(experiment),
            _browser(experiment, columns, shown),
        )
    )
    policy = f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
    policy += "base-uri 'none'; form-action 'none'"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(experiment.name)}: evaluation</title>'
        f'<style>{style}</style></head>\n<body><a class="skip" href="#cases">To the cases</a><main>{body}</main>\n'
        f'<script type="application/json" id="data">{shown.json}</script>\n<script>{script}</script></body></html>\n'
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _head(experiment: Experiment) -> str:
    at = datetime.fromtimestamp(experiment.at, UTC)
    return (
        f"<header><h1>{escape(experiment.title)}</h1>"
        f'<p class="note">begun {at:%Y-%m-%d %H:%M} UTC; experiment {experiment.id}</p></header>'
    )


def _verdicts(experiment: Experiment) -> str:
    """The verdicts, by pipeline where there are several."""
    warnings = "".join(f"<li>{escape(one)}</li>" for one in experiment.warnings)
    warnings = f'<ul class="warnings">{warnings}</ul>' if warnings else ""
    said = {
        label: [one for one in experiment.contrasts if one.new == label]
        for label in dict.fromkeys(one.new for one in experiment.contrasts)
    }
    if not said:
        alone = len(experiment.arms) == 1
        why = "One pipeline: there is nothing to compare it with." if alone else "No metric: nothing is compared."
        inside = f'<h2 id="verdict">{"Scores" if alone else "No verdict"}</h2><p>{why}</p>'
    elif len(said) == 1:
        inside = "".join(
            f'<h2 id="verdict">{escape(headline(experiment, label, given))}</h2>{_list(given)}'
            for label, given in said.items()
        )
    else:
        inside = f'<h2 id="verdict">Verdicts on {counted(len(said), "pipeline")}</h2>' + "".join(
            f"<h3>{escape(headline(experiment, label, given))}</h3>{_list(given)}" for label, given in said.items()
        )
    return f'<section aria-labelledby="verdict">{inside}{warnings}</section>'


def _list(contrasts: Iterable[Contrast]) -> str:
    items = "".join(
        f'<li class="{slug(one)}"><b>{_MARKS[slug(one)]} {escape(claim(one))}</b>{escape(evidence(one))}</li>'
        for one in sorted(contrasts, key=lambda one: list(_MARKS).index(slug(one)))
    )
    return f'<ul class="verdicts">{items}</ul>'


def headline(experiment: Experiment, label: str, contrasts: Sequence[Contrast]) -> str:
    """The verdicts on one pipeline in a sentence."""
    counts = Counter(map(slug, contrasts))
    words = {"better": "better by", "worse": "worse by", "equivalent": "equivalent by", "cannot": "cannot tell by"}
    found = ", ".join(f"{words[kind]} {counts[kind]:,}" for kind in words if counts[kind])
    return f"{label} against {experiment.base}: {found} of {counted(counts.total(), 'score')}"


def _pipelines(experiment: Experiment) -> str:
    """A column for each pipeline: they are few, and scores may be many."""
    arms = experiment.arms
    rows = []
    for name in experiment.score_names:
        scores = experiment.scores(name)
        found = {one.arm: one for one in scores}
        summed = scores.together
        rows.append(
            [escape(name), *(_summary(experiment, found.get(one.arm), summed.get(one.arm, "")) for one in arms)]
        )
    took = {
        "runs that failed": [f"{one.failed:,} of {one.cells:,}" for one in arms],
        "runs that a guard blocked": [f"{one.blocked:,} of {one.cells:,}" for one in arms],
        "time of a run: median": [moments(one.p50_s) for one in arms],
        "95 of 100 took at most": [moments(one.p95_s) for one in arms],
        "99 of 100": [moments(one.p99_s) for one in arms],
        "cost of all runs": [spent(one.known_usd, one.unpriced, one.cells) for one in arms],
    }
    rows += [[title, *map(escape, said)] for title, said in took.items()]
    heads = ["", *(f'<i class="arm a{n % 8}" aria-hidden="true"></i>{escape(one.arm)}' for n, one in enumerate(arms))]
    judging = experiment.judging_cost_usd
    note = "Means over the cases, each of which counts once, with "
    note += f"{experiment.analysis.level * 100:g} % intervals of each pipeline by itself; the verdicts pair the cases."
    if judging is None or judging:
        note += f" Metrics cost {'an unknown sum' if judging is None else spent(judging, 0, 1)} on top."
    return (
        f'<section aria-labelledby="pipelines"><h2 id="pipelines">Pipelines</h2><p class="note">{escape(note)}</p>'
        f"{table(heads, rows)}"
        + "".join(f'<p class="note">{escape(one)}</p>' for one in experiment.judges)
        + "</section>"
    )


def _summary(experiment: Experiment, found: ScoreSummary | None, together: str) -> str:
    """A mean with its interval, what the scores say together, and what took no part in it."""
    if found is None:
        return _NONE
    bounds, unit = experiment.scale(found.score)
    said = []
    if math.isfinite(found.low) and math.isfinite(found.high):
        said.append(f"{level(found.low, bounds, unit)} to {level(found.high, bounds, unit)}")
    if found.corrected is not None:
        said.append(f"people: {people_say(found.corrected, bounds, unit)}")
    said += [together] if together else []
    said += [
        f"{count:,} {what}"
        for count, what in (
            (found.failed, "failed"), (found.inapplicable, "not applicable"), (found.missing, "missing")
        )
        if count
    ]  # fmt: skip
    mean = level(found.mean, bounds, unit) if found.scores else _NONE
    return escape(mean) + "".join(f"<small>{escape(one)}</small>" for one in said)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """A table of figures, whose cells are HTML."""
    head = "".join(f'<th scope="col">{one}</th>' for one in heads)
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>' + "".join(f"<td>{cell}</td>" for cell in row[1:]) + "</tr>" for row in rows
    )
    caption = f"<caption>{caption}</caption>" if caption else ""
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="table"><table class="figures">{caption}'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _groups(experiment: Experiment) -> str:
    """Means by tag."""
    labels = [one.arm for one in experiment.arms]
    tables = []
    for name in experiment.score_names:
        groups: dict[str, dict[str, ScoreSummary]] = {}
        sizes: Counter[str] = Counter()
        for one in experiment.scores(name, by="tag"):
            group = one.group or ""
            groups.setdefault(group, {})[one.arm] = one
            sizes[group] = max(sizes[group], one.cases)
        if not groups:
            return ""
        largest = sorted(groups, key=lambda group: (-sizes[group], group))[:_MOST_GROUPS]
        rows = [
            [
                escape(group),
                f"{sizes[group]:,}",
                *(_summary(experiment, groups[group].get(arm), "") for arm in labels),
            ]
            for group in largest
        ]
        left_out = len(groups) - len(rows)
        caption = escape(name) + (f" ({left_out:,} smaller tags are left out)" if left_out else "")
        tables.append(table(["tag", "cases", *map(escape, labels)], rows, caption))
    return (
        '<section aria-labelledby="groups"><h2 id="groups">By tag</h2><details><summary>Means of the cases of each tag'
        '</summary><p class="note">Look here for where to look closer, not for a verdict: of many groups, some differ '
        f'by chance.</p><div class="groups">{"".join(tables)}</div></details></section>'
    )


def _browser(experiment: Experiment, columns: Columns, shown: Browsed) -> str:
    there = columns.cases
    labels = [one.arm for one in experiment.arms]
    others = [(number, label) for number, label in enumerate(labels) if label != experiment.base]
    arms = [(str(number), label) for number, label in others or [(0, labels[0])]]
    scores = [(str(number), name) for number, name in enumerate(experiment.score_names)]
    tags = [("", "all"), *((str(number), tag) for number, tag in enumerate(columns.tags))]
    changes = [*(_CHANGES if others else _CHANGES[:1]), ("failed", "failed")]
    note = f"All {counted(there, 'case')}."
    if shown.cases < there:
        note = (
            f"{shown.cases:,} of {counted(there, 'case')}: up to a quarter failed, up to a half changed most, and "
            "the rest is spread evenly over the data. All figures above are of all cases."
        )
        note += " More would have made this file too large." if shown.full else ""
    filters = (
        _select("f-arm", "Pipeline", arms)
        + _select("f-score", "by", scores)
        + _select("f-change", "Show", changes)
        + _select("f-tag", "Tag", tags)
        + _select("f-sort", "Order", _ORDERS)
    )
    return (
        f'<section id="cases" aria-labelledby="cases-name"><h2 id="cases-name">Cases</h2>'
        f'<p class="note">{escape(note)} '
        "Keys: <kbd>j</kbd> and <kbd>k</kbd> for the next and the previous case, <kbd>/</kbd> to search.</p>"
        "<noscript><p>The cases are shown by a script of this page, which is off.</p></noscript>"
        '<div id="browser" hidden><form id="filters" role="search"><label>Search '
        f'<input type="search" id="f-text"></label>{filters}</form><p id="count" role="status" class="note"></p>'
        '<div class="browser"><div class="list"><ol id="rows"></ol><nav id="pages" aria-label="pages of the list">'
        '<button type="button" id="before">← before</button><span id="where"></span>'
        '<button type="button" id="after">after →</button></nav></div>'
        '<article id="case" tabindex="-1" aria-labelledby="case-name"></article></div></div></section>'
    )


def _select(name: str, label: str, options: Iterable[tuple[str, str]]) -> str:
    made = "".join(f'<option value="{value}">{escape(text)}</option>' for value, text in options)
    return f'<label>{label} <select id="{name}">{made}</select></label>'
