"""`llmops lint`: problems of prompt files, as lines, JSON or SARIF."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import NamedTuple

from llmops_sdk.linting import RULES, Problem, lint, sarif

__all__ = ["Options", "list_rules", "run_lint"]

_COLOURS = {"error": "bold red", "warning": "yellow"}


class Options(NamedTuple):
    """Of a run."""

    folder: str
    select: Sequence[str]
    ignore: Sequence[str]
    provider: str | None
    window: int | None
    shape: str


def run_lint(paths: Sequence[str], options: Options) -> int:
    """Check the files and print the problems; 1 when there are any."""
    problems = lint(
        *paths,
        folder=options.folder,
        select=options.select,
        ignore=options.ignore,
        provider=options.provider,
        window=options.window,
    )
    _SHAPES[options.shape](problems)
    return int(bool(problems))


def list_rules() -> int:
    """Print the rules."""
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
