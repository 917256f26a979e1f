"""What is shown of a map: a bar while it runs, and one line when it has ended."""

from __future__ import annotations

import collections
import sys
import time
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import Self

from llmops_sdk.bars import Bar
from llmops_sdk.messages import Usage
from llmops_sdk.pipelines._result import Result

__all__ = ["Progress"]


class Progress(AbstractContextManager["Progress"]):
    """Counts results. With `show`, a bar on standard error if that is a terminal, and a line about all rows at the end.

    Args:
        total: How many rows there are, `None` where nobody knows.
        show: Whether to show anything.
    """

    def __init__(self, total: int | None, *, show: bool) -> None:
        self._show = show
        self._bar = Bar("rows", total, show=show)
        self._started = time.perf_counter()
        self._ok = self._blocked = self._resumed = 0
        self._failed: collections.Counter[str] = collections.Counter()
        self._usage = Usage()
        self._cost = Decimal(0)
        self._unpriced = False

    def add(self, result: Result) -> None:
        """Count a result."""
        if not self._show:
            return
        self._resumed += result.resumed
        if result.error is not None:
            self._failed[type(result.error).__name__] += 1
        elif result.blocked:
            self._blocked += 1
        else:
            self._ok += 1
        self._usage += result.usage
        cost = result.cost_usd
        self._cost += cost or 0
        self._unpriced = self._unpriced or (cost is None and result.usage.total_tokens > 0)
        self._bar.advance()

    def summary(self) -> str:
        """The line."""
        seconds = time.perf_counter() - self._started
        rows = self._ok + self._blocked + self._failed.total()
        parts = [f"{self._ok:,} ok", f"{self._blocked:,} blocked", f"{self._failed.total():,} failed"]
        if self._failed:
            parts[-1] += f" ({', '.join(f'{count:,} {name}' for name, count in self._failed.most_common())})"
        if self._resumed:
            parts.append(f"{self._resumed:,} of them from the checkpoint")
        cost = f"{self._cost.normalize():f} USD"
        if self._unpriced:
            cost = f"at least {cost}" if self._cost else "cost unknown"
        return (
            f"{rows:,} rows: {', '.join(parts)}; {self._usage.input_tokens:,} tokens in, "
            f"{self._usage.output_tokens:,} out; {cost}; {seconds:.1f} s, {rows / max(seconds, 1e-9):,.1f} rows/s"
        )

    def __enter__(self) -> Self:
        self._bar.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._bar.__exit__()
        if self._show:
            sys.stderr.write(("stopped after " if kind is not None else "") + self.summary() + "\n")
