"""An explained run, as people print it.

It is made from the record alone, at any time, and never shows what was said: no message, no found text, no text of an
error (which may quote either).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from llmops_sdk.tracing._explain import html, text
from llmops_sdk.tracing._explain.steps import Step, Tone

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.text import Text

__all__ = ["Explanation"]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Explanation:
    """A run, explained. Print it; in a notebook it shows itself, and rich prints it in colours.

    Attributes:
        pipeline: Name of the pipeline.
        outcome: `"ok"`, `"blocked"`, `"cancelled"`, `"running"`, or the class of the error.
        tone: How to read the outcome.
        total_ms: Milliseconds of the whole run, or until now.
        elsewhere_ms: Those of `total_ms` that belong to no step: waiting, queueing, the pipeline itself.
        input_tokens: Of all attempts and asides, `None` when nobody counted.
        output_tokens: Of all attempts and asides.
        cost_usd: Sum of the known prices, so of the `cost_usd` of all steps.
        unpriced: Steps with a cost that is not known.
        steps: The steps in the order of the record, so in which they ended; what still runs is last.
        afterwards: What was done with the answer when the run had ended: tools, evaluations, feedback.
        facts: More about the run as a whole.
    """

    pipeline: str
    outcome: str
    tone: Tone
    total_ms: float
    elsewhere_ms: float
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: Decimal
    unpriced: int
    steps: tuple[Step, ...]
    afterwards: tuple[Step, ...] = ()
    facts: tuple[str, ...]

    def __str__(self) -> str:
        lines = text.lines(self)
        return "\n".join("".join(piece for piece, _ in line).rstrip() for line in lines)

    __repr__ = __str__

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        from rich.text import Text  # noqa: PLC0415  (rich calls this, so it is there; nobody else pays for it)

        for line in text.lines(self, options.max_width):
            yield Text.assemble(*line, no_wrap=True, overflow="ellipsis")

    def _repr_html_(self) -> str:
        return html.page(self)
