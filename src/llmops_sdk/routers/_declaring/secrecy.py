"""Keys have no place in a file: what looks like one is refused, and shown nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmops_sdk import guards
from llmops_sdk.given import named_like_a_key
from llmops_sdk.routers._declaring.problems import Path, Problems

__all__ = ["refuse_keys"]


def refuse_keys(data: Any, problems: Problems) -> None:
    """Add a problem for each value that is a key, by its name or by its form."""
    _look(data, (), guards.Secrets(), problems)


def _look(value: Any, path: Path, secrets: guards.Secrets, problems: Problems) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _look(inner, (*path, key), secrets, problems)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _look(inner, (*path, index), secrets, problems)
    elif isinstance(value, str) and value:
        name = path[-1] if path else ""
        named = isinstance(name, str) and named_like_a_key(name)
        if named or secrets.check(value).findings:
            problems.hide(value)
            problems.add(path, f"a key has no place in this file; {_instead(path)}")


def _instead(path: Path) -> str:
    if path[-1:] == ("api_key",):
        return "write `api_key_env:` and the name of the environment variable that holds it"
    if "options" in path:
        return "write `{env: NAME}`, where NAME is the environment variable that holds it"
    return "write it into an environment variable, and name that here"
