"""The file `llmops.lock`: TOML, in a stable order."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from llmops_sdk.errors import LockError
from llmops_sdk.pipelines._fingerprint import hash_of

__all__ = ["FORMAT", "as_text", "document_hash", "parsed"]

FORMAT = 1
"""Raised when a field changes its meaning or goes away."""

_HEAD = "# What a release runs: written by `llmops lock`, checked by `llmops verify`. Do not edit it.\n"
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SHAPE: dict[str, dict[str, type]] = {"prompts": {"hash": str, "path": str}, "pipelines": {"source": str, "line": list}}
"""What each entry of a table has to say at least."""


def document_hash(data: Mapping[str, Any]) -> str:
    """SHA-256, 64 hexadecimal digits, of what a lock says, however its file is written."""
    return hash_of(data)


def as_text(data: Mapping[str, Any]) -> str:
    """The file.

    Example:
        >>> print(as_text({"format": 1, "prompts": {"support/answer@prod": {"hash": "12ab"}}}), end="")
        # What a release runs: written by `llmops lock`, checked by `llmops verify`. Do not edit it.
        format = 1
        <BLANKLINE>
        [prompts."support/answer@prod"]
        hash = "12ab"
    """
    return _HEAD + "".join(_table(data, ()))


def _table(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    plain = {name: value for name, value in table.items() if not isinstance(value, Mapping)}
    inner = {name: value for name, value in table.items() if isinstance(value, Mapping)}
    if path and (plain or not inner):
        yield f"\n[{'.'.join(map(_key, path))}]\n"
    for name, value in plain.items():
        yield f"{_key(name)} = {_value(value)}\n"
    for name, value in inner.items():
        yield from _table(value, (*path, name))


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _value(name)


def _value(value: str | int | list[str]) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    # JSON writes texts and integers as TOML does, but for one control character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")


def parsed(text: str, where: str) -> dict[str, Any]:
    """What a file says.

    Raises:
        LockError: It is no lock, or one of a newer format.
    """

    def fail(problem: str) -> NoReturn:
        raise LockError(f"{where}: {problem}", path=where)

    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        conflict = " (it has conflict markers of git)" if re.search(r"^(<<<<<<<|>>>>>>>) ", text, re.MULTILINE) else ""
        fail(f"this is not TOML{conflict}: {exc}; write it anew with `llmops lock`")
    version = data.get("format")
    if not isinstance(version, int) or version < 1:
        fail("there is no `format`, so this is no lock; write one with `llmops lock`")
    if version > FORMAT:
        fail(f"this lock has format {version}, and this version of llmops-sdk reads up to {FORMAT}: upgrade it")
    if not isinstance(data.get("sdk"), str):
        fail("`sdk` is missing; write the lock anew with `llmops lock`")
    if not isinstance(data.get("bundle", ""), str) or ".." in data.get("bundle", "").split("/"):
        fail("`bundle` is a folder beside the lock or below it")
    for table, needed in _SHAPE.items():
        entries = data.setdefault(table, {})
        for name, entry in entries.items() if isinstance(entries, dict) else [("", None)]:
            said = entry if isinstance(entry, dict) else {}
            missing = [one for one, kind in needed.items() if not isinstance(said.get(one), kind)]
            if missing:
                fail(f"`[{table}.{_key(name)}]` lacks {', '.join(missing)}; write the lock anew with `llmops lock`")
            if not isinstance(said.get("commit", ""), str):
                fail(f"`commit` in `[{table}.{_key(name)}]` is no commit; write the lock anew with `llmops lock`")
    return data
