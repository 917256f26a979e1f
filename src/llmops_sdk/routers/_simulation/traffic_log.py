"""Traffic from a log: JSON lines, CSV, or records of calls."""

from __future__ import annotations

import csv
import datetime as dt
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from llmops_sdk.calls import AttemptEnded, Call
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.routers._simulation.arrival import Arrival

__all__ = ["arrivals", "arrivals_of_calls"]

_KNOWN = ("time", "prompt_tokens", "answer_tokens", "prefix", "prefix_tokens", "tags")


_UNKNOWN = -1
"""Tokens of a prefix where nobody says how many they are."""


def arrivals(path: Path) -> list[Arrival]:
    """The requests of a log, in its order; not numbered yet."""
    return _measured(_read(path))


def _read(path: Path) -> Iterator[Arrival]:
    for line, row in _csv(path) if path.suffix.lower() == ".csv" else _json_lines(path):
        try:
            arrival = _of_record(row) if "events" in row else _of_row(row)
        except ConfigurationError as exc:
            raise ConfigurationError(f"{path}, line {line}: {exc}") from None
        if arrival is not None:
            yield arrival


def arrivals_of_calls(calls: Iterable[Call]) -> list[Arrival]:
    """The requests of runs that were answered."""
    return _measured(_of_calls(calls))


def _measured(found: Iterable[Arrival]) -> list[Arrival]:
    """With the length of each prefix: where nobody says it, the shortest prompt that has it. It cannot be longer."""
    all_of_them = list(found)
    shortest: dict[str, int] = {}
    for one in all_of_them:
        for key, _ in one.prefixes:
            shortest[key] = min(shortest.get(key, one.prompt_tokens), one.prompt_tokens)
    return [_with_lengths(one, shortest) for one in all_of_them]


def _with_lengths(one: Arrival, shortest: Mapping[str, int]) -> Arrival:
    if all(tokens != _UNKNOWN for _, tokens in one.prefixes):
        return one
    stretches = tuple((key, shortest[key] if tokens == _UNKNOWN else tokens) for key, tokens in one.prefixes)
    return one._replace(prefixes=stretches, afterwards=stretches)


def _of_calls(calls: Iterable[Call]) -> Iterator[Arrival]:
    for call in calls:
        for event in call.events:
            if isinstance(event, AttemptEnded) and event.error is None and event.usage is not None:
                usage, prompt = event.usage, event.request.prompt
                name = None if prompt is None else prompt.name
                yield _arrival(
                    call.wall_time(call.started), usage.input_tokens, usage.output_tokens, name, None, call.tags
                )
                break


def _json_lines(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with path.open(encoding="utf-8") as file:
        for line, text in enumerate(file, start=1):
            if not text.strip():
                continue
            try:
                row = json.loads(text)
            except json.JSONDecodeError as exc:
                raise ConfigurationError(f"{path}, line {line}: this is no JSON: {exc}") from None
            if not isinstance(row, dict):
                raise ConfigurationError(f"{path}, line {line}: a JSON object is needed, not {type(row).__name__}")
            yield line, row


def _csv(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        for row in reader:
            if None in row or None in row.values():
                raise ConfigurationError(f"{path}, line {reader.line_num}: it has not as many fields as the head line")
            filled = {name: value for name, value in row.items() if value != ""}
            tags = {name.removeprefix("tags."): filled.pop(name) for name in list(filled) if name.startswith("tags.")}
            yield reader.line_num, {**filled, "tags": tags}


def _of_row(row: Mapping[str, Any]) -> Arrival:
    unknown = [name for name in row if name not in _KNOWN]
    if unknown:
        raise ConfigurationError(f"there is no field {unknown[0]!r}; the fields are {', '.join(_KNOWN)}")
    missing = [name for name in _KNOWN[:3] if name not in row]
    if missing:
        raise ConfigurationError(f"the field {missing[0]!r} is missing")
    tags = row.get("tags", {})
    if not isinstance(tags, Mapping):
        raise ConfigurationError(f"`tags` is an object, not {tags!r}")
    prompt, answer = _tokens(row, "prompt_tokens"), _tokens(row, "answer_tokens")
    shared = _tokens(row, "prefix_tokens") if "prefix_tokens" in row else None
    if shared is not None and (shared > prompt or "prefix" not in row):
        raise ConfigurationError(f"`prefix_tokens` are a part of `prompt_tokens` and need a `prefix`, not {shared!r}")
    return _arrival(_seconds(row["time"]), prompt, answer, row.get("prefix"), shared, tags)


def _of_record(row: Mapping[str, Any]) -> Arrival | None:
    """A line of `tracing.to_json`; `None` if nobody answered."""
    events = [one for one in row["events"] if isinstance(one, Mapping)] if isinstance(row["events"], list) else []
    for event in events:
        usage = event.get("usage")
        if event.get("event") == "attempt_ended" and event.get("error") is None and isinstance(usage, Mapping):
            rendered: Mapping[str, Any] = next((one for one in events if one.get("event") == "rendered"), {})
            prompt = rendered.get("prompt")
            name = prompt.get("name") if isinstance(prompt, Mapping) else None
            tokens = _tokens(usage, "input_tokens"), _tokens(usage, "output_tokens")
            return _arrival(_seconds(row.get("started_at")), *tokens, name, None, row.get("tags") or {})
    return None


def _arrival(
    at: float, prompt: int, answer: int, prefix: Any, prefix_tokens: int | None, tags: Mapping[str, Any]
) -> Arrival:
    stretches = () if prefix is None else ((str(prefix), _UNKNOWN if prefix_tokens is None else prefix_tokens),)
    return Arrival(0, at, max(prompt, 1), max(answer, 1), stretches, stretches, dict(tags))


def _tokens(row: Mapping[str, Any], name: str) -> int:
    given = row.get(name)
    try:
        tokens = int(given) if isinstance(given, str | int) and not isinstance(given, bool) else -1
    except ValueError:
        tokens = -1
    if tokens < 0:
        raise ConfigurationError(f"`{name}` is a number of tokens, 0 or more, not {given!r}")
    return tokens


def _seconds(given: Any) -> float:
    try:
        seconds = float(given)
    except (TypeError, ValueError):
        try:
            moment = dt.datetime.fromisoformat(str(given))
        except ValueError:
            raise ConfigurationError(f"`time` is seconds or ISO 8601, not {given!r}") from None
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp()
    if not math.isfinite(seconds):
        raise ConfigurationError(f"`time` is seconds or ISO 8601, not {given!r}")
    return seconds
