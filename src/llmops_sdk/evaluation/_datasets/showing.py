"""The first cases as a table: text, or HTML for notebooks."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence

from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation._values import encoded

__all__ = ["as_html", "as_text"]

_WIDTH = 40
_LONG = 200


def as_text(cases: Sequence[Case], title: str, more: bool) -> str:
    """The table, columns as wide as what is in them, cells cut to 40 characters."""
    header, rows = _table(cases)
    cut = [[_cut(cell, _WIDTH) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cut, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cut]
    return "\n".join([title, *lines, *(["..."] if more else [])])


def as_html(cases: Sequence[Case], title: str, more: bool) -> str:
    """The same for a notebook, cells cut to 200 characters."""
    header, rows = _table(cases)
    head = "".join(f"<th style='text-align:left'>{html.escape(name)}</th>" for name in header)
    body = "".join(
        "<tr>" + "".join(f"<td style='text-align:left'>{html.escape(_cut(cell, _LONG))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    end = "<p>…</p>" if more else ""
    return f"<p><b>{html.escape(title)}</b></p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{end}"


def _table(cases: Sequence[Case]) -> tuple[list[str], list[list[str]]]:
    mappings = all(isinstance(case.input, dict) for case in cases)
    asked = list(dict.fromkeys(name for case in cases for name in case.input)) if mappings else ["input"]
    extra = [name for name in ("expected", "tags", "cluster") if any(getattr(case, name) for case in cases)]
    rows = []
    for case in cases:
        given = case.input if mappings else {"input": case.input}
        cells = [given.get(name) for name in asked]
        others = [", ".join(case.tags) if name == "tags" else getattr(case, name) for name in extra]
        rows.append([case.id, *map(_shown, (*cells, *others))])
    return ["id", *asked, *extra], rows


def _shown(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(encoded(value), ensure_ascii=False)


def _cut(text: str, most: int) -> str:
    line = " ".join(text[: 4 * most].split())
    return line if len(line) <= most and len(text) <= 4 * most else f"{line[: most - 1]}…"
