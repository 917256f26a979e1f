"""An explanation as HTML for notebooks: one table, everything escaped, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from llmops_sdk.tracing._explain.numbers import Purse, column_ms, ms_text, tokens, total_money, total_tokens
from llmops_sdk.tracing._explain.steps import Step

if TYPE_CHECKING:
    from llmops_sdk.tracing._explain.explanation import Explanation

__all__ = ["page"]

_LIGHT = {
    "good": "#1a7f4b",
    "plain": "#6b7280",
    "rewritten": "#946c00",
    "blocked": "#c62828",
    "failed": "#c62828",
    "running": "#1b6f95",
}
_DARK = {
    "good": "#4cc38a",
    "plain": "#9aa1ab",
    "rewritten": "#e2b341",
    "blocked": "#ff7b72",
    "failed": "#ff7b72",
    "running": "#58b8e0",
}


def _colours(tones: dict[str, str]) -> str:
    return "".join(f"--{tone}:{colour};" for tone, colour in tones.items())


_STYLE = (
    f".llmops-run{{{_colours(_LIGHT)}"
    "font:13px/1.45 system-ui,sans-serif;border-collapse:collapse;margin:.4em 0;color:inherit;background:none}"
    f"@media (prefers-color-scheme:dark){{.llmops-run{{{_colours(_DARK)}}}}}"
    # What a notebook is told counts more than what the system is set to.
    f'[data-jp-theme-light="true"] .llmops-run,.vscode-light .llmops-run{{{_colours(_LIGHT)}}}'
    f'[data-jp-theme-light="false"] .llmops-run,.vscode-dark .llmops-run{{{_colours(_DARK)}}}'
    ".llmops-run caption{text-align:left;padding:.2em .6em .5em;color:inherit}"
    ".llmops-run tr{background:none!important}"
    ".llmops-run th{font-weight:500;opacity:.6}"
    ".llmops-run th,.llmops-run td{padding:.18em .6em;text-align:left;vertical-align:top;border:0}"
    ".llmops-run .n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}"
    ".llmops-run td:not([colspan]){white-space:nowrap}"
    ".llmops-run .note{opacity:.65;font-size:92%}"
    ".llmops-run tr.note td{padding-top:0;padding-bottom:.3em}"
    ".llmops-run .line{position:relative;width:180px;min-width:180px}"
    ".llmops-run .line i{position:absolute;top:.45em;height:.75em;min-width:2px;border-radius:2px;"
    "background:currentColor}"
    ".llmops-run .sum td{border-top:1px solid rgba(128,128,128,.4);font-weight:600}"
    + "".join(f".llmops-run .{tone}{{color:var(--{tone})}}" for tone in _LIGHT)
)
_HEAD = (
    "<th>step<th>result<th class=n>start ms<th class=n>took ms<th><th class=n>tokens in<th class=n>out<th class=n>USD"
)


def page(explanation: Explanation) -> str:
    """The table, with its style."""
    purse = Purse(explanation)
    into, out = tokens(explanation)
    afterwards = ""
    if explanation.afterwards:
        afterwards = "<tr class=note><td colspan=8>afterwards</td></tr>"
        afterwards += _rows(explanation.afterwards, explanation.total_ms, purse, 0)
    return (
        f"<style>{_STYLE}</style><table class=llmops-run><caption><b>{escape(explanation.pipeline)}</b> · "
        f"<b class={explanation.tone}>{escape(explanation.outcome)}</b> · "
        f"{ms_text(explanation.total_ms)} ms · {total_tokens(explanation)} · {escape(total_money(explanation))}"
        f"<br><span class=note>{escape(' · '.join(explanation.facts))}</span></caption>"
        f"<thead><tr>{_HEAD}</tr></thead><tbody>{_rows(explanation.steps, explanation.total_ms, purse, 0)}"
        f"<tr class=note><td>between the steps<td><td><td class=n>{column_ms(explanation.elsewhere_ms)}"
        "<td><td><td><td></tr>"
        f"<tr class=sum><td>total<td><td><td class=n>{column_ms(explanation.total_ms)}<td>"
        f"<td class=n>{into}<td class=n>{out}<td class=n>{escape(purse.total())}</tr>{afterwards}</tbody></table>"
    )


def _rows(steps: Sequence[Step], total_ms: float, purse: Purse, depth: int) -> str:
    return "".join(_row(step, total_ms, purse, depth) for step in steps)


def _row(step: Step, total_ms: float, purse: Purse, depth: int) -> str:
    into, out = tokens(step)
    mark = "<span class=plain>└ </span>" if depth else ""
    notes = "".join(
        f'<tr class=note><td colspan=8 style="padding-left:{depth * 1.4 + 1.8:.1f}em">{escape(note)}</td></tr>'
        for note in step.notes
    )
    return (
        f'<tr><td style="padding-left:{depth * 1.4 + 0.6:.1f}em">{mark}{escape(step.name)}</td>'
        f"<td class={step.tone}>{escape(step.result)}</td>"
        f"<td class=n>{column_ms(step.start_ms)}</td><td class=n>{column_ms(step.took_ms)}</td>"
        f'<td class="line {step.tone}">{_bar(step, total_ms)}</td>'
        f"<td class=n>{into}</td><td class=n>{out}</td><td class=n>{escape(purse.of(step))}</td></tr>"
        f"{notes}{_rows(step.inner, total_ms, purse, depth + 1)}"
    )


def _bar(step: Step, total_ms: float) -> str:
    if step.start_ms is None or total_ms <= 0 or step.start_ms > total_ms:
        return ""
    start = min(max(step.start_ms / total_ms, 0.0), 1.0)
    end = start if step.end_ms is None else min(max(step.end_ms / total_ms, start), 1.0)
    faint = ";opacity:.35" if step.reads_along else ""
    return f'<i style="left:{start * 100:.2f}%;width:{(end - start) * 100:.2f}%{faint}"></i>'
