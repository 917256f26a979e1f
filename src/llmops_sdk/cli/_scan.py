"""`llmops guard scan`: what guards find in files, without printing what was found."""

from __future__ import annotations

import bisect
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

from llmops_sdk.cli._annotations import annotation
from llmops_sdk.cli._named_guards import make_guards
from llmops_sdk.cli._terminal import plain, print_table
from llmops_sdk.cli._texts import Text, Unread, find_files, read
from llmops_sdk.errors import GuardFailed
from llmops_sdk.guards import PII, Guard, Secrets
from llmops_sdk.loops import run_sync
from llmops_sdk.verdicts import SEVERITY, Action, Finding, Verdict

__all__ = ["scan"]

_AROUND = 32
_LONGEST = 78


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A finding in a file; lines and columns count from 1, columns in code points."""

    file: str
    line: int
    column: int
    guard: str
    kind: str
    rule: str
    score: float
    action: Action
    excerpt: str


def scan(paths: Sequence[str], names: str, *, shape: str, fail_on: Action) -> int:
    """Check the files with the guards of these names, and print what was found; gives the exit code."""
    guards = make_guards(names)
    masks: list[Guard] = [Secrets(), PII()]  # what an excerpt must not show, whatever is looked for
    files = list(find_files(paths))
    hits: list[Hit] = []
    unread: list[Unread] = []
    texts = 0
    with _bar(len(files)) if sys.stderr.isatty() else nullcontext(lambda: None) as advance:
        for path, asked in files:
            text = read(path, asked=asked)
            if isinstance(text, Unread):
                unread.append(text)
            else:
                texts += 1
                hits += _check(text, guards, masks)
            advance()
    _SHAPES[shape](hits, texts, unread)
    failed = [one for one in unread if one.asked]
    for one in failed:
        print(f"llmops: {one.name}: {one.why}", file=sys.stderr)
    if failed:
        return 2
    return int(any(SEVERITY[hit.action] >= SEVERITY[fail_on] for hit in hits))


def _check(text: Text, guards: Sequence[Guard], masks: Sequence[Guard]) -> Iterator[Hit]:
    judged = [(guard, _verdict(guard, text)) for guard in guards]
    if all(verdict.action == "allow" and not verdict.findings for _, verdict in judged):
        return
    hidden = [one for _, verdict in judged for one in verdict.findings]
    hidden += [one for mask in masks for one in _verdict(mask, text).findings]
    lines = _Lines(text.text, hidden)
    hits: dict[tuple[int, int, str, str], Hit] = {}  # several rules may match in one place
    for guard, verdict in judged:
        findings = verdict.findings
        if not findings and verdict.action != "allow":  # it said no place
            findings = (Finding(kind=guard.name, start=0, end=0, rule=verdict.reason),)
        for one in findings:
            line, column = lines.place(one.start)
            key = (line, column, guard.name, one.kind)
            known = hits.get(key)
            rules = {*(known.rule.split(", ") if known else ()), one.rule}
            hits[key] = Hit(
                file=text.name,
                line=line,
                column=column,
                guard=guard.name,
                kind=one.kind,
                rule=", ".join(sorted(rules)),
                score=max(round(one.score, 4), known.score if known else 0.0),
                action=verdict.action,
                excerpt=lines.excerpt(one.start),
            )
    yield from (hits[key] for key in sorted(hits))


def _verdict(guard: Guard, text: Text) -> Verdict:
    try:
        return run_sync(lambda: guard.acheck(text.text), method="scan()")
    except Exception as exc:  # whatever a guard raises is told with its file
        raise GuardFailed(
            f"the guard {guard.name!r} broke on {text.name}: {type(exc).__name__}: {exc}", guard=guard.name
        ) from exc


class _Lines:
    """Where things are in a text, and how its lines look with everything that was found taken out."""

    def __init__(self, text: str, hidden: Sequence[Finding]) -> None:
        self._text = text
        self._starts = [0, *(at + 1 for at, letter in enumerate(text) if letter == "\n")]
        self._spans: list[tuple[int, int, str]] = []
        for one in sorted(hidden, key=lambda found: (found.start, -found.end)):
            if self._spans and one.start < self._spans[-1][1]:  # they overlap: one mask for both
                start, end, kind = self._spans[-1]
                self._spans[-1] = (start, max(end, one.end), kind)
            elif one.end > one.start:
                self._spans.append((one.start, one.end, one.kind))

    def place(self, at: int) -> tuple[int, int]:
        line = bisect.bisect_right(self._starts, at)
        return line, at - self._starts[line - 1] + 1

    def excerpt(self, at: int) -> str:
        """A bit of the line of `at`, with `[kind]` in the place of each finding."""
        line, _ = self.place(at)
        first = self._starts[line - 1]
        last = self._starts[line] - 1 if line < len(self._starts) else len(self._text)
        start, end = max(first, at - _AROUND), min(last, at + _AROUND)
        parts: list[str] = []
        at_now = start
        for begin, stop, kind in self._spans[max(0, bisect.bisect_left(self._spans, (start, 0, "")) - 1) :]:
            if stop <= start:
                continue
            if begin >= end:
                break
            parts += (self._text[at_now:begin], f"[{kind}]")
            at_now = stop
            end = max(end, min(last, stop + _AROUND))
        parts.append(self._text[at_now:end] if at_now < end else "")
        shown = plain("".join(parts)).strip()
        return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…"


def _as_table(hits: Sequence[Hit], texts: int, unread: Sequence[Unread]) -> None:
    if hits:
        print_table(
            ("place", "verdict", "guard", "kind", "rule", "text"),
            (
                (f"{hit.file}:{hit.line}:{hit.column}", hit.action, hit.guard, hit.kind, hit.rule, hit.excerpt)
                for hit in hits
            ),
        )
        print()
    found = f"{len(hits):,} finding{'s' if len(hits) != 1 else ''}" if hits else "nothing found"
    skipped = f", {len(unread):,} not read" if unread else ""
    print(f"{found} in {texts:,} text{'s' if texts != 1 else ''}{skipped}")


def _as_json(hits: Sequence[Hit], texts: int, unread: Sequence[Unread]) -> None:
    shown = {
        "findings": [asdict(hit) for hit in hits],
        "texts": texts,
        "not_read": [{"file": one.name, "why": one.why} for one in unread],
    }
    print(json.dumps(shown, indent=2))


def _as_github(hits: Sequence[Hit], _texts: int, _unread: Sequence[Unread]) -> None:
    """Workflow commands, which GitHub shows beside the line."""
    for hit in hits:
        level = "error" if hit.action == "block" else "warning"
        message = f"{hit.guard}: {hit.kind} ({hit.excerpt})"
        print(annotation(level, hit.file, hit.line, hit.column, hit.kind, message))


_SHAPES: dict[str, Callable[[Sequence[Hit], int, Sequence[Unread]], None]] = {
    "table": _as_table,
    "json": _as_json,
    "github": _as_github,
}


class _bar(AbstractContextManager[Callable[[], None]]):  # noqa: N801  (used as `nullcontext` is)
    """A progress bar on standard error; entering gives the function that moves it on."""

    def __init__(self, total: int) -> None:
        from rich.console import Console  # noqa: PLC0415  (third-party, and only for people who watch)
        from rich.progress import Progress  # noqa: PLC0415

        self._progress: Any = Progress(console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task("files", total=total)

    def __enter__(self) -> Callable[[], None]:
        self._progress.start()
        return lambda: self._progress.advance(self._task)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
