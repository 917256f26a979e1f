"""`llmops lint`: problems of prompt files, as lines, JSON, SARIF or annotations of GitHub."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import NamedTuple

from llmops_sdk import prompts
from llmops_sdk.cli._annotations import annotation
from llmops_sdk.linting import RULES, Problem, lint, lint_settings, sarif

__all__ = ["Options", "list_rules", "run_lint"]

_COLOURS = {"error": "bold red", "warning": "yellow"}


class Options(NamedTuple):
    """Of a run; what is not given is what `pyproject.toml` says."""

    folder: str
    version: str | None
    select: Sequence[str]
    ignore: Sequence[str]
    provider: str | None
    window: int | None
    counter: str | None
    shape: str


def run_lint(paths: Sequence[str], options: Options) -> int:
    """Check the files and print the problems; 1 when there are any."""
    settings = lint_settings()
    given = {name: getattr(options, name) for name in ("select", "ignore", "provider", "window", "counter")}
    for name, value in given.items():
        if value:
            settings[name] = value  # type: ignore[literal-required]  # the names above are its keys
    # Through the room, which loads dulwich only when somebody asks for the class.
    repository = None if options.version is None else prompts.PromptRepository(folder=options.folder)
    problems = lint(*paths, folder=options.folder, repository=repository, version=options.version, **settings)
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

    console = Console(soft_wrap=True, highlight=False, no_color=None if sys.stdout.isatty() else True)
    for one in problems:
        place = f"{one.path}:{one.line}:{one.column}: "
        console.print(Text.assemble(place, (one.code, _COLOURS[one.severity]), f" {one.message}"))
    errors = sum(one.severity == "error" for one in problems)
    if problems:
        console.print(f"{_counted(errors, 'error')}, {_counted(len(problems) - errors, 'warning')}")
    else:
        console.print("All prompts are clean.")


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _as_json(problems: Sequence[Problem]) -> None:
    print(json.dumps([asdict(one) for one in problems], indent=2))


def _as_sarif(problems: Sequence[Problem]) -> None:
    print(json.dumps(sarif(problems), indent=2))


def _as_github(problems: Sequence[Problem]) -> None:
    for one in problems:
        print(annotation(one.severity, one.path, one.line, one.column, one.code, one.message))


_SHAPES = {"text": _as_text, "json": _as_json, "sarif": _as_sarif, "github": _as_github}
