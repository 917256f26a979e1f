"""`llmops lint`: problems of prompt files, as lines, JSON, SARIF or annotations of GitHub."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict

from llmops_sdk import prompts
from llmops_sdk.cli._annotations import annotation
from llmops_sdk.cli._arguments import Commands, words
from llmops_sdk.cli._terminal import print_lines, print_table
from llmops_sdk.linting import PROVIDERS, RULES, Problem, lint, lint_settings, sarif

__all__ = ["add_lint"]

_COLOURS = {"error": "bold red", "warning": "yellow"}


def add_lint(rooms: Commands) -> None:
    """Add `llmops lint`."""
    command = rooms.add_parser("lint", description="Check prompt files; exit code 0: clean, 1: found, 2: error.")
    command.add_argument(
        "paths", nargs="*", metavar="FILE", help="prompt files or folders (default: --folder); names with --version"
    )
    command.add_argument("--folder", default="prompts", help="the folder of the prompts (default: prompts)")
    command.add_argument("--version", metavar="NAME", help="prompts as a label, tag, branch or commit has them")
    command.add_argument("--select", type=words, default=(), metavar="CODES", help="only these, such as P1,P203")
    command.add_argument("--ignore", type=words, default=(), metavar="CODES", help="all but these")
    command.add_argument("--provider", choices=PROVIDERS, help="whose rules for the order of roles count")
    command.add_argument("--window", type=int, metavar="TOKENS", help="the model's context window")
    command.add_argument(
        "--counter", metavar="NAME", help="what counts: a model of OpenAI, an encoding of tiktoken, a tokenizer.json"
    )
    command.add_argument("--format", choices=tuple(_SHAPES), default="text")
    command.add_argument("--list", action="store_true", help="name the rules, and end")
    command.set_defaults(run=lambda given: _list_rules() if given.list else _lint(given))


def _lint(given: argparse.Namespace) -> int:
    """Check the files and print the problems; 1 when there are any. What is not given, `pyproject.toml` says."""
    settings = lint_settings()
    for name in ("select", "ignore", "provider", "window", "counter"):
        if value := getattr(given, name):
            settings[name] = value
    # Through the room, which loads dulwich only when somebody asks for the class.
    repository = None if given.version is None else prompts.PromptRepository(folder=given.folder)
    problems = lint(*given.paths, folder=given.folder, repository=repository, version=given.version, **settings)
    _SHAPES[given.format](problems)
    return int(bool(problems))


def _list_rules() -> int:
    print_table(
        ("code", "rule", "severity", "what it finds"),
        ((one.code, one.name, (one.severity, _COLOURS[one.severity]), one.title) for one in RULES.values()),
    )
    return 0


def _as_text(problems: Sequence[Problem]) -> None:
    print_lines(
        (f"{one.path}:{one.line}:{one.column}: ", (one.code, _COLOURS[one.severity]), f" {one.message}")
        for one in problems
    )
    errors = sum(one.severity == "error" for one in problems)
    if problems:
        print(f"{_counted(errors, 'error')}, {_counted(len(problems) - errors, 'warning')}")
    else:
        print("All prompts are clean.")


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
