"""A plan as lines of text: a table in four parts, and the verdict on top."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from llmops_sdk.engines._capacity import Plan

__all__ = ["Line", "Row", "count", "lines", "rows", "size"]

Line: TypeAlias = "list[tuple[str, str]]"
"""Pieces of text, each with a style as rich writes it."""

Row: TypeAlias = "tuple[str, str, str]"
"""What, how much, and a remark; a row without a number begins a part."""

_GIB = 2**30


def size(value: float) -> str:
    """Bytes in the unit that fits.

    Example:
        >>> size(23_040), size(16 * 2**30)
        ('22.5 KiB', '16.0 GiB')
    """
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if value >= unit:
            return f"{value / unit:,.1f} {name}"
    return f"{value:,.0f} B"


def count(value: float) -> str:
    """Parameters as people say them.

    Example:
        >>> count(8_030_261_248), count(134_515_008)
        ('8.03 B', '134.5 M')
    """
    return f"{value / 1e9:,.2f} B" if value >= 1e9 else f"{value / 1e6:,.1f} M"


def rows(plan: Plan) -> Iterator[Row]:
    """The table."""
    active = "" if plan.active_parameters == plan.parameters else f", {count(plan.active_parameters)} for a token"
    yield "memory", "", ""
    yield "parameters", count(plan.parameters), f"{plan.family}, by {plan.counted_from}{active}"
    yield (
        "weights",
        size(plan.weights),
        f"{plan.quantisation or 'not quantised'}, {size(plan.weights_per_device)} a device",
    )
    yield "KV cache of a token", size(plan.kv_per_token), ""
    yield "KV cache of a request", size(plan.kv_per_request), f"{plan.context:,} tokens"
    yield "activations", size(plan.activations_per_device), "a device, estimated"
    yield "runtime", size(plan.overhead_per_device), "a device, estimated"
    yield "room for KV cache", size(plan.kv_cache_per_device), f"a device; {plan.kv_cache_tokens:,} tokens"
    yield "requests at once", f"{plan.max_requests:,}", f"at most, {plan.concurrency:,} asked for"
    split = f"tensor {plan.tensor_parallel} x pipeline {plan.pipeline_parallel}"
    yield "devices", f"{plan.tensor_parallel * plan.pipeline_parallel}", f"of {plan.devices}: {split}"
    yield "speed, at most", "", ""
    yield from _speed(plan)
    yield "money and storage", "", ""
    yield from _money(plan)
    yield "weight files", size(plan.storage), f"{plan.load_s:,.1f} s to read, at least"


def _speed(plan: Plan) -> Iterator[Row]:
    if plan.decode_tokens_per_s is None:
        yield "tokens per second", "not known", "" if plan.max_requests else "nothing fits"
        return
    running = min(plan.concurrency, plan.max_requests)
    alone, first, prefill = plan.decode_tokens_per_s_alone, plan.first_token_s, plan.prefill_tokens_per_s
    yield "one request alone", f"{alone:,.0f}", "tokens/s"
    yield f"{running:,} at once", f"{plan.decode_tokens_per_s:,.0f}", "tokens/s of all, while no prompt is read"
    yield "with their prompts", f"{plan.output_tokens_per_s:,.0f}", "tokens/s of answers of all"
    yield "reading prompts", f"{prefill:,.0f}", "tokens/s"
    yield "first token", f"{first:,.3f} s", "at least, alone"


def _money(plan: Plan) -> Iterator[Row]:
    yield (
        "hardware",
        "not known" if plan.usd_per_hour is None else f"{plan.usd_per_hour:,} USD",
        "pass usd_per_hour=" if plan.usd_per_hour is None else "an hour, all devices used",
    )
    if plan.usd_per_million_tokens is not None:
        yield "a million tokens", f"{plan.usd_per_million_tokens} USD", "at least, prompt and answer together"
    for api in plan.apis:
        remark = ""
        if api.break_even is not None:
            remark = f"as much as the hardware at {api.break_even:.0%} of its bound"
            if api.break_even > 1:
                remark = "less than the hardware can reach"
        yield api.name, f"{api.usd_per_million_tokens} USD", remark


def lines(plan: Plan) -> list[Line]:
    """The whole text."""
    table = list(rows(plan))
    names = max(len(name) for name, number, _ in table if number) + 2
    numbers = max(len(number) for _, number, _ in table)
    result: list[Line] = [
        [(plan.model, "bold"), (" on ", "dim"), (plan.hardware, "bold")],
        [(plan.verdict, "green" if plan.fits else "bold red")],
    ]
    for name, number, remark in table:
        if not number:
            result.extend([[], [(name, "dim")]])
        else:
            result.append([(f"  {name:<{names}}", ""), (f"{number:>{numbers}}", "bold"), (f"  {remark}", "dim")])
    result.append([])
    result.extend([(f"assumed: {text}", "dim")] for text in plan.assumptions)
    result.extend([(f"source: {text}", "dim")] for text in plan.sources)
    return result
