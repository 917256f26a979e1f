"""`llmops prompt`: the prompts of a git repository, their versions and their labels."""

from __future__ import annotations

import argparse
import datetime as dt
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from llmops_sdk.cli._arguments import Commands, add_on_repository
from llmops_sdk.cli._comparing import add_comparing
from llmops_sdk.cli._terminal import plain, print_table, short
from llmops_sdk.errors import PromptError

if TYPE_CHECKING:
    from llmops_sdk.prompts import LabelMove, PromptRepository

__all__ = ["add_prompt"]


def add_prompt(rooms: Commands) -> None:
    """Add `llmops prompt` and its commands."""
    room = rooms.add_parser("prompt", description="Read prompts of a git repository, and move their labels.")
    commands = room.add_subparsers(required=True, metavar="COMMAND")

    command = add_on_repository(commands, "list", _list, "name the prompts")
    command.add_argument("version", nargs="?", help="a label, tag, branch or commit; without one, the working tree")

    command = add_on_repository(commands, "show", _show, "show a prompt")
    command.add_argument("spec", metavar="NAME[@VERSION]", help="without a version, the file as it lies there")

    command = add_on_repository(commands, "log", _log, "list the commits that changed a prompt")
    command.add_argument("name")
    command.add_argument("--version", default="HEAD", help="where to begin (default: HEAD)")
    command.add_argument("--limit", type=_number, default=20, help="most commits (default: 20)")

    command = add_on_repository(commands, "blame", _blame, "name the commit that brought each line of a prompt")
    command.add_argument("name")
    command.add_argument("--version", default="HEAD", help="the version whose lines are asked for (default: HEAD)")

    command = add_on_repository(commands, "labels", _labels, "list the labels, or the moves of one")
    command.add_argument("label", nargs="?", help="list the moves of this label: its audit")
    command.add_argument("--limit", type=_number, default=20, help="most moves (default: 20)")

    command = add_on_repository(commands, "label", _label, "point a label at a version")
    command.add_argument("label")
    command.add_argument("version", help="a label, tag, branch, HEAD or commit")
    _why(command)

    command = add_on_repository(commands, "rollback", _rollback, "point a label at what it pointed at before")
    command.add_argument("label")
    _why(command)

    add_comparing(commands)


def _why(command: argparse.ArgumentParser) -> None:
    command.add_argument("-m", "--why", help="the reason, for the audit")
    command.add_argument("--who", help="who does it (default: as git knows you)")
    command.add_argument("--expected", metavar="VERSION", help="fail unless the label points there now")


def _number(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("it is 1 or more")
    return number


def _list(repository: PromptRepository, given: argparse.Namespace) -> int:
    names = repository.names(given.version)
    return _print(given, ("name",), ((name,) for name in names))


def _show(repository: PromptRepository, given: argparse.Namespace) -> int:
    prompt = repository.get(given.spec)
    text, _ = repository.source(given.spec)
    facts = {
        "name": prompt.name,
        "version": prompt.version,
        "commit": prompt.commit,
        "hash": prompt.hash,
        "description": prompt.description,
        "variables": list(prompt.variables),
    }
    if given.format == "json":
        print(json.dumps({**facts, "text": text}, ensure_ascii=True))
        return 0
    facts["variables"] = ", ".join(prompt.variables)
    print_table(("", ""), ((name, str(fact)) for name, fact in facts.items() if fact))
    print(f"\n{plain(text, keep=chr(10) + chr(9))}")
    return 0


def _log(repository: PromptRepository, given: argparse.Namespace) -> int:
    versions = repository.log(given.name, version=given.version, limit=given.limit)
    return _print(
        given,
        ("commit", "when", "who", "hash", "subject"),
        ((one.commit, one.when, one.who, one.hash, one.subject) for one in versions),
    )


def _blame(repository: PromptRepository, given: argparse.Namespace) -> int:
    lines = repository.blame(given.name, version=given.version)
    return _print(
        given,
        ("line", "commit", "when", "who", "text"),
        ((one.number, one.commit, one.when, one.who, one.text) for one in lines),
    )


def _labels(repository: PromptRepository, given: argparse.Namespace) -> int:
    labels = repository.labels()
    if given.label is not None:
        moves = repository.moves(given.label, limit=given.limit)
        if not moves and given.label not in labels:
            raise PromptError(
                f"there is no label {given.label!r}: there are {', '.join(labels) or 'none'}; "
                f"`llmops prompt label {given.label} HEAD` makes it"
            )
        return _print(given, _MOVE, map(_row, moves))
    last = {label: next(iter(repository.moves(label, limit=1)), None) for label in labels}
    return _print(
        given,
        ("label", "commit", "version", "when", "who", "why"),
        ((label, commit, *_said(last[label], commit)) for label, commit in labels.items()),
    )


def _said(move: LabelMove | None, commit: str) -> tuple[object, ...]:
    """What the audit says of where a label is; nothing where git moved it there."""
    return (None,) * 4 if move is None or move.new != commit else (move.version, move.when, move.who, move.why)


def _label(repository: PromptRepository, given: argparse.Namespace) -> int:
    move = repository.label(given.label, given.version, who=given.who, why=given.why, expected=given.expected)
    return _print(given, _MOVE, [_row(move)])


def _rollback(repository: PromptRepository, given: argparse.Namespace) -> int:
    move = repository.rollback(given.label, who=given.who, why=given.why, expected=given.expected)
    return _print(given, _MOVE, [_row(move)])


_MOVE = ("label", "from", "to", "version", "when", "who", "why", "kind")


def _row(move: LabelMove) -> tuple[object, ...]:
    kind = "rollback" if move.rollback else "move"
    kind = kind if move.done else f"unfinished {kind}"
    return (move.label, move.old, move.new, move.version, move.when, move.who, move.why, kind)


def _print(given: argparse.Namespace, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> int:
    """Rows as a table, or as one JSON object a line."""
    if given.format == "json":
        for row in rows:
            cells = (cell.isoformat() if isinstance(cell, dt.datetime) else cell for cell in row)
            print(json.dumps(dict(zip(columns, cells, strict=True)), ensure_ascii=True))
    else:
        print_table(columns, ([_shown(cell) for cell in row] for row in rows))
    return 0


def _shown(cell: object) -> str:
    if isinstance(cell, dt.datetime):
        return cell.strftime("%Y-%m-%d %H:%M")
    return "" if cell is None else short(str(cell))
