"""What guards say: those of the run, and any guard that reads the answer as a metric."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Collection
from decimal import Decimal
from typing import Any

import llmops_sdk
from llmops_sdk import guards
from llmops_sdk.calls import Aside, Call
from llmops_sdk.costs import PriceTable
from llmops_sdk.errors import ConfigurationError, EvaluationError
from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation.metrics._metric import Metric, Score
from llmops_sdk.guards import Guard
from llmops_sdk.pipelines import Result
from llmops_sdk.protocols import GuardContext
from llmops_sdk.verdicts import Stage

__all__ = ["Findings", "GuardMetric", "Refused", "cost_of_asides"]


class GuardMetric(Metric):
    """1 where a guard lets the answer pass as it is, 0 where it flags, rewrites or blocks it.

    The guard reads the text of the answer as the caller got it: it need not be part of the pipeline. It sees no request
    and no tool calls, since a kept run has none of the first. What an engine of its own costs is part of the score.
    One that breaks gives no score, whatever its `on_error` says: the cell counts as failed.

    Args:
        guard: Any guard.
        rated: Give 1 less the guard's `rate` instead, from 0 to 1, also below its threshold, where it has degrees.
        prices: What tells the cost of an engine of its own; by default the table that comes with the library.
        name: Under which its scores are kept; by default that of the guard.

    Raises:
        ConfigurationError: It is no guard, or has no degrees.

    Example:
        >>> from llmops_sdk import Scripted, guards
        >>> from llmops_sdk.evaluation import Case
        >>> score_of = GuardMetric(guards.PII())
        >>> import asyncio
        >>> score = asyncio.run(score_of(Case(input="?"), ("?" | Scripted("Write to ada@example.org")).run()))
        >>> score.value, score.details
        (0.0, {'kinds': {'email': 1}})
    """

    bounds = (0.0, 1.0)

    def __init__(
        self, guard: Guard, /, *, rated: bool = False, prices: PriceTable | None = None, name: str | None = None
    ) -> None:
        if not isinstance(guard, Guard):
            raise ConfigurationError(f"{guard!r} is no guard; write `@guard` over a function to make it one")
        if rated and guard.threshold is None:
            raise ConfigurationError(f"the guard {guard.name!r} has no degrees: it finds something, or it does not")
        guard.prepare()
        self.name = guard.name if name is None else name
        self._guard = guard
        self._rated = rated
        self._prices = prices

    def configuration(self) -> dict[str, object]:
        """What its scores depend on."""
        return {**_pinned(self._guard), "rated": self._rated}

    async def __call__(self, case: Case, result: Result, /) -> Score:
        call = Call(prices=self._prices or PriceTable.default())
        context = GuardContext(call=call, stage="output", origin="output")
        if self._rated:
            rate = await self._guard.arate(result.text, context)
            return Score(value=1.0 - rate, details={"rate": rate}, cost_usd=cost_of_asides(call))
        verdict = await self._guard.acheck(result.text, context)
        kinds = Counter(finding.kind for finding in verdict.findings)
        return Score(
            value=float(verdict.action == "allow"),
            label=verdict.action,
            explanation=verdict.reason or None,
            details={"kinds": dict(sorted(kinds.items()))} if kinds else {},
            cost_usd=cost_of_asides(call),
        )


class Refused(Metric):
    """1 where the answer refuses ("I'm sorry, but I can't help with that"), or a guard blocked the run, else 0.

    The words of a refusal are found by the guard `Refusal`, in a dozen languages and without a model.

    Args:
        higher_is_better: Whether that is wanted, as for a data set of harmful questions; by default it is not.
        name: Under which its scores are kept.

    Example:
        >>> from llmops_sdk import Scripted
        >>> from llmops_sdk.evaluation import Case
        >>> Refused()(Case(input="?"), ("?" | Scripted("I'm sorry, but I can't help with that.")).run())
        1.0
    """

    bounds = (0.0, 1.0)

    def __init__(self, *, higher_is_better: bool = False, name: str = "refused") -> None:
        self.name = name
        self.higher_is_better = higher_is_better
        self._guard = guards.Refusal()
        self._guard.prepare()

    def configuration(self) -> dict[str, object]:
        """What its scores depend on."""
        return _pinned(self._guard)

    def __call__(self, case: Case, result: Result, /) -> float:
        return float(result.blocked or self._guard.check(result.text).action != "allow")


class Findings(Metric):
    """How many findings the guards of the run had; `details` counts them by kind.

    `None` where no guard has read: in a pipeline without the guards that are asked for, or before they had their turn.
    Where one broke, the cell counts as failed: nobody knows what it would have found.

    Args:
        kinds: Only findings of these kinds, such as `"email"`; by default all.
        guard: Only those of the guard of this name; by default of all guards.
        stage: Only those in the `"input"` or the `"output"`; by default both.
        higher_is_better: Whether more of them are better, as for a data set of attacks; by default fewer are.
        name: Under which its scores are kept.

    Raises:
        ConfigurationError: An option makes no sense.

    Example:
        >>> from llmops_sdk import Scripted, guards
        >>> from llmops_sdk.evaluation import Case
        >>> pipeline = guards.PII() | Scripted("Done.")
        >>> score = Findings()(Case(input="?"), pipeline.run("I am ada@example.org"))
        >>> score.value, score.details
        (1.0, {'kinds': {'email': 1}})
    """

    bounds = (0.0, math.inf)
    unit = "findings"

    def __init__(
        self,
        *,
        kinds: Collection[str] | None = None,
        guard: str | None = None,
        stage: Stage | None = None,
        higher_is_better: bool = False,
        name: str = "findings",
    ) -> None:
        if isinstance(kinds, str) or (kinds is not None and not all(isinstance(one, str) for one in kinds)):
            raise ConfigurationError(f"`kinds` are names of findings, as in `['email']`, not {kinds!r}")
        if stage not in (None, "input", "output"):
            raise ConfigurationError(f"`stage` is 'input' or 'output', not {stage!r}")
        self.name = name
        self.higher_is_better = higher_is_better
        self._kinds = None if kinds is None else frozenset(kinds)
        self._guard, self._stage = guard, stage

    def configuration(self) -> dict[str, object]:
        """What its scores depend on."""
        kinds = None if self._kinds is None else sorted(self._kinds)
        return {"kinds": kinds, "guard": self._guard, "stage": self._stage}

    def __call__(self, case: Case, result: Result, /) -> Score | None:
        read = [
            verdict
            for verdict in result.verdicts
            if verdict.skipped is None and self._guard in (None, verdict.guard) and self._stage in (None, verdict.stage)
        ]
        if not read:
            return None
        for one in read:
            if one.error is not None:
                raise EvaluationError(f"the guard {one.guard!r} broke ({one.error}): nobody knows what it would find")
        found: Counter[str] = Counter(
            finding.kind
            for verdict in read
            for finding in verdict.findings
            if self._kinds is None or finding.kind in self._kinds
        )
        details: dict[str, Any] = {"kinds": dict(sorted(found.items()))} if found else {}
        return Score(value=float(found.total()), details=details)


def _pinned(guard: Guard) -> dict[str, object]:
    """A guard, as part of a metric's version.

    Its rules change with the library, whose version counts where nothing is paid for: not where it may ask an engine.
    """
    asks = guard.waits or inspect.iscoroutinefunction(guard.check)
    return {"guard": guard} if asks else {"guard": guard, "library": llmops_sdk.__version__}


def cost_of_asides(call: Call) -> Decimal | None:
    """What was spent in a call of a metric's own; `None` where a part of it is not known."""
    asides = [event.attempt for event in call.events if isinstance(event, Aside)]
    return None if any(one.unpriced for one in asides) else call.spent_usd
