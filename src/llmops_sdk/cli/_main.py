"""The command `llmops`, and what its exit codes mean: 0 clean, 1 something was found, 2 it could not be done."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence

from llmops_sdk.cli._arguments import Commands
from llmops_sdk.cli._dashboard import add_dashboard
from llmops_sdk.cli._evaluation import add_evaluation
from llmops_sdk.cli._guard import add_guard
from llmops_sdk.cli._import import add_import
from llmops_sdk.cli._lint import add_lint
from llmops_sdk.cli._lock import add_lock
from llmops_sdk.cli._monitor import add_monitor
from llmops_sdk.cli._prompt import add_prompt
from llmops_sdk.cli._stub import add_types
from llmops_sdk.errors import LlmopsError

__all__ = ["main"]

_GROUPS: dict[str, tuple[Callable[[Commands], None], ...]] = {
    "prompts": (add_prompt, add_lint, add_types, add_import),
    "releases": (add_lock,),
    "guards": (add_guard,),
    "evaluation": (add_evaluation,),
    "what runs": (add_monitor, add_dashboard),
}


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
    parser = argparse.ArgumentParser(
        prog="llmops",
        usage="llmops COMMAND ...",
        description="LLM operations from a terminal. `llmops COMMAND --help` says more of each.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # Its own list of commands knows no groups.
    rooms = parser.add_subparsers(prog="llmops", required=True, metavar="COMMAND", help=argparse.SUPPRESS)
    listed: list[str] = []
    for title, adders in _GROUPS.items():
        before = len(rooms.choices)
        for add in adders:
            add(rooms)
        listed += ["", f"{title}:"]
        listed += [f"  {name:<11}{_first_words(one)}" for name, one in list(rooms.choices.items())[before:]]
    parser.epilog = "\n".join(listed[1:])
    return parser


def _first_words(command: argparse.ArgumentParser) -> str:
    """What its description begins with."""
    words = re.split(r"[.;:]", command.description or "", maxsplit=1)[0]
    return words[:1].lower() + words[1:]
