"""An explanation as lines of text: a tree with aligned columns and a time line."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from llmops_sdk.tracing._explain.explanation import Explanation, Step

__all__ = ["Line", "column_ms", "lines", "money", "ms", "step_money", "total_cell", "total_money"]

Line: TypeAlias = "list[tuple[str, str]]"
"""Pieces of text, each with a style as rich writes it."""

_BAR = 20
"""Characters of the time line."""

_STYLES = {
    "good": "green",
    "plain": "",
    "rewritten": "yellow",
    "blocked": "bold red",
    "failed": "red",
    "running": "cyan",
}


def ms(value: float) -> str:
    """Milliseconds, with one digit after the point, two where it is less than 1."""
    return f"{value:,.2f}" if 0 < value < 1 else f"{value:,.1f}"


def money(value: Decimal) -> str:
    """US dollars with four digits after the point, more where the sum is so small that they are needed.

    Example:
        >>> money(Decimal("12.5")), money(Decimal("0.00021325"))
        ('12.5000', '0.000213')
    """
    digits = 4 if value == 0 else min(max(4, 2 - value.adjusted()), 12)
    return f"{value:,.{digits}f}"


def total_money(explanation: Explanation) -> str:
    """The cost of the run in words: what is not known is never counted as nothing."""
    unknown = explanation.unpriced
    if not unknown:
        return f"{money(explanation.cost_usd)} USD"
    if not explanation.cost_usd:
        return "price unknown"
    return f"{money(explanation.cost_usd)} USD + {unknown} attempt{'s' * (unknown != 1)} of unknown price"


def step_money(step: Step) -> str:
    """The cost of a step in its column."""
    if not step.priced:
        return ""
    return "unknown" if step.cost_usd is None else money(step.cost_usd)


def total_cell(explanation: Explanation) -> str:
    """The cost of the run in its column."""
    if explanation.unpriced:
        return f"≥ {money(explanation.cost_usd)}" if explanation.cost_usd else "unknown"
    return money(explanation.cost_usd)


def column_ms(value: float) -> str:
    """Milliseconds in a column: two digits after the point, so that the points stand below each other."""
    return f"{value:,.2f}"


def lines(explanation: Explanation, width: int | None = None) -> list[Line]:
    """The whole text; where `width` is too little for it, the time line is the first thing to shrink."""
    rows = [_cells(step) for step in explanation.steps]
    head = ("step", "result", "start ms", "took ms", "", "tokens in", "out", "USD")
    elsewhere = ("between the steps", "", "", column_ms(explanation.elsewhere_ms), "", "", "", "")
    bottom = ("total", "", "", column_ms(explanation.total_ms), "", *_tokens(explanation), total_cell(explanation))
    widths = [max(_width(cell) for cell in column) for column in zip(head, *rows, elsewhere, bottom, strict=True)]
    widths[4] = _BAR
    if width is not None:
        too_much = 3 + sum(widths) + 2 * (len(widths) - 1) - width
        widths[4] = max(_BAR - max(too_much, 0), 0)
    result: list[Line] = [*_title(explanation), [], _row("   ", head, widths, "dim", "dim")]
    for step, cells in zip(explanation.steps, rows, strict=True):
        drawn = (*cells[:4], _bar(step, explanation.total_ms, widths[4]), *cells[5:])
        result.append(_row("├─ ", drawn, widths, "", _STYLES[step.tone]))
        result.extend([("│  ", "dim"), (f"  {note}", "dim")] for note in step.notes)
    result.append(_row("├─ ", elsewhere, widths, "dim", "dim"))
    result.append(_row("└─ ", bottom, widths, "bold", ""))
    return result


def _title(explanation: Explanation) -> Iterator[Line]:
    tokens = "tokens not counted"
    if explanation.input_tokens is not None:
        tokens = f"{explanation.input_tokens:,} tokens in, {explanation.output_tokens:,} out"
    yield [
        (explanation.pipeline, "bold"),
        (" · ", "dim"),
        (explanation.outcome, _STYLES[explanation.tone]),
        (f" · {ms(explanation.total_ms)} ms · {tokens} · {total_money(explanation)}", ""),
    ]
    yield [(" · ".join(explanation.facts), "dim")]


def _cells(step: Step) -> tuple[str, ...]:
    return (
        step.name,
        step.result,
        "" if step.start_ms is None else column_ms(step.start_ms),
        "" if step.took_ms is None else column_ms(step.took_ms),
        "",
        *_tokens(step),
        step_money(step),
    )


def _tokens(counted: Step | Explanation) -> tuple[str, str]:
    if counted.input_tokens is None or counted.output_tokens is None:
        return "", ""
    return f"{counted.input_tokens:,}", f"{counted.output_tokens:,}"


def _bar(step: Step, total_ms: float, cells: int) -> str:
    """Where the step lies in the run: full blocks for its own time, light ones where it reads along."""
    if step.start_ms is None or total_ms <= 0 or cells == 0:
        return ""
    start = min(max(step.start_ms / total_ms, 0.0), 1.0)
    first = min(int(start * cells), cells - 1)
    if step.end_ms is None:
        return " " * first + "◆"
    end = min(max(step.end_ms / total_ms, start), 1.0)
    length = max(round(end * cells) - first, 0)
    return " " * first + (("░" if step.reads_along else "█") * length or "▏")


def _row(branch: str, cells: Sequence[str], widths: Sequence[int], style: str, tone: str) -> Line:
    name, result, start, took, bar, tokens_in, tokens_out, usd = cells
    return [
        (branch, "dim"),
        (_left(name, widths[0]), style),
        ("  ", ""),
        (_left(result, widths[1]), tone),
        (f"  {_right(start, widths[2])}  {_right(took, widths[3])}  ", style),
        (_left(bar, widths[4]), tone or style),
        (f"  {_right(tokens_in, widths[5])}  {_right(tokens_out, widths[6])}  {_right(usd, widths[7])}", style),
    ]


def _width(text: str) -> int:
    """Cells of a terminal that `text` takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def _left(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def _right(text: str, width: int) -> str:
    return " " * (width - _width(text)) + text
