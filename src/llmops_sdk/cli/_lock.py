"""`llmops lock` and `llmops verify`: what a release runs, written down and checked."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from llmops_sdk.cli._application import guarded
from llmops_sdk.cli._arguments import Commands
from llmops_sdk.cli._terminal import print_table, short
from llmops_sdk.errors import LockError
from llmops_sdk.pipelines import Lock

__all__ = ["add_lock"]


def add_lock(rooms: Commands) -> None:
    """Add `llmops lock` and `llmops verify`."""
    command = rooms.add_parser(
        "lock",
        description="Write down what a release runs: prompts, models, adapters, guards, prices. Exit code 2: it could "
        "not be done.",
    )
    command.add_argument(
        "pipelines",
        nargs="*",
        metavar="PIPELINE",
        help="package.module:pipeline, or name=package.module:function; by default those of the lock that is there",
    )
    _lock_file(command)
    command.add_argument(
        "--bundle",
        type=Path,
        metavar="FOLDER",
        help="a folder beside the lock for copies of the prompts' files; by default that of the lock that is there",
    )
    command.add_argument("--no-bundle", action="store_true", help="write no such folder any more")
    command.set_defaults(run=lambda given: guarded(lambda: _lock(given)))

    command = rooms.add_parser(
        "verify",
        description="Check that what is here is what the lock says: build its pipelines, and compare. Exit code 0: the "
        "same, 1: it differs, 2: error.",
    )
    _lock_file(command)
    command.add_argument("--format", choices=("table", "json"), default="table")
    command.add_argument("--strict", action="store_true", help="exit code 1, too, where the lock cannot pin something")
    command.set_defaults(run=lambda given: guarded(lambda: _verify(given)))


def _lock_file(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--lock", type=Path, default=Path("llmops.lock"), metavar="FILE", help="the lock (default: llmops.lock)"
    )


def _lock(given: argparse.Namespace) -> int:
    before = _before(given.lock, needed=not given.pipelines)
    bundle = given.bundle
    if bundle is None and before is not None and before.bundle is not None and not given.no_bundle:
        bundle = given.lock.parent / before.bundle
    sources = given.pipelines or (before.sources if before is not None else ())
    lock = Lock.make(*sources).write(given.lock, bundle=bundle)
    number = len(lock.data["prompts"])
    pinned = f"{number} prompt{'s' * (number != 1)}"
    print(f"{given.lock}: {', '.join(lock.pipelines)}, {pinned}; {lock.hash[:12]}")
    _tell_unpinned(lock)
    return 0


def _before(file: Path, *, needed: bool) -> Lock | None:
    """The lock that is there; a broken one only matters where it has to say which pipelines there are."""
    if not file.exists():
        return None
    try:
        return Lock.read(file)
    except LockError as exc:
        if needed:
            raise
        print(f"llmops: {exc}", file=sys.stderr)
        return None


def _verify(given: argparse.Namespace) -> int:
    lock = Lock.read(given.lock)
    found = lock.differences()
    moved = lock.moved()
    failed = bool(found) or (given.strict and bool(lock.unpinned))
    if given.format == "json":
        said = {"hash": lock.hash, "differences": [one._asdict() for one in found], "unpinned": lock.unpinned}
        print(json.dumps({**said, "moved": moved}, indent=2))
        return int(failed)
    if found:
        print(f"{given.lock}: {len(found)} differ{'s' * (len(found) == 1)}")
        print_table(
            ("what", "lock", "found"), ((one.what, short(one.locked or "-"), short(one.found or "-")) for one in found)
        )
        print("If that is meant, write the lock anew with `llmops lock`.", file=sys.stderr)
    else:
        print(f"{given.lock}: {', '.join(lock.pipelines)} as locked; {lock.hash[:12]}")
    _tell_unpinned(lock)
    for spec, commit in moved.items():
        print(f"note: {spec} leads to {commit[:12]} by now; the lock keeps its own", file=sys.stderr)
    return int(failed)


def _tell_unpinned(lock: Lock) -> None:
    for what, why in lock.unpinned.items():
        print(f"not pinned: {what}: {why}", file=sys.stderr)
