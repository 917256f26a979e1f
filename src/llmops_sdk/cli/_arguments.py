"""What the arguments of several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from llmops_sdk import prompts

if TYPE_CHECKING:
    from llmops_sdk.prompts import PromptRepository

__all__ = ["Commands", "add_on_repository", "words"]

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""The commands of a room; `add_parser` adds one."""


def add_on_repository(
    commands: Commands,
    name: str,
    run: Callable[[PromptRepository, argparse.Namespace], int],
    about: str,
    *,
    more: str = "",
    formats: tuple[str, ...] = ("table", "json"),
) -> argparse.ArgumentParser:
    """Add a command on the prompts of a git repository.

    Args:
        commands: Where it is added.
        name: What it is called.
        run: Is given the repository and the arguments; gives the exit code.
        about: What it does, in the list of commands.
        more: How its own help goes on.
        formats: In what it can answer, the usual one first.
    """
    command = commands.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}{more}.")
    command.add_argument("-C", "--repository", type=Path, default=Path(), metavar="DIR", help="a folder inside it")
    command.add_argument("--folder", default="prompts", help="folder of the prompts in it (default: prompts)")
    command.add_argument("--format", choices=formats, default=formats[0])
    # Through the room, which loads dulwich only when somebody asks for the class.
    command.set_defaults(run=lambda given: run(prompts.PromptRepository(given.repository, folder=given.folder), given))
    return command


def words(given: str) -> tuple[str, ...]:
    """The words of a list with commas: `"P1, P203"`."""
    return tuple(filter(None, (one.strip() for one in given.split(","))))
