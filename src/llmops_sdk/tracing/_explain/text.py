"""An explanation as lines of text: a tree with aligned columns and a time line, as wide as there is room."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from llmops_sdk.tracing._explain.numbers import Purse, column_ms, ms_text, tokens, total_money, total_tokens
from llmops_sdk.tracing._explain.steps import Step

if TYPE_CHECKING:
    from llmops_sdk.tracing._explain.explanation import Explanation

__all__ = ["Line", "lines"]

Line: TypeAlias = "list[tuple[str, str]]"
"""Pieces of text, each with a style as rich writes it."""

_HEAD = ("step", "result", "start ms", "took ms", "", "tokens in", "out", "USD")
_STEP, _RESULT, _START, _TOOK, _BAR, _IN, _OUT, _USD = range(8)
_BAR_WIDTH = 20
_LEAST_BAR = 6
_LEAST = {_RESULT: 12, _STEP: 18}
"""Least widths of the columns that may be cut."""

_STYLES = {
    "good": "green",
    "plain": "",
    "rewritten": "yellow",
    "blocked": "bold red",
    "failed": "red",
    "running": "cyan",
}


class _Row(NamedTuple):
    """A row of the table: what is drawn before its name, and before its notes."""

    branch: str
    below: str
    cells: tuple[str, ...]
    style: str = ""
    tone: str = ""
    step: Step | None = None


def lines(explanation: Explanation, width: int | None = None) -> list[Line]:
    """The whole text. Where `width` is too little, the time line goes first, then columns; names are cut at last."""
    rows = list(_rows(explanation))
    widths = _fitted([max(_width(cell) for cell in column) for column in _columns(rows)], width)
    result: list[Line] = [*_title(explanation, width), []]
    for row in rows:
        if row.step is None:
            result.append(_drawn(row, "", widths))
            continue
        result.append(_drawn(row, _bar(row.step, explanation.total_ms, widths[_BAR]), widths))
        for note in row.step.notes:
            result.extend(_noted(note, row.below, width))
    return result


def _rows(explanation: Explanation) -> Iterator[_Row]:
    purse = Purse(explanation)
    yield _Row("   ", "", _HEAD, "dim", "dim")
    yield from _tree(explanation.steps, "", purse, more=True)
    elsewhere = ("between the steps", "", "", column_ms(explanation.elsewhere_ms), "", "", "", "")
    yield _Row("├─ ", "", elsewhere, "dim", "dim")
    total = ("total", "", "", column_ms(explanation.total_ms), "", *tokens(explanation), purse.total())
    yield _Row("└─ ", "", total, "bold", "")
    if explanation.afterwards:
        yield _Row("   ", "", ("afterwards", *[""] * 7), "dim", "dim")
        yield from _tree(explanation.afterwards, "", purse, more=False)


def _tree(steps: Sequence[Step], before: str, purse: Purse, *, more: bool) -> Iterator[_Row]:
    """The rows of `steps` and of all within them; `more`: others follow behind the last of them."""
    for index, step in enumerate(steps):
        last = index == len(steps) - 1 and not more
        below = before + ("   " if last else "│  ")
        inner = below + ("│" if step.inner else " ")
        times = column_ms(step.start_ms), column_ms(step.took_ms)
        cells = (step.name, step.result, *times, "", *tokens(step), purse.of(step))
        yield _Row(before + ("└─ " if last else "├─ "), inner, cells, "", _STYLES[step.tone], step)
        yield from _tree(step.inner, below, purse, more=False)


def _columns(rows: Sequence[_Row]) -> Iterator[tuple[str, ...]]:
    yield tuple(row.branch + row.cells[_STEP] for row in rows)
    yield from (tuple(row.cells[column] for row in rows) for column in range(1, len(_HEAD)))


def _fitted(widths: list[int], most: int | None) -> list[int]:
    """Widths of the columns, 0 for those that are left out, so that the rows fit."""
    widths[_BAR] = _BAR_WIDTH
    if most is None:
        return widths

    def too_much() -> int:
        return sum(widths) + 2 * (sum(1 for width in widths if width) - 1) - most

    if too_much() > 0:
        left = widths[_BAR] - too_much()
        widths[_BAR] = left if left >= _LEAST_BAR else 0
    for column in (_START, _IN, _OUT):
        if too_much() > 0:
            widths[column] = 0
    for column, least in _LEAST.items():
        widths[column] = max(widths[column] - max(too_much(), 0), min(least, widths[column]))
    return widths


def _title(explanation: Explanation, width: int | None) -> Iterator[Line]:
    parts = [
        (explanation.pipeline, "bold"),
        (explanation.outcome, _STYLES[explanation.tone]),
        (f"{ms_text(explanation.total_ms)} ms", ""),
        (total_tokens(explanation), ""),
        (total_money(explanation), ""),
    ]
    yield from _packed(parts, width)
    yield from _packed([(fact, "dim") for fact in explanation.facts], width)


def _packed(parts: Iterable[tuple[str, str]], width: int | None) -> Iterator[Line]:
    """The parts with dots between them, on as few lines as they need."""
    line: Line = []
    used = 0
    for text, style in parts:
        room = _width(text) + (3 if line else 0)
        if line and width is not None and used + room > width:
            yield line
            line, used, room = [], 0, _width(text)
        if line:
            line.append((" · ", "dim"))
        line.append((text, style))
        used += room
    yield line


def _noted(note: str, below: str, width: int | None) -> Iterator[Line]:
    pieces = [note]
    if width is not None:
        pieces = textwrap.wrap(note, max(width - len(below) - 2, 20)) or [""]
    for piece in pieces:
        yield [(below, "dim"), (f" {piece}", "dim")]


def _drawn(row: _Row, bar: str, widths: Sequence[int]) -> Line:
    name = _left(_cut(row.branch + row.cells[_STEP], widths[_STEP]), widths[_STEP])
    line: Line = [(name[: len(row.branch)], "dim"), (name[len(row.branch) :], row.style)]
    for column in range(_RESULT, len(widths)):
        width = widths[column]
        if not width:
            continue
        if column == _RESULT:
            line += [("  ", ""), (_left(_cut(row.cells[column], width), width), row.tone)]
        elif column == _BAR:
            line += [("  ", ""), (_left(bar, width), row.tone or row.style)]
        else:
            line.append((f"  {_right(row.cells[column], width)}", row.style))
    return line


def _bar(step: Step, total_ms: float, cells: int) -> str:
    """Where the step lies in the run: full blocks for its own time, light ones where it reads along."""
    if step.start_ms is None or total_ms <= 0 or cells == 0 or step.start_ms > total_ms:
        return ""
    start = min(max(step.start_ms / total_ms, 0.0), 1.0)
    first = min(int(start * cells), cells - 1)
    if step.end_ms is None:
        return " " * first + "◆"
    end = min(max(step.end_ms / total_ms, start), 1.0)
    length = max(round(end * cells) - first, 0)
    return " " * first + (("░" if step.reads_along else "█") * length or "▏")


def _width(text: str) -> int:
    """Cells of a terminal that `text` takes."""
    if text.isascii():
        return len(text)
    return sum(_char_width(char) for char in text)


def _char_width(char: str) -> int:
    return 0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _cut(text: str, width: int) -> str:
    if _width(text) <= width:
        return text
    kept, used = "", 0
    for char in text:
        used += _char_width(char)
        if used > width - 1:
            break
        kept += char
    return f"{kept}…"


def _left(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def _right(text: str, width: int) -> str:
    return " " * (width - _width(text)) + text
