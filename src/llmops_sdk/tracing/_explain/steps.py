"""A step of a run, as `explain()` shows it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, TypeAlias

__all__ = ["SHORT", "Step", "Tone"]

Tone: TypeAlias = Literal["good", "plain", "rewritten", "blocked", "failed", "running"]

SHORT = 30
"""Characters of a result that stand in its column; more go into a note."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step of a run.

    Attributes:
        name: What it was: `"guard pii · input"`.
        result: What came of it: `"rewrite: email"`.
        tone: How to read the result.
        start_ms: Milliseconds from the start of the run; `None` when the record does not say.
        took_ms: Milliseconds that it took; of a guard, those that it worked. `None`: it takes no time of its own.
        end_ms: When it ended; `None` with `start_ms`.
        input_tokens: Tokens that went in, `None` when nobody counted.
        output_tokens: Tokens that came out.
        cost_usd: US dollars; `None` when the price is not known.
        priced: Whether an answer came, or the begin of one, that may have to be paid for.
        notes: More, a line each.
    """

    name: str
    result: str = ""
    tone: Tone = "plain"
    start_ms: float | None = None
    took_ms: float | None = None
    end_ms: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: Decimal | None = None
    priced: bool = False
    notes: tuple[str, ...] = ()

    @property
    def reads_along(self) -> bool:
        """Whether it worked for a part of its time only, beside others: a guard in a stream."""
        if self.took_ms is None or self.start_ms is None or self.end_ms is None:
            return False
        return self.end_ms - self.start_ms - self.took_ms > 1
