"""`llmops import`: prompts of other tools become prompt files."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llmops_sdk.cli._arguments import Commands
from llmops_sdk.cli._terminal import print_lines, print_table
from llmops_sdk.cli._texts import write
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.prompts import FORMATS, Left, import_prompts

__all__ = ["add_import"]


def add_import(rooms: Commands) -> None:
    """Add `llmops import`."""
    command = rooms.add_parser(
        "import",
        description="Make prompt files of other tools' prompts: dotprompt files, LangChain's and Langfuse's exports; "
        "and list what does not carry over. Exit code 0: all of it did, 1: something did not, 2: error.",
    )
    command.add_argument("files", nargs="+", type=Path, metavar="FILE", help=".prompt, .json or .yaml")
    command.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder of the prompts")
    command.add_argument("--from", dest="form", choices=FORMATS, help="the format, where it is not found out")
    command.add_argument("--force", action="store_true", help="write over files that are there")
    command.add_argument("--format", choices=("table", "json"), default="table")
    command.set_defaults(run=_import)


def _import(given: argparse.Namespace) -> int:
    files, left = import_prompts(given.files, form=given.form)
    there = [one.path for one in files if (given.output / one.path).exists()]
    if there and not given.force:
        raise ConfigurationError(f"{given.output / there[0]} is there already: give `--force` to write over it")
    for one in files:
        write(given.output / one.path, one.text, folders=True)
    if given.format == "json":
        made: dict[str, Any] = {
            "files": [{"path": str(given.output / one.path), "source": one.source} for one in files],
            "left": [one._asdict() for one in left],
        }
        print(json.dumps(made, indent=2, ensure_ascii=False))
    else:
        _show([(str(given.output / one.path), one.source) for one in files], left)
    return 1 if left else 0


def _show(files: Sequence[tuple[str, str]], left: Sequence[Left]) -> None:
    print_lines([f"{path}  from {source}"] for path, source in files)
    if left:
        print()
        print_table(("source", "does not carry over", "why, or what to do"), left)
