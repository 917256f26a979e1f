"""A JSON list, element by element, without ever holding all of it."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import Any

from llmops_sdk.errors import DatasetError

__all__ = ["elements"]

_CHUNK = 1 << 16
_SPACE = re.compile(r"[ \t\n\r]*")
_MARGIN = 16
"""Characters before the end of what was read, within which a fault may only mean that more has to be read."""


def elements(text: io.TextIOBase) -> Iterator[Any]:
    """The elements of the list that `text` is.

    Raises:
        DatasetError: It is no list, or broken; `row` is the element.
    """
    reading = _Reading(text)
    if reading.next() != "[":
        raise DatasetError("is no row: a .json file holds a list of rows, `[{...}, {...}]`; one row a line is a .jsonl")
    reading.skip()
    row = 0
    if reading.next() == "]":
        reading.skip()
    else:
        while True:
            row += 1
            yield reading.element(row)
            mark = reading.next()
            reading.skip()
            if mark == "]":
                break
            if mark != ",":
                raise DatasetError(f"is followed by {mark or 'the end'!r}, not by a comma or a bracket", row=row)
    if left := reading.next():
        raise DatasetError(f"is the last one, and {left!r} follows the end of the list", row=max(row, 1))


class _Reading:
    def __init__(self, text: io.TextIOBase) -> None:
        self._text = text
        self._held, self._at = "", 0
        self._ended = False
        self._decoder = json.JSONDecoder()

    def next(self) -> str:
        """The next character that is no space, `""` at the end."""
        while True:
            found = _SPACE.match(self._held, self._at)
            self._at = found.end() if found is not None else self._at
            if self._at < len(self._held) or not self._more(_CHUNK):
                return self._held[self._at : self._at + 1]

    def skip(self) -> None:
        self._at += 1

    def element(self, row: int) -> Any:
        self.next()
        size = _CHUNK
        while True:
            try:
                value, end = self._decoder.raw_decode(self._held, self._at)
            except RecursionError:
                raise DatasetError("is nested too deeply", row=row) from None
            except json.JSONDecodeError as exc:
                unfinished = exc.msg.startswith("Unterminated string") or exc.pos >= len(self._held) - _MARGIN
                if not unfinished or not self._more(size):
                    raise DatasetError(f"is no JSON: {exc.msg}", row=row) from exc
                size *= 2  # so that a long element is not parsed from its start for each chunk
                continue
            if end < len(self._held) or not self._more(size):  # a number may go on
                self._at = end
                return value

    def _more(self, size: int) -> bool:
        if self._ended:
            return False
        read = self._text.read(size)
        self._held, self._at = self._held[self._at :] + read, 0
        self._ended = not read
        return bool(read)
