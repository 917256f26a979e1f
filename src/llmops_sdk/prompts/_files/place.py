"""Where a file stands, for its errors; and how its siblings are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, NoReturn, TypeAlias

from llmops_sdk.errors import PromptError
from llmops_sdk.prompts._conflicts import UNRESOLVED, first_conflict

__all__ = ["MAX_BYTES", "SUFFIX", "Place", "Reader", "decoded", "is_inside", "no_siblings", "resolved"]

SUFFIX = ".prompt.md"
MAX_BYTES = 1_000_000
"""Largest prompt file that is read, and largest file that one names."""

Reader: TypeAlias = Callable[[str], bytes | None]
"""Gives what the file holds whose path is relative to the folder of the prompts, at the same version; `None`: none.

What a prompt includes (partials, examples) is read by it, so that a commit holds all that a prompt renders from.
"""


def no_siblings(_path: str) -> bytes | None:
    """A `Reader` for a file that stands alone."""
    return None


def is_inside(path: str) -> bool:
    """Whether a path stays in the folder that it is relative to; every `Reader` asks this.

    Example:
        >>> [path for path in ("shared/tone.md", "../secret", "/etc/passwd", "a//b") if is_inside(path)]
        ['shared/tone.md']
    """
    return not any(step in ("", ".", "..") for step in path.split("/")) and "\\" not in path and "\0" not in path


class Place(NamedTuple):
    """Where a file stands."""

    prompt: str
    where: str
    read: Reader = no_siblings

    def fail(self, line: int, problem: str, *, variable: str | None = None) -> NoReturn:
        """Raise a `PromptError` that begins with `path:line:`."""
        raise PromptError(f"{self.where}:{line}: {problem}", prompt=self.prompt, variable=variable)

    def beside(self, path: str) -> Place:
        """Where the file `path`, relative to the folder of the prompts, stands at the same version."""
        own = f"{self.prompt}{SUFFIX}"
        return self._replace(where=self.where.replace(own, path) if own in self.where else path)

    def text_of(self, path: str, line: int) -> str:
        """The text of the file `path`, relative to the folder of the prompts; line `line` of this one names it.

        Raises:
            PromptError: There is no such file, it is no text, or holds a conflict of a merge.
        """
        if not is_inside(path):
            self.fail(line, f"{path!r} is no path in the folder of the prompts, such as `examples/answers.jsonl`")
        data = self.read(path)
        if data is None:
            self.fail(line, f"there is no file {path!r} in the folder of the prompts, at this version")
        return resolved(data, self.beside(path))


def decoded(data: bytes, place: Place) -> str:
    """The text of a file: without a byte-order mark, with line feeds.

    Raises:
        PromptError: The file is too large, is not UTF-8, or no text at all.
    """
    if len(data) > MAX_BYTES:
        place.fail(1, f"the file has {len(data):,} bytes, more than the {MAX_BYTES:,} that are read")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        place.fail(line, f"this is not UTF-8 (byte {exc.start} is {data[exc.start]:#04x}); save the file as UTF-8")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if (nul := text.find("\0")) >= 0:
        place.fail(text.count("\n", 0, nul) + 1, "a NUL character stands here; save the file as UTF-8 text")
    return text


def resolved(data: bytes, place: Place) -> str:
    """The text of a file that a prompt is made of, as `decoded` reads it.

    Raises:
        PromptError: It is no text, or a conflict of a merge stands in it.
    """
    text = decoded(data, place)
    conflict = first_conflict(text.split("\n"))
    if conflict is not None:
        place.fail(conflict + 1, UNRESOLVED)
    return text
