"""Partials: files that templates include."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.prompts._conflicts import UNRESOLVED, first_conflict
from llmops_sdk.prompts._variables import did_you_mean

__all__ = ["MAX_PARTIAL_BYTES", "BadPartialError", "PartialReader", "Partials", "reader_of"]

PartialReader: TypeAlias = Callable[[str], bytes | None]
"""Gives what a partial holds whose path is relative to the folder of the prompts; `None`: there is none."""

MAX_PARTIAL_BYTES = 200_000
"""Largest partial that is read."""

_MOST_PARTIALS = 100
_PATH = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)*")
_SUFFIXES = (".md", ".txt", ".jinja", ".j2", ".prompt.md")


class BadPartialError(Exception):
    """A partial that cannot be used; the message says why."""


class _Held:
    def __init__(self, texts: Mapping[str, str]) -> None:
        self.texts = dict(texts)

    def __call__(self, path: str) -> bytes | None:
        text = self.texts.get(path)
        return None if text is None else text.encode("utf-8", "surrogatepass")


def reader_of(partials: Mapping[str, str]) -> PartialReader:
    """Reads the partials that somebody has in hand, texts by their path.

    Raises:
        ConfigurationError: They are something else.
    """
    if not isinstance(partials, Mapping) or not all(isinstance(one, str) for pair in partials.items() for one in pair):
        raise ConfigurationError('`partials` are texts by their path: `{"shared/tone.md": "Be brief."}`')
    return _Held(partials)


class Partials:
    """The partials of one template: each is read once.

    Attributes:
        texts: What was read, by path.
    """

    def __init__(self, read: PartialReader | None) -> None:
        self._read = read or _Held({})
        self.texts: dict[str, str] = {}

    def text(self, path: str) -> str:
        """The text of a partial, without the line end that closes the file.

        Raises:
            BadPartialError: There is none, or it is no text, too long, or holds a conflict, or there are too many.
        """
        if path in self.texts:
            return self.texts[path]
        if not _PATH.fullmatch(path):
            raise BadPartialError(
                f"{path!r} is no path of a partial: write it from the folder of the prompts, such as `shared/tone.md`"
            )
        if len(self.texts) >= _MOST_PARTIALS:
            raise BadPartialError(f"a template includes {_MOST_PARTIALS} partials at most")
        data = self._read(path)
        if data is None:
            raise BadPartialError(f"there is no partial {path!r}.{self._near(path)}")
        if len(data) > MAX_PARTIAL_BYTES:
            raise BadPartialError(
                f"the partial {path!r} has {len(data):,} bytes, more than the {MAX_PARTIAL_BYTES:,} that are read"
            )
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as exc:
            raise BadPartialError(f"the partial {path!r} is not UTF-8 (byte {exc.start})") from exc
        text = text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n")
        conflict = first_conflict(text.split("\n"))
        if conflict is not None:
            raise BadPartialError(f"line {conflict + 1} of the partial {path!r}: {UNRESOLVED}")
        self.texts[path] = text
        return text

    def _near(self, path: str) -> str:
        if isinstance(self._read, _Held):
            known = self._read.texts
            there_are = (
                f" There are {', '.join(sorted(known)[:20])}." if known else " None were given: `partials={...}`."
            )
            return did_you_mean(path, known) or there_are
        # A reader lists nothing: what people write instead of the path is tried.
        inner = path.removeprefix("prompts/")
        stem = inner.rsplit(".", 1)[0] if "." in inner.rsplit("/", 1)[-1] else inner
        guesses = dict.fromkeys((inner, *(name + suffix for name in (inner, stem) for suffix in _SUFFIXES)))
        there = [one for one in guesses if one != path and self._read(one) is not None]
        if there:
            return f" Did you mean {' or '.join(map(repr, there))}?"
        return " Paths begin in the folder of the prompts: `shared/tone.md` is `prompts/shared/tone.md`."
