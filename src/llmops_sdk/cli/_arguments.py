"""What the arguments of several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TypeAlias

__all__ = ["Commands", "add_place", "words"]

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""The commands of a room; `add_parser` adds one."""


def add_place(command: argparse.ArgumentParser) -> None:
    """Where the prompts of a git repository are."""
    command.add_argument("-C", "--repository", type=Path, default=Path(), metavar="DIR", help="a folder inside it")
    command.add_argument("--folder", default="prompts", help="folder of the prompts in it (default: prompts)")


def words(given: str) -> tuple[str, ...]:
    """The words of a list with commas: `"P1, P203"`."""
    return tuple(filter(None, (one.strip() for one in given.split(","))))
