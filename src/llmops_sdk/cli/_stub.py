"""`llmops types`: a stub from which type checkers know the variables and the output of each prompt."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from llmops_sdk.cli._arguments import Commands, words
from llmops_sdk.cli._texts import write
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.prompts import PromptRepository, type_stub

__all__ = ["add_types"]


def add_types(rooms: Commands) -> None:
    """Add `llmops types`."""
    command = rooms.add_parser(
        "types",
        description="Write the types of prompts: a stub (.pyi) from which editors and type checkers know each prompt's "
        "variables and output. Exit code 0: written, or up to date; 1: out of date (--check); 2: error.",
    )
    command.add_argument(
        "folder", nargs="?", type=Path, default=Path(), metavar="FOLDER", help="a folder of the repository (default: .)"
    )
    command.add_argument("-o", "--output", type=Path, metavar="FILE", help="write there instead of printing")
    command.add_argument(
        "--versions",
        type=words,
        default=(),
        metavar="NAMES",
        help="labels, tags and branches that `load` takes: prod,staging",
    )
    command.add_argument("--prompts", default="prompts", metavar="PATH", help="where the prompts are, from its top")
    command.add_argument("--check", action="store_true", help="write nothing; exit code 1 if FILE is out of date")
    command.set_defaults(run=_write)


def _write(given: argparse.Namespace) -> int:
    """Print the stub, or write it; with `--check`, only say whether the file is what would be written."""
    folder, output, check = given.folder, given.output, given.check
    if check and output is None:
        raise ConfigurationError("`--check` needs the file to look at: write `-o app/prompts.pyi`")
    if not folder.is_dir():
        raise ConfigurationError(f"there is no folder {str(folder)!r}")
    repository = PromptRepository(folder, folder=given.prompts)
    names = repository.names()
    if not names:
        raise ConfigurationError(f"there are no prompts in {str(repository.root / repository.folder)!r}")
    text = type_stub([repository.get(name) for name in names], versions=given.versions)
    if output is None:
        sys.stdout.write(text)
        return 0
    if check:
        return _compare(output, text)
    write(output, text)
    print(f"{output}: {len(names)} prompt{'s' * (len(names) != 1)}")
    return 0


def _compare(output: Path, text: str) -> int:
    try:
        there = output.read_bytes().decode("utf-8", "replace") if output.exists() else ""
    except OSError as exc:
        raise ConfigurationError(f"{str(output)!r} cannot be read: {exc}") from exc
    if there.replace("\r\n", "\n") == text:
        return 0
    print(f"{output} is out of date: run `llmops types` again", file=sys.stderr)
    return 1
