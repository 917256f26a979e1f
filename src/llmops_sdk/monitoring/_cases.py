"""Bad cases: runs that somebody should look at, and that a data set can be made of."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from llmops_sdk.monitoring._alarms import Alarm
from llmops_sdk.monitoring._content import cleaned
from llmops_sdk.monitoring._records import StoredRun, StoredScore, StoredSignal
from llmops_sdk.monitoring._store import Store
from llmops_sdk.tracing import ContentPolicy

__all__ = ["Case", "Where", "cases_in", "exported"]

Where = Literal["bad"] | Callable[["Case"], object]

_LOW = 0.5
_BAD_SIGNS = frozenset({"refusal", "repetition", "other_language", "documents_unused"})
_FORMAT, _VERSION = "llmops_sdk.cases", 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A run with all that is known of it.

    Attributes:
        run: The run.
        signals: Those that were read off it.
        scores: What evaluators and people said of it, oldest first.
        reasons: Why it counts as bad, such as `"blocked"`, `"error"`, `"score:helpful"`, `"feedback"`,
            `"signal:refusal"`, `"alarm:latency_s"`; empty where nothing speaks against it.
    """

    run: StoredRun
    signals: tuple[StoredSignal, ...]
    scores: tuple[StoredScore, ...]
    reasons: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """One line of an export: JSON, with `format` and `version`."""
        run = self.run
        prompt = {"name": run.prompt, "version": run.prompt_version, "commit": run.prompt_commit}
        return {
            "format": _FORMAT,
            "version": _VERSION,
            "id": run.id,
            "at": datetime.fromtimestamp(run.at, UTC).isoformat(),
            "pipeline": run.pipeline,
            "question": run.question,
            "variables": None if run.variables is None else dict(run.variables),
            "answer": run.answer,
            "outcome": run.outcome,
            "blocked_by": run.blocked_by,
            "reasons": list(self.reasons),
            "scores": [
                {
                    "name": one.name,
                    "score": one.score,
                    "label": one.label,
                    "explanation": one.explanation,
                    "by": one.by,
                    "error": one.error,
                }
                for one in self.scores
            ],
            "signals": {one.name: one.value for one in self.signals},
            "tags": dict(run.tags),
            "prompt": None if run.prompt is None else prompt,
            "model": run.model,
            "engine": run.engine,
        }


def cases_in(
    store: Store,
    where: Where = "bad",
    *,
    since: float | None = None,
    until: float | None = None,
    limit: int | None = None,
) -> Iterator[Case]:
    """The runs of this time that `where` wants, the newest first, at most `limit`.

    A run is bad that was blocked or failed; that has a score or feedback under 0.5; that refused, repeated itself,
    changed the language or did not use its documents; or that stands out in the direction of an alarm while the signal
    was changing.
    """
    if limit is not None and limit < 1:
        return
    alarms = list(store.alarms(since=since))
    found = 0
    for run, signals, scores in store.runs_in_full(since, until):
        case = Case(run=run, signals=signals, scores=scores, reasons=tuple(_reasons(run, signals, scores, alarms)))
        if case.reasons if where == "bad" else where(case):
            yield case
            found += 1
            if found == limit:
                return


def _reasons(
    run: StoredRun, signals: Sequence[StoredSignal], scores: Sequence[StoredScore], alarms: Sequence[Alarm]
) -> Iterator[str]:
    if run.outcome == "blocked":
        yield "blocked"
    elif run.outcome not in ("ok", "cancelled"):
        yield "error"
    low = {one.name: one.by for one in scores if one.score is not None and one.score < _LOW}
    for name, by in low.items():
        yield "feedback" if by == "human" else f"score:{name}"
    for signal in signals:
        if signal.name in _BAD_SIGNS and signal.value:
            yield f"signal:{signal.name}"
        elif any(_stands_out(signal, alarm) for alarm in alarms):
            yield f"alarm:{signal.name}"


def _stands_out(signal: StoredSignal, alarm: Alarm) -> bool:
    if alarm.signal != signal.name or not alarm.since <= signal.at <= alarm.at:
        return False
    if signal.kind == "rate":
        return signal.value == (1.0 if alarm.direction == "up" else 0.0)
    return signal.value >= alarm.now if alarm.direction == "up" else signal.value <= alarm.now


def exported(path: str | os.PathLike[str], cases: Iterator[Case], redact: ContentPolicy) -> int:
    """Write the cases as JSON lines, with the texts as the guards leave them; gives how many."""
    number = 0
    with Path(path).open("w", encoding="utf-8") as file:
        for case in cases:
            file.write(json.dumps(_redacted(case.to_json(), redact), ensure_ascii=False) + "\n")
            number += 1
    return number


def _redacted(line: dict[str, Any], redact: ContentPolicy) -> dict[str, Any]:
    said = [score["explanation"] for score in line["scores"]]
    texts: Mapping[str, Any] = {name: line[name] for name in ("question", "variables", "answer", "tags")}
    clean, clean_said = cleaned([texts, said], redact)
    scores = [{**score, "explanation": one} for score, one in zip(line["scores"], clean_said, strict=True)]
    return {**line, **clean, "scores": scores}
