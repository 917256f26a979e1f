"""Tables in a terminal and in a notebook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

__all__ = ["STYLE", "Table"]

STYLE = (
    ".llmops-table{font:13px/1.45 system-ui,sans-serif;margin:.4em 0}"
    ".llmops-table table{border-collapse:collapse;margin:.6em 0}"
    ".llmops-table caption{font-weight:600;text-align:left;padding:.2em .6em}"
    ".llmops-table th{font-weight:500;opacity:.65;text-align:right;padding:.12em .6em;border:0}"
    ".llmops-table td{padding:.12em .6em;text-align:right;border:0;font-variant-numeric:tabular-nums}"
    ".llmops-table th:first-child,.llmops-table td:first-child{text-align:left}"
)


class Table:
    """Rows of texts under headings; all but the first column are figures."""

    def __init__(self, title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self.title = title
        self._headings = tuple(headings)
        self._rows = tuple(map(tuple, rows))

    def __str__(self) -> str:
        lines = [self._headings, *self._rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = (
            "  ".join(
                cell.rjust(width) if number else cell.ljust(width)
                for number, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )
        return "\n".join([self.title, *text])

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.title!r}: {len(self._rows)} rows>"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        from rich.table import Table as Drawn  # noqa: PLC0415  (rich calls this, so it is there)
        from rich.text import Text  # noqa: PLC0415  (the same)

        table = Drawn(title=Text(self.title), title_justify="left")
        for number, heading in enumerate(self._headings):
            table.add_column(Text(heading), justify="right" if number else "left")
        for row in self._rows:
            table.add_row(*map(Text, row))
        yield table

    def _repr_html_(self) -> str:
        return f"<style>{STYLE}</style><div class=llmops-table>{self.fragment()}</div>"

    def fragment(self) -> str:
        """The table itself."""
        head = "".join(f"<th scope=col>{escape(one)}" for one in self._headings)
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}" for cell in row) for row in self._rows)
        return f"<table><caption>{escape(self.title)}</caption><thead><tr>{head}<tbody>{body}</table>"
