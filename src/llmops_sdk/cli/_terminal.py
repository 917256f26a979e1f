"""What is shown to people: lines and tables, in a terminal or in the log of a CI job."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["console", "plain", "print_lines", "print_table", "short"]

Styled: TypeAlias = "str | tuple[str, str]"
"""A text, or a text and its style: `("P201", "bold red")`. Nothing in it is read as markup."""

_WIDTH = 200
"""Columns where there is no terminal, so that nothing is cut in a log."""

_ID = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


def console() -> Console:
    """Standard output; colours are for terminals only."""
    from rich.console import Console  # noqa: PLC0415  (third-party, and machines read other formats)

    watched = sys.stdout.isatty()
    return Console(width=None if watched else _WIDTH, highlight=False, no_color=None if watched else True)


def print_lines(lines: Iterable[Sequence[Styled]]) -> None:
    """Print lines, each of its parts; long ones are left to the terminal."""
    from rich.text import Text  # noqa: PLC0415

    out = console()
    for parts in lines:
        out.print(Text.assemble(*map(_safe, parts)), soft_wrap=True)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Styled]]) -> None:
    """Print a table; what is too wide goes on below."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, show_header=any(columns))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text.assemble(_safe(cell)) for cell in row))
    console().print(table)


def _safe(given: Styled) -> Styled:
    return plain(given) if isinstance(given, str) else (plain(given[0]), given[1])


def plain(text: str, keep: str = "") -> str:
    """Without what a terminal would obey: names, reasons and files come from whoever can push.

    Example:
        >>> plain(f"a{chr(27)}[2Jb")
        'a [2Jb'
    """
    return "".join(one if one.isprintable() or one in keep else " " for one in text)


def short(text: str) -> str:
    """The first 12 digits of a commit id or another hash; any other text as it is.

    Example:
        >>> short("0123456789" * 4), short("prod")
        ('012345678901', 'prod')
    """
    return text[:12] if _ID.fullmatch(text) else text
