"""`llmops monitor`: what a monitor has seen, from its file."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.monitoring import Case, Store, cases_in, report_text, write_report

__all__ = ["cases", "report"]

_DAY_S = 86_400.0


def report(path: Path, output: Path | None, days: float | None) -> int:
    """Print the report, or write it as HTML."""
    store = _store(path)
    since = _since(days)
    if output is None:
        print(report_text(store, since=since))
    else:
        print(write_report(store, output, since=since))
    return 0


def cases(path: Path, *, limit: int, days: float | None, as_json: bool) -> int:
    """Print the bad cases, newest first; 1 where there are any."""
    found = list(islice(cases_in(_store(path), since=_since(days)), limit))
    for case in found:
        print(json.dumps(case.to_json(), ensure_ascii=True) if as_json else _line(case))
    if not found:
        print("no bad cases", file=sys.stderr)
    return 1 if found else 0


def _line(case: Case) -> str:
    at = datetime.fromtimestamp(case.run.at, UTC).strftime("%Y-%m-%d %H:%M:%S")
    answer = "" if case.run.answer is None else f"  {case.run.answer[:80]!a}"
    return f"{at}  {case.run.id}  {', '.join(case.reasons)}{answer}"


def _store(path: Path) -> Store:
    if not path.is_file():
        raise ConfigurationError(f"there is no file {str(path)!r}; give the file of a monitor's store")
    return Store(path)


def _since(days: float | None) -> float | None:
    return None if days is None else time.time() - days * _DAY_S
