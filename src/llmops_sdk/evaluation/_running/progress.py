"""What is shown of an experiment while it runs, and the line when it has ended."""

from __future__ import annotations

import collections
import sys
import time
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import Self

from llmops_sdk.bars import Bar
from llmops_sdk.evaluation._costs import paid_for
from llmops_sdk.pipelines import Result
from llmops_sdk.usage import EXACT

__all__ = ["Progress"]

_NOTHING = Decimal(0)


class Progress(AbstractContextManager["Progress"]):
    """Counts cells (a case, run once by one pipeline). With `show`, a bar where somebody looks, and a line at the end.

    Args:
        total: How many cells there are, `None` where nobody knows.
        show: Whether to show anything; the line goes to standard error, wherever that leads.
    """

    def __init__(self, total: int | None, *, show: bool) -> None:
        self._show = show
        self._bar = Bar("cells", total, show=show)
        self._started = time.monotonic()
        self._ok = self._blocked = self._kept = self._unpriced = 0
        self._failed: collections.Counter[str] = collections.Counter()
        self._unscored: collections.Counter[str] = collections.Counter()
        self._spent = self._estimated = self._judging = _NOTHING

    def kept(self, number: int = 1) -> None:
        """So many cells were in the store, and are not paid again."""
        self._kept += number
        self._bar.advance(number, self._note())

    def cell(self, result: Result) -> None:
        """A run has ended."""
        if result.error is not None:
            self._failed[type(result.error).__name__] += 1
        elif result.blocked:
            self._blocked += 1
        else:
            self._ok += 1
        cost, estimated = paid_for(result)
        self._unpriced += cost is None
        self._spent = EXACT.add(self._spent, cost or _NOTHING)
        self._estimated = EXACT.add(self._estimated, estimated or _NOTHING)
        self._bar.advance(1, self._note())

    def unscored(self, metric: str) -> None:
        """A metric has failed on an answer."""
        self._unscored[metric] += 1

    def judged(self, cost_usd: Decimal | None) -> None:
        """A judge was asked; `None` where nobody knows what it has cost."""
        self._unpriced += cost_usd is None
        self._judging = EXACT.add(self._judging, cost_usd or _NOTHING)

    def _note(self) -> str:
        if not self._show:
            return ""
        failed = self._failed.total()
        return ", ".join([*([f"{failed:,} failed"] if failed else []), self._cost()])

    def _cost(self) -> str:
        known = EXACT.add(self._spent, self._judging)
        if self._unpriced and not known:
            return "cost unknown"
        judges = f", {_usd(self._judging)} of it for judges" if self._judging else ""
        about = f", and about {_usd(self._estimated)} of what was cut off" if self._estimated else ""
        return f"{'at least ' if self._unpriced else ''}{_usd(known)}{judges}{about}"

    def summary(self) -> str:
        """The line."""
        seconds = time.monotonic() - self._started
        cells = self._kept + self._ok + self._blocked + self._failed.total()
        parts = [
            f"{self._ok:,} ok",
            f"{self._blocked:,} blocked",
            f"{self._failed.total():,} failed{_of(self._failed)}",
        ]
        if self._kept:
            parts.append(f"{self._kept:,} from the store")
        unscored = f"{self._unscored.total():,} scores failed{_of(self._unscored)}; " if self._unscored else ""
        return f"{cells:,} cells: {', '.join(parts)}; {unscored}{self._cost()}; {seconds:.1f} s"

    def __enter__(self) -> Self:
        self._bar.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._bar.__exit__()
        if self._show:
            sys.stderr.write(("stopped after " if kind is not None else "") + self.summary() + "\n")


def _of(failed: collections.Counter[str]) -> str:
    return f" ({', '.join(f'{count:,} {name}' for name, count in failed.most_common())})" if failed else ""


def _usd(amount: Decimal) -> str:
    return f"{amount.normalize():f} USD"
