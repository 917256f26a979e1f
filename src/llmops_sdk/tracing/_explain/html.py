"""An explanation as HTML for notebooks: one table, everything escaped, nothing loaded from elsewhere."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from llmops_sdk.tracing._explain.text import column_ms, ms, step_money, total_cell, total_money

if TYPE_CHECKING:
    from llmops_sdk.tracing._explain.explanation import Explanation, Step

__all__ = ["page"]

_COLOURS = {
    "good": "#2e9e5b",
    "plain": "#8a8f98",
    "rewritten": "#c99700",
    "blocked": "#d33c3c",
    "failed": "#d33c3c",
    "running": "#2b8fb8",
}

_STYLE = (
    ".llmops-run{font:13px/1.45 system-ui,sans-serif;border-collapse:collapse;margin:.4em 0}"
    ".llmops-run caption{text-align:left;padding:.2em .6em .5em}"
    ".llmops-run th{font-weight:500;opacity:.6}"
    ".llmops-run th,.llmops-run td{padding:.18em .6em;text-align:left;vertical-align:top;border:0}"
    ".llmops-run .n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}"
    ".llmops-run td:not([colspan]){white-space:nowrap}"
    ".llmops-run .note{opacity:.6;font-size:92%}"
    ".llmops-run tr.note td{padding:0 .6em .3em 1.8em}"
    ".llmops-run .line{position:relative;width:180px;min-width:180px}"
    ".llmops-run .line i{position:absolute;top:.45em;height:.75em;min-width:2px;border-radius:2px}"
    ".llmops-run tfoot td{border-top:1px solid rgba(128,128,128,.4);font-weight:600}"
)


def page(explanation: Explanation) -> str:
    """The table, with its style."""
    tokens = "tokens not counted"
    if explanation.input_tokens is not None:
        tokens = f"{explanation.input_tokens:,} tokens in, {explanation.output_tokens:,} out"
    head = "".join(
        f"<th{' class=n' if right else ''}>{name}</th>"
        for name, right in (
            ("step", False), ("result", False), ("start ms", True), ("took ms", True), ("", False),
            ("tokens in", True), ("out", True), ("USD", True),
        )
    )  # fmt: skip
    rows = "".join(_row(step, explanation.total_ms) for step in explanation.steps)
    return (
        f"<style>{_STYLE}</style><table class=llmops-run><caption><b>{escape(explanation.pipeline)}</b> · "
        f'<b style="color:{_COLOURS[explanation.tone]}">{escape(explanation.outcome)}</b> · '
        f"{ms(explanation.total_ms)} ms · {tokens} · {escape(total_money(explanation))}"
        f"<br><span class=note>{escape(' · '.join(explanation.facts))}</span></caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{rows}"
        f"<tr><td>between the steps<td><td><td class=n>{column_ms(explanation.elsewhere_ms)}<td><td><td><td></tr>"
        f"</tbody><tfoot><tr><td>total<td><td><td class=n>{column_ms(explanation.total_ms)}<td>"
        f"{_numbers(explanation)}<td class=n>{escape(total_cell(explanation))}</tr></tfoot></table>"
    )


def _row(step: Step, total_ms: float) -> str:
    start = "" if step.start_ms is None else column_ms(step.start_ms)
    took = "" if step.took_ms is None else column_ms(step.took_ms)
    notes = "".join(f"<tr class=note><td colspan=8>{escape(note)}</td></tr>" for note in step.notes)
    return (
        f"<tr><td>{escape(step.name)}</td>"
        f'<td style="color:{_COLOURS[step.tone]}">{escape(step.result)}</td>'
        f"<td class=n>{start}</td><td class=n>{took}</td><td class=line>{_bar(step, total_ms)}</td>"
        f"{_numbers(step)}<td class=n>{escape(step_money(step))}</td></tr>{notes}"
    )


def _numbers(counted: Step | Explanation) -> str:
    if counted.input_tokens is None or counted.output_tokens is None:
        return "<td><td>"
    return f"<td class=n>{counted.input_tokens:,}</td><td class=n>{counted.output_tokens:,}</td>"


def _bar(step: Step, total_ms: float) -> str:
    if step.start_ms is None or total_ms <= 0:
        return ""
    start = min(max(step.start_ms / total_ms, 0.0), 1.0)
    end = start if step.end_ms is None else min(max(step.end_ms / total_ms, start), 1.0)
    faint = ";opacity:.35" if step.reads_along else ""
    return (
        f'<i style="left:{start * 100:.2f}%;width:{(end - start) * 100:.2f}%;background:{_COLOURS[step.tone]}{faint}">'
        "</i>"
    )
