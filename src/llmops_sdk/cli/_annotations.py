"""Annotations: workflow commands, which GitHub shows beside the line.

Source: <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands>.
"""

from __future__ import annotations

__all__ = ["annotation"]


def annotation(level: str, file: str, line: int, column: int, title: str, message: str) -> str:
    """The command for one place; `level` is `"error"`, `"warning"` or `"notice"`.

    Example:
        >>> annotation("error", "a.md", 3, 1, "P201", "a secret")
        '::error file=a.md,line=3,col=1,title=P201::a secret'
    """
    place = f"file={_property(file)},line={line},col={column},title={_property(title)}"
    return f"::{level} {place}::{_data(message)}"


def _data(value: str) -> str:
    return value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str) -> str:
    return _data(value).replace(":", "%3A").replace(",", "%2C")
