"""Which guard reads which surface: checked when a pipeline is built, so that no guard can silently not run."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.pipelines._guarding import Stationed
from llmops_sdk.verdicts import Stage, Surface

__all__ = ["Coverage", "check_coverage"]

_SURFACES: dict[Stage, tuple[Surface, ...]] = {
    "input": ("input", "documents", "tool_results", "tool_calls", "batch"),
    "output": ("output", "stream", "tool_calls", "choices", "reasoning", "batch"),
}
_COLUMNS: tuple[Surface, ...] = get_args(Surface)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """The table of guards and surfaces.

    Attributes:
        rows: For each guard its name, its stage, and what it does on each surface: `"reads"`,
            `"reads within N"` (holds back N characters of a stream at most), `"reads at the end"` (nothing of a
            stream passes before it has read all), `"audits"` (all of a stream passes, and is judged afterwards),
            `"reads beside"` (the engine begins meanwhile), `"waived"`, `"unread"`, or `""` where the surface is not
            its own.
    """

    rows: tuple[tuple[str, Stage, dict[Surface, str]], ...]

    def __str__(self) -> str:
        header = ["guard", "stage", *_COLUMNS]
        lines = [header, *([name, stage, *(cells[column] for column in _COLUMNS)] for name, stage, cells in self.rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{column}</th>" for column in ("guard", "stage", *_COLUMNS))
        body = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{stage}</td>"
            + "".join(f"<td>{html.escape(cells[column])}</td>" for column in _COLUMNS)
            + "</tr>"
            for name, stage, cells in self.rows
        )
        return f"<table><tr>{head}</tr>{body}</table>"


def check_coverage(guards: Sequence[Stationed]) -> Coverage:
    """The table for `guards`.

    Raises:
        ConfigurationError: A guard leaves a surface of its stage unread, and that was not waived by name.
    """
    rows = []
    for guard in guards:
        cells: dict[Surface, str] = dict.fromkeys(_COLUMNS, "")
        for surface in _SURFACES[guard.stage]:
            cells[surface] = _cell(guard, surface)
            if cells[surface] == "unread":
                raise ConfigurationError(
                    f"the guard {guard.name!r} stands {'before' if guard.stage == 'input' else 'after'} the engine but "
                    f"does not read {surface!r}; cover it, or accept that by name: `guard.waive({surface!r})`"
                )
        rows.append((guard.name, guard.stage, cells))
    return Coverage(rows=tuple(rows))


def _cell(guard: Stationed, surface: Surface) -> str:
    if surface in guard.waived:
        return "waived"
    if surface not in guard.covers:
        return "unread"
    if surface == "stream":
        if guard.mode == "audit":
            return "audits"
        at_the_end = guard.window is None or guard.mode == "buffer"
        return "reads at the end" if at_the_end else f"reads within {guard.window}"
    return "reads beside" if guard.overlap and guard.stage == "input" else "reads"
