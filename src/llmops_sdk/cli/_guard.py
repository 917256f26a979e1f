"""`llmops guard`: guards on files, what they cost, and which there are."""

from __future__ import annotations

import argparse
from pathlib import Path

from llmops_sdk.cli._arguments import Commands
from llmops_sdk.cli._bench import bench
from llmops_sdk.cli._named_guards import DEFAULT, describe
from llmops_sdk.cli._scan import scan

__all__ = ["add_guard"]


def add_guard(rooms: Commands) -> None:
    """Add `llmops guard scan`, `bench` and `list`."""
    room = rooms.add_parser("guard", description="Check texts with guards.")
    commands = room.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser(
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
    command.set_defaults(run=lambda given: scan(given.paths, given.guards, shape=given.format, fail_on=given.fail_on))

    command = commands.add_parser("bench", help="measure what guards cost and how good they are")
    _guards(command)
    command.add_argument(
        "--data", type=Path, help=".jsonl, .jsonl.gz or .csv with text, label and perhaps source, kind"
    )
    command.add_argument("--format", choices=("table", "json"), default="table")
    command.set_defaults(run=lambda given: bench(given.guards, given.data, as_json=given.format == "json"))

    command = commands.add_parser("list", help="name the guards that there are")
    command.set_defaults(run=lambda given: describe())


def _guards(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--guards",
        default=DEFAULT,
        metavar="NAMES",
        help=f"names with commas between them, see `llmops guard list`; classifier:FOLDER is one (default: {DEFAULT})",
    )
