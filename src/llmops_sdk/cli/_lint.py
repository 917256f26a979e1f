"""`llmops lint`: problems of prompt files, as lines, JSON or SARIF."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict

from llmops_sdk.cli._arguments import Commands, words
from llmops_sdk.linting import PROVIDERS, RULES, Problem, lint, sarif

__all__ = ["add_lint"]

_COLOURS = {"error": "bold red", "warning": "yellow"}


def add_lint(rooms: Commands) -> None:
    """Add `llmops lint`."""
    command = rooms.add_parser("lint", description="Check prompt files; exit code 0: clean, 1: found, 2: error.")
    command.add_argument("paths", nargs="*", metavar="FILE", help="prompt files or folders (default: --folder)")
    command.add_argument("--folder", default="prompts", help="the folder of the prompts (default: prompts)")
    command.add_argument("--select", type=words, default=(), metavar="CODES", help="only these, such as P1,P203")
    command.add_argument("--ignore", type=words, default=(), metavar="CODES", help="all but these")
    command.add_argument("--provider", choices=PROVIDERS, help="whose rules for the order of roles count")
    command.add_argument("--window", type=int, metavar="TOKENS", help="the model's context window")
    command.add_argument("--format", choices=("text", "json", "sarif"), default="text")
    command.add_argument("--list", action="store_true", help="name the rules, and end")
    command.set_defaults(run=lambda given: _list_rules() if given.list else _lint(given))


def _lint(given: argparse.Namespace) -> int:
    """Check the files and print the problems; 1 when there are any."""
    problems = lint(
        *given.paths,
        folder=given.folder,
        select=given.select,
        ignore=given.ignore,
        provider=given.provider,
        window=given.window,
    )
    _SHAPES[given.format](problems)
    return int(bool(problems))


def _list_rules() -> int:
    from rich.console import Console  # noqa: PLC0415  (third-party: only where something is shown)
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table("code", "rule", "severity", "what it finds", box=None)
    for rule in RULES.values():
        table.add_row(rule.code, rule.name, Text(rule.severity, _COLOURS[rule.severity]), rule.title)
    Console().print(table)
    return 0


def _as_text(problems: Sequence[Problem]) -> None:
    from rich.console import Console  # noqa: PLC0415  (third-party: only where something is shown)
    from rich.text import Text  # noqa: PLC0415

    console = Console(soft_wrap=True, highlight=False)
    for one in problems:
        place = f"{one.path}:{one.line}:{one.column}: "
        console.print(Text.assemble(place, (one.code, _COLOURS[one.severity]), f" {one.message}"))
    errors = sum(one.severity == "error" for one in problems)
    if problems:
        console.print(f"{errors} errors, {len(problems) - errors} warnings")
    else:
        console.print("All prompts are clean.")


def _as_json(problems: Sequence[Problem]) -> None:
    print(json.dumps([asdict(one) for one in problems], indent=2))


def _as_sarif(problems: Sequence[Problem]) -> None:
    print(json.dumps(sarif(problems), indent=2))


_SHAPES = {"text": _as_text, "json": _as_json, "sarif": _as_sarif}
