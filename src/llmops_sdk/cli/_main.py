"""The arguments of `llmops`, and what its exit codes mean: 0 clean, 1 something was found, 2 it could not be done."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from llmops_sdk.cli._bench import bench
from llmops_sdk.cli._guards import DEFAULT, describe
from llmops_sdk.cli._import import import_command
from llmops_sdk.cli._lint import Options as LintOptions
from llmops_sdk.cli._lint import list_rules, run_lint
from llmops_sdk.cli._lock import add_lock
from llmops_sdk.cli._monitor import cases, report
from llmops_sdk.cli._prompt import add_prompt_commands
from llmops_sdk.cli._scan import Options, scan
from llmops_sdk.cli._stub import write_types
from llmops_sdk.errors import LlmopsError
from llmops_sdk.linting import PROVIDERS
from llmops_sdk.tracing import grafana_dashboard

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; gives its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except LlmopsError as exc:
        print(f"llmops: {exc}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="llmops", description="LLM operations from a terminal.")
    rooms = parser.add_subparsers(required=True, metavar="COMMAND")
    guard = rooms.add_parser("guard", help="check texts with guards").add_subparsers(required=True, metavar="COMMAND")

    command = guard.add_parser(
        "scan", help="check files", description="Check files; exit code 0: clean, 1: found, 2: error."
    )
    command.add_argument("paths", nargs="+", metavar="FILE", help="a file, a directory (recursively), or - for stdin")
    _guards(command)
    command.add_argument("--format", choices=("table", "json", "github"), default="table")
    command.add_argument(
        "--fail-on",
        choices=("flag", "rewrite", "block"),
        default="flag",
        help="the mildest verdict that makes the exit code 1 (default: flag, which is any)",
    )
    command.set_defaults(run=_scan)

    command = guard.add_parser("bench", help="measure what guards cost and how good they are")
    _guards(command)
    command.add_argument(
        "--data", type=Path, help=".jsonl, .jsonl.gz or .csv with text, label and perhaps source, kind"
    )
    command.add_argument("--format", choices=("table", "json"), default="table")
    command.set_defaults(run=lambda given: bench(given.guards, given.data, as_json=given.format == "json"))

    command = guard.add_parser("list", help="name the guards that there are")
    command.set_defaults(run=lambda given: describe())

    command = rooms.add_parser(
        "dashboard",
        help="print the dashboard for Grafana",
        description="Print the dashboard for the metrics of `tracing.Metrics`, as JSON that Grafana imports.",
    )
    command.set_defaults(run=lambda given: _dashboard())

    add_prompt_commands(rooms)

    import_command(rooms)

    add_lock(rooms)

    _monitor(rooms)
    _lint(rooms)
    _types(rooms)
    return parser


def _lint(rooms: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = rooms.add_parser(
        "lint", help="check prompt files", description="Check prompt files; exit code 0: clean, 1: found, 2: error."
    )
    command.add_argument(
        "paths", nargs="*", metavar="FILE", help="prompt files or folders (default: --folder); names with --version"
    )
    command.add_argument("--folder", default="prompts", help="the folder of the prompts (default: prompts)")
    command.add_argument("--version", metavar="NAME", help="prompts as a label, tag, branch or commit has them")
    command.add_argument("--select", type=_codes, default=(), metavar="CODES", help="only these, such as P1,P203")
    command.add_argument("--ignore", type=_codes, default=(), metavar="CODES", help="all but these")
    command.add_argument("--provider", choices=PROVIDERS, help="whose rules for the order of roles count")
    command.add_argument("--window", type=int, metavar="TOKENS", help="the model's context window")
    command.add_argument(
        "--counter", metavar="NAME", help="what counts: a model of OpenAI, an encoding of tiktoken, a tokenizer.json"
    )
    command.add_argument("--format", choices=("text", "json", "sarif", "github"), default="text")
    command.add_argument("--list", action="store_true", help="name the rules, and end")
    command.set_defaults(run=_run_lint)


def _codes(given: str) -> tuple[str, ...]:
    return tuple(filter(None, (one.strip() for one in given.split(","))))


def _run_lint(given: argparse.Namespace) -> int:
    if given.list:
        return list_rules()
    options = LintOptions(
        given.folder,
        given.version,
        given.select,
        given.ignore,
        given.provider,
        given.window,
        given.counter,
        given.format,
    )
    return run_lint(given.paths, options)


def _types(rooms: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = rooms.add_parser(
        "types",
        help="write the types of prompts",
        description="Write a stub (.pyi) from which editors and type checkers know each prompt's variables and output. "
        "Exit code 0: written, or up to date; 1: out of date (--check); 2: error.",
    )
    command.add_argument(
        "folder", nargs="?", type=Path, default=Path(), metavar="FOLDER", help="a folder of the repository (default: .)"
    )
    command.add_argument("-o", "--output", type=Path, metavar="FILE", help="write there instead of printing")
    command.add_argument(
        "--versions", default="", metavar="NAMES", help="labels, tags and branches that `load` takes: prod,staging"
    )
    command.add_argument("--prompts", default="prompts", metavar="PATH", help="where the prompts are, from its top")
    command.add_argument("--check", action="store_true", help="write nothing; exit code 1 if FILE is out of date")
    command.set_defaults(
        run=lambda given: write_types(
            given.folder, given.output, prompts=given.prompts, versions=given.versions, check=given.check
        )
    )


def _monitor(rooms: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    monitor = rooms.add_parser("monitor", help="read what a monitor has seen")
    commands = monitor.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("report", help="what changed, how it went, what it cost")
    _store(command)
    command.add_argument("-o", "--output", type=Path, metavar="HTML", help="write a page instead of printing lines")
    command.set_defaults(run=lambda given: report(given.store, given.output, given.days))

    command = commands.add_parser("cases", help="runs that somebody should look at; exit code 1 if there are any")
    _store(command)
    command.add_argument("--limit", type=int, default=50, help="most cases (default: 50)")
    command.add_argument("--format", choices=("table", "json"), default="table", help="json: one object a line")
    command.set_defaults(
        run=lambda given: cases(given.store, limit=given.limit, days=given.days, as_json=given.format == "json")
    )


def _store(command: argparse.ArgumentParser) -> None:
    command.add_argument("store", type=Path, metavar="DB", help="the file of the monitor's store")
    command.add_argument("--days", type=float, help="only the last so many days")


def _guards(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--guards",
        default=DEFAULT,
        metavar="NAMES",
        help=f"names with commas between them, see `llmops guard list`; classifier:FOLDER is one (default: {DEFAULT})",
    )


def _scan(given: argparse.Namespace) -> int:
    return scan(given.paths, Options(guards=given.guards, shape=given.format, fail_on=given.fail_on))


def _dashboard() -> int:
    print(json.dumps(grafana_dashboard(), indent=2))
    return 0
