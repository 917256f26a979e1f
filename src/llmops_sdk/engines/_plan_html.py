"""A plan as HTML for notebooks: the table, a bar of one device's memory and a plot of the bounds; nothing is loaded."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from llmops_sdk.engines._plan_text import rows, size

if TYPE_CHECKING:
    from llmops_sdk.engines._capacity import Plan

__all__ = ["page"]

_STYLE = (
    ".llmops-plan{font:13px/1.45 system-ui,sans-serif;margin:.4em 0}"
    ".llmops-plan table{border-collapse:collapse}"
    ".llmops-plan th{font-weight:500;opacity:.6;text-align:left;padding:.6em .6em .1em 0;border:0}"
    ".llmops-plan td{padding:.12em .6em;text-align:left;border:0}"
    ".llmops-plan .n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap;font-weight:600}"
    ".llmops-plan .note{opacity:.6;font-size:92%}"
    ".llmops-plan svg{display:block;margin:.8em 0}"
    ".llmops-plan text{font:11px system-ui,sans-serif;fill:currentColor}"
)
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 520, 220, 62, 34
_DECODE, _OUTPUT = "#2b8fb8", "#2e9e5b"


def page(plan: Plan) -> str:
    """The whole."""
    body = "".join(
        f"<tr><td>{escape(name)}<td class=n>{escape(number)}<td class=note>{escape(remark)}</tr>"
        if number
        else f"<tr><th colspan=3>{escape(name)}</th></tr>"
        for name, number, remark in rows(plan)
    )
    notes = "<br>".join(
        escape(text) for text in (*(f"assumed: {a}" for a in plan.assumptions), *(f"source: {s}" for s in plan.sources))
    )
    colour = "#2e9e5b" if plan.fits else "#d33c3c"
    return (
        f"<style>{_STYLE}</style><div class=llmops-plan><b>{escape(plan.model)}</b> on <b>{escape(plan.hardware)}</b>"
        f'<br><b style="color:{colour}">{escape(plan.verdict)}</b><table>{body}</table>'
        f"{_memory_bar(plan)}{_plot(plan)}<div class=note>{notes}</div></div>"
    )


def _memory_bar(plan: Plan) -> str:
    """One device: what of its memory is for what."""
    parts = (
        ("weights", plan.weights_per_device, "#2b8fb8"),
        ("activations", plan.activations_per_device, "#c99700"),
        ("runtime", plan.overhead_per_device, "#8a8f98"),
        ("KV cache", plan.kv_cache_per_device, "#2e9e5b"),
    )
    whole = max(plan.device_memory, sum(value for _, value, _ in parts))
    drawn, left = [], 0.0
    for number, (name, value, colour) in enumerate(parts):
        width = _WIDTH * value / whole
        drawn.append(
            f'<rect x="{left:.1f}" y="0" width="{width:.1f}" height="16" fill="{colour}">'
            f"<title>{name}: {size(value)}</title></rect>"
            f'<rect x="{number * 130}" y="24" width="9" height="9" fill="{colour}"/>'
            f'<text x="{number * 130 + 13}" y="32">{name} {size(value)}</text>'
        )
        left += width
    limit = _WIDTH * plan.device_memory / whole
    return (
        f'<svg width="{_WIDTH + 2}" height="38" role="img" aria-label="memory of a device">'
        f'<rect x="0" y="0" width="{limit:.1f}" height="16" fill="none" stroke="currentColor" opacity=".5"/>'
        f"{''.join(drawn)}</svg>"
    )


def _plot(plan: Plan) -> str:
    """Tokens a second against requests at once, both on logarithmic axes."""
    if len(plan.loads) < 2:
        return ""
    values = [v for load in plan.loads for v in (load.decode_tokens_per_s, load.output_tokens_per_s)]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)
    most = math.log2(plan.loads[-1].concurrency)

    def x(requests: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - 12) * math.log2(requests) / most

    def y(tokens: float) -> float:
        return 10 + (_HEIGHT - _BOTTOM - 10) * (high - math.log10(tokens)) / (high - low)

    def line(points: list[tuple[int, float]], colour: str) -> str:
        path = " ".join(f"{x(requests):.1f},{y(tokens):.1f}" for requests, tokens in points)
        return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'

    grid = "".join(
        f'<line x1="{_LEFT}" x2="{_WIDTH - 12}" y1="{y(10**power):.1f}" y2="{y(10**power):.1f}" stroke="currentColor" '
        f'opacity=".15"/><text x="{_LEFT - 6}" y="{y(10**power) + 4:.1f}" text-anchor="end">{10**power:,}</text>'
        for power in range(max(low, 0), high + 1)
    )
    numbers = [load.concurrency for load in plan.loads if load.concurrency & (load.concurrency - 1) == 0]
    ticks = "".join(
        f'<text x="{x(number):.1f}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">{number}</text>'
        for number in numbers
    )
    mark = ""
    if plan.concurrency <= plan.loads[-1].concurrency:
        at = x(plan.concurrency)
        mark = (
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="10" y2="{_HEIGHT - _BOTTOM}" stroke="currentColor" '
            'stroke-dasharray="3 3" opacity=".5"/>'
        )
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="bounds by requests at once">'
        + grid
        + ticks
        + mark
        + line([(load.concurrency, load.decode_tokens_per_s) for load in plan.loads], _DECODE)
        + line([(load.concurrency, load.output_tokens_per_s) for load in plan.loads], _OUTPUT)
        + f'<text x="{_LEFT}" y="{_HEIGHT - 3}">requests at once; tokens/s of all, at most: '
        f'<tspan fill="{_DECODE}">while no prompt is read</tspan>, '
        f'<tspan fill="{_OUTPUT}">with their prompts</tspan></text></svg>'
    )
