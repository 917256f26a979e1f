"""Cases from production: from the records of runs, and from what a monitor exports, with texts as guards leave them."""

from __future__ import annotations

import collections
import datetime as dt
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from llmops_sdk.calls import Call, Ended, Evaluated
from llmops_sdk.errors import ConfigurationError, DatasetError
from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation._datasets.columns import located
from llmops_sdk.evaluation._datasets.files import RowFile
from llmops_sdk.guards import Guard
from llmops_sdk.pipelines import Pipeline, Result
from llmops_sdk.tracing import ContentPolicy, Memory, content_of
from llmops_sdk.verdicts import Stage

__all__ = ["Expected", "ProductionCases", "Redacting"]

Expected: TypeAlias = Literal["correction", "answer"] | None
"""What of a run is the right answer: what a person wrote in its place, what it answered, or nothing."""
Redacting: TypeAlias = Sequence[Guard] | Pipeline

_FORMAT, _VERSION = "llmops_sdk.cases", 1
_CORRECTION = "correction"
"""Name of the feedback whose comment is the right answer."""
_DIGITS = 16
_MOST = 1_000_000
"""Characters of the texts of one run."""
_METADATA = frozenset(
    {"answer", "outcome", "blocked_by", "scores", "signals", "tags", "at", "pipeline", "prompt", "model", "engine"}
)


class ProductionCases:
    """The cases of runs. Reading them counts in `left_out` what has no question that may be asked again.

    Args:
        source: A file that `monitor.export_cases` wrote; or calls, results, the memory of a trace, or what
            `monitor.cases()` gives.
        redact: Guards that read every text; or a pipeline whose guards do.
        expected: What the right answer is.
        cluster: The tag of runs whose value is the cluster, such as `"session"`.
    """

    def __init__(self, source: Any, *, redact: Redacting, expected: Expected, cluster: str | None) -> None:
        if expected not in ("correction", "answer", None):
            raise ConfigurationError(f"`expected` is 'correction', 'answer' or None, not {expected!r}")
        self._policy = ContentPolicy(redact=_guards(redact), max_characters=_MOST)
        self._expected, self._cluster = expected, cluster
        self.path, self._lines = _lines(source, self._policy)
        self.left_out: collections.Counter[str] = collections.Counter()

    def __iter__(self) -> Iterator[Case]:
        for row, line in self._lines:
            try:
                case = self._case(_known(line))
            except DatasetError as exc:
                raise located(exc, self.path, row) from exc
            if case is not None:
                yield case

    def _case(self, line: Mapping[str, Any]) -> Case | None:
        clean = self._policy.cleaner()
        given = line.get("variables") if line.get("prompt") is not None else line.get("question")
        if not given:
            self.left_out["the texts of the run were not kept, or may not be shown"] += 1
            return None
        given = clean(given, "input")
        if _is_withheld(given):
            self.left_out["guards withhold the question"] += 1
            return None
        tags = line.get("tags") or {}
        cluster = None if self._cluster is None else tags.get(self._cluster)
        return Case(
            input=given,
            expected=self._right(line, clean),
            id=line.get("id") or "",
            tags=line.get("reasons") or (),
            cluster=None if cluster is None else _same(str(cluster), clean),
            metadata={
                name: clean(line[name], "output")
                for name in line
                if name in _METADATA and line[name] not in (None, [], {})
            },
        )

    def _right(self, line: Mapping[str, Any], clean: Callable[[Any, Stage], Any]) -> Any:
        if self._expected is None:
            return None
        said = line.get("answer")
        if self._expected == "correction":
            corrections = [
                one.get("explanation") or one.get("label")
                for one in line.get("scores") or ()
                if one.get("name") == _CORRECTION and one.get("by") == "human"
            ]
            said = corrections[-1] if corrections else None
        right = None if said is None else clean(said, "output")
        if right is not None and _is_withheld(right):
            self.left_out["guards withhold the expected output (the case is there without it)"] += 1
            return None
        return right


def _guards(given: Any) -> Sequence[Guard]:
    if isinstance(given, Pipeline):
        return [station for station in given.stations if isinstance(station, Guard)]
    if isinstance(given, str) or not isinstance(given, Sequence) or not all(isinstance(one, Guard) for one in given):
        raise ConfigurationError(
            f"`redact` is a list of guards, such as `[guards.PII(), guards.Secrets()]`, or a pipeline whose guards are "
            f"meant, not {given!r}"
        )
    return given


def _lines(source: Any, policy: ContentPolicy) -> tuple[str | None, Iterable[tuple[int, Any]]]:
    if isinstance(source, str | Path | os.PathLike):
        file = RowFile(source)
        return str(file.path), file
    runs = source.calls if isinstance(source, Memory) else source
    if isinstance(runs, Mapping) or not isinstance(runs, Iterable):
        raise ConfigurationError(
            f"runs are read from the path of a file, from `tracing.memory()`, or from a list of calls or results, not "
            f"from a {type(source).__name__}"
        )
    return None, ((row, _line(one, policy)) for row, one in enumerate(runs, 1))


def _line(one: Any, policy: ContentPolicy) -> Any:
    call = one.call if isinstance(one, Result) else one
    if isinstance(call, Call):
        return _line_of(call, policy)
    return one.to_json() if callable(getattr(one, "to_json", None)) else one


def _line_of(call: Call, policy: ContentPolicy) -> dict[str, Any]:
    """A run in the form in which a monitor exports it."""
    content = content_of(call, policy)
    ended = next((event for event in reversed(call.events) if isinstance(event, Ended)), None)
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "id": call.id,
        "at": dt.datetime.fromtimestamp(call.wall_time(call.started), dt.UTC).isoformat(),
        "question": content.question,
        "variables": None if content.variables is None else _read(content.variables),
        "answer": content.answer,
        "outcome": None if ended is None else ended.outcome,
        "scores": [
            {"name": one.name, "score": one.score, "label": one.label, "explanation": one.explanation, "by": one.by}
            for one in call.events
            if isinstance(one, Evaluated)
        ],
        "tags": {name: str(value) for name, value in call.tags.items()},
        "prompt": None if call.prompt is None else {"name": call.prompt.name, "version": call.prompt.version},
    }


def _read(variables: str) -> Any:
    try:
        return json.loads(variables)
    except ValueError:  # it was cut, so that nobody could ask it again
        return None


def _known(line: Any) -> Mapping[str, Any]:
    if not isinstance(line, Mapping) or line.get("format") != _FORMAT:
        raise DatasetError(
            "is no case of a monitor: `monitor.export_cases(path)` writes them, `monitor.cases()` has them"
        )
    if line.get("version") != _VERSION:
        raise DatasetError(
            f"is of version {line.get('version')!r} of {_FORMAT}, and this is {_VERSION}: read it with the llmops_sdk "
            "that wrote it, or a later one"
        )
    return line


def _same(cluster: str, clean: Callable[[Any, Stage], Any]) -> str:
    """The cluster, or a hash in its place: guards make different people the same, and one person different ones."""
    if clean(cluster, "input") == cluster:
        return cluster
    return hashlib.sha256(cluster.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]


def _is_withheld(value: Any) -> bool:
    """Whether guards have taken something out of it that nobody can put back."""
    if isinstance(value, Mapping):
        return any(map(_is_withheld, value.values()))
    return any(map(_is_withheld, value)) if isinstance(value, list) else value == ContentPolicy.withheld
