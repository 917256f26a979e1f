"""A step of a run, as `explain()` shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal, TypeAlias

__all__ = ["SHORT", "Milliseconds", "Step", "Tone", "every", "timed"]

Tone: TypeAlias = Literal["good", "plain", "rewritten", "blocked", "failed", "running"]

Milliseconds: TypeAlias = Callable[[float], float]
"""Tells the milliseconds since the start of the run of a moment."""

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
        input_tokens: Tokens that went in, `None` when nobody counted. Those of inner steps are not among them.
        output_tokens: Tokens that came out.
        cost_usd: US dollars; `None` when the price is not known. Those of inner steps are not among them.
        priced: Whether an answer came, or the begin of one, that may have to be paid for.
        notes: More, a line each.
        inner: What happened within it: the attempts of a router, what a guard asked an engine.
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
    inner: tuple[Step, ...] = ()

    @property
    def reads_along(self) -> bool:
        """Whether it worked for a part of its time only, beside others: a guard in a stream."""
        if self.took_ms is None or self.start_ms is None or self.end_ms is None:
            return False
        return self.end_ms - self.start_ms - self.took_ms > 1


def every(steps: Iterable[Step]) -> Iterator[Step]:
    """All steps of a tree, each before those within it."""
    for step in steps:
        yield step
        yield from every(step.inner)


def timed(step: Step, ms: Milliseconds, started: float, at: float, *, took_ms: float | None = None) -> Step:
    """`step` from `started` to `at`; a clock that went backwards makes it end where it began."""
    start_ms = ms(started)
    end_ms = max(ms(at), start_ms)
    took_ms = round(end_ms - start_ms, 6) if took_ms is None else took_ms
    return replace(step, start_ms=start_ms, end_ms=end_ms, took_ms=took_ms)
