"""`llmops monitor`: what a monitor has seen, from its file."""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from llmops_sdk.cli._arguments import Commands
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.monitoring import Case, Store, cases_in, report_text, write_report

__all__ = ["add_monitor"]

_DAY_S = 86_400.0


def add_monitor(rooms: Commands) -> None:
    """Add `llmops monitor report` and `cases`."""
    room = rooms.add_parser("monitor", description="Read what a monitor has seen.")
    commands = room.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("report", help="what changed, how it went, what it cost")
    _place(command)
    command.add_argument("-o", "--output", type=Path, metavar="HTML", help="write a page instead of printing lines")
    command.set_defaults(run=_report)

    command = commands.add_parser("cases", help="runs that somebody should look at; exit code 1 if there are any")
    _place(command)
    command.add_argument("--limit", type=int, default=50, help="most cases (default: 50)")
    command.add_argument("--format", choices=("table", "json"), default="table", help="json: one object a line")
    command.set_defaults(run=_cases)


def _place(command: argparse.ArgumentParser) -> None:
    command.add_argument("store", type=Path, metavar="DB", help="the file of the monitor's store")
    command.add_argument("--days", type=float, help="only the last so many days")


def _report(given: argparse.Namespace) -> int:
    """Print the report, or write it as HTML."""
    store = _store(given.store)
    since = _since(given.days)
    if given.output is None:
        print(report_text(store, since=since))
    else:
        print(write_report(store, given.output, since=since))
    return 0


def _cases(given: argparse.Namespace) -> int:
    """Print the bad cases, newest first; 1 where there are any."""
    found = list(islice(cases_in(_store(given.store), since=_since(given.days)), given.limit))
    for case in found:
        print(json.dumps(case.to_json(), ensure_ascii=True) if given.format == "json" else _line(case))
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
