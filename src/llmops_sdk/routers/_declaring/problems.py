"""What is wrong with a declaration, all of it, each with its place."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, NoReturn, TypeAlias

from llmops_sdk.errors import ConfigurationError

__all__ = ["Path", "Place", "Problems", "did_you_mean", "place_meant", "shown_path"]

Path: TypeAlias = tuple[str | int, ...]
"""Keys and indices from the top to a value."""

_MOST = 20
_NAME = re.compile(r"[A-Za-z_][\w-]*")
_IN_BACKTICKS = re.compile(r"`(\w+)`")
_IN_QUOTES = re.compile(r"'([^']+)'")


class Place(NamedTuple):
    """Line and column, from 1."""

    line: int
    column: int


class Problems:
    """Collects what is wrong with one declaration.

    Args:
        where: The file; `None` for a declaration that was made in Python.
    """

    def __init__(self, where: str | None = None) -> None:
        self._where = where
        self._keys: dict[Path, Place] = {}
        self._values: dict[Path, Place] = {}
        self._found: set[tuple[Place, str]] = set()
        self._hidden: set[str] = set()

    def again(self) -> Problems:
        """The same file and places, and nothing wrong yet."""
        other = Problems(self._where)
        other._keys, other._values = self._keys, self._values
        return other

    def note(self, path: Path, place: Place | None, *, key: bool = False) -> None:
        """Learn where a value stands, or its key."""
        if place is not None:
            (self._keys if key else self._values)[path] = place

    def hide(self, text: str) -> None:
        """Learn a key, which no problem may show. What has fewer than 8 letters is none, and would garble messages."""
        if len(text) >= 8:
            self._hidden.add(text)

    def hides(self, text: str) -> bool:
        """Whether a text is a key, or holds one."""
        return any(key in text for key in self._hidden)

    def add(self, path: Path, problem: str, *, key: bool = False) -> None:
        """Something is wrong with the value at `path`, or with its key."""
        places = self._keys if key else self._values
        known = next((path[:end] for end in range(len(path), -1, -1) if path[:end] in places), ())
        self.add_at(places.get(known), f"`{shown_path(path)}`: {problem}" if path else problem)

    def add_at(self, place: Place | None, problem: str) -> None:
        """Something is wrong at a place of the file."""
        for key in self._hidden:
            problem = problem.replace(key, "[scrubbed]")
        self._found.add((place or Place(1, 1), problem))

    def stop(self, problem: str, place: Place | None = None) -> NoReturn:
        """Something is wrong, and nothing more can be found out.

        Raises:
            ConfigurationError: Always.
        """
        self.add_at(place, problem)
        raise self._error()

    def __len__(self) -> int:
        return len(self._found)

    def check(self) -> None:
        """Raise what was found, if anything was.

        Raises:
            ConfigurationError: All of it, a line for each, in the order of the file.
        """
        if self._found:
            raise self._error()

    def _error(self) -> ConfigurationError:
        lines = [
            problem if self._where is None else f"{self._where}:{place.line}:{place.column}: {problem}"
            for place, problem in sorted(self._found)
        ]
        if len(lines) > _MOST:
            lines[_MOST:] = [f"... and {len(lines) - _MOST} more"]
        return ConfigurationError("\n".join(lines))


def shown_path(path: Path) -> str:
    """A path as people write it.

    Example:
        >>> shown_path(("engines", 1, "weight"))
        'engines[1].weight'
        >>> shown_path(("prices", "gpt-4.1", "input"))
        "prices['gpt-4.1'].input"
    """
    text = ""
    for part in path:
        if isinstance(part, str) and _NAME.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{part!r}]"
    return text


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or nothing when no known word is close to `word`."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def place_meant(message: str, data: Any) -> Path:
    """The path below `data` of what an error is about, by the names in its message; `()` where that is not clear.

    Constructors know the names of their options, and no files: "`retries` is a number", "two engines are called 'a'".

    Example:
        >>> place_meant("`retries` is 0 or more", {"name": "a", "retries": -1})
        ('retries',)
        >>> place_meant("two are called 'a'", {"engines": [{"name": "a"}, {"name": "a"}]})
        ('engines', 1, 'name')
    """
    paths = list(_paths(data, ()))
    path: Path = ()
    for option in _IN_BACKTICKS.findall(message):
        named = [one for one, _ in paths if one[-1] == option]
        if named:
            path = min(named, key=len)
            break
    for word in _IN_QUOTES.findall(message):
        said = [one for one, value in paths if one[: len(path)] == path and word in (value, one[-1])]
        if said:
            return max(said, key=_indices)  # the last one: of two that clash, the second came too late
    return path


def _indices(path: Path) -> tuple[int, ...]:
    return tuple(part for part in path if isinstance(part, int))


def _paths(data: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """All paths below `data`, with the texts that stand there."""
    parts: Iterable[tuple[str | int, Any]] = ()
    if isinstance(data, Mapping):
        parts = data.items()
    elif isinstance(data, list):
        parts = enumerate(data)
    for part, value in parts:
        inner = (*path, part)
        yield inner, value if isinstance(value, str) else None
        yield from _paths(value, inner)
