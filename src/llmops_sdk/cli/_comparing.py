"""`llmops prompt diff` and `llmops prompt merge`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from llmops_sdk.cli._arguments import Commands, add_on_repository
from llmops_sdk.cli._terminal import console
from llmops_sdk.cli._texts import write

if TYPE_CHECKING:
    from llmops_sdk.prompts import PromptRepository

__all__ = ["add_comparing"]


def add_comparing(commands: Commands) -> None:
    """Add `llmops prompt diff` and `merge`."""
    command = add_on_repository(
        commands,
        "diff",
        _diff,
        "say what changed between two versions of a prompt",
        more=", and whether it breaks the code around it",
        formats=("text", "json", "markdown"),
    )
    command.add_argument("name", metavar="NAME", help="folder/name")
    command.add_argument("old", metavar="OLD", help="a label, tag, branch or commit, or worktree")
    command.add_argument("new", metavar="NEW", nargs="?", default="worktree", help="default: worktree")
    command.add_argument("--waive", action="append", default=[], metavar="CODE", help="accept changes of this code")
    command.add_argument("--exit-code", action="store_true", help="1 where something breaks or could not be told")

    command = add_on_repository(
        commands,
        "merge",
        _merge,
        "merge two versions of a prompt",
        more=" by sections and keys; exit code 1: there are conflicts",
        formats=("text", "json"),
    )
    command.add_argument("name", metavar="NAME", help="folder/name")
    command.add_argument("ours", metavar="OURS", help="the version that is merged into")
    command.add_argument("theirs", metavar="THEIRS", help="the version whose changes are brought in")
    command.add_argument("--base", metavar="VERSION", help="what both come from (default: their merge base)")
    where = command.add_mutually_exclusive_group()
    where.add_argument("--into", metavar="BRANCH", help="commit a merge without conflicts to this branch")
    where.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the merged file, conflicts included")
    command.add_argument("-m", "--message", help="message of the commit")
    command.add_argument("--who", help="who commits (default: as git knows you)")


def _diff(repository: PromptRepository, given: argparse.Namespace) -> int:
    found = repository.diff(given.name, given.old, given.new, waive=given.waive)
    if given.format == "json":
        print(json.dumps(found.to_json(), indent=2, ensure_ascii=False))
    elif given.format == "markdown":
        print(found.to_markdown(), end="")
    else:
        console().print(found, soft_wrap=True)
    return int(given.exit_code and not found.compatible)


def _merge(repository: PromptRepository, given: argparse.Namespace) -> int:
    result = repository.merge(
        given.name, given.ours, given.theirs, base=given.base, into=given.into, message=given.message, who=given.who
    )
    if given.output is not None:
        write(given.output, result.text)
    if given.format == "json":
        print(json.dumps(result.to_json(), indent=2, ensure_ascii=False))
    elif given.output is not None or given.into is not None:
        print(result)
    else:  # the text alone, for a pipe; what is to be said of it beside that
        print(result.text, end="")
        print(result, file=sys.stderr)
    return int(not result.clean)
