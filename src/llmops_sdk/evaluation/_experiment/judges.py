"""What an experiment says of its judges."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING

from llmops_sdk.evaluation._experiment.words import counted, spent
from llmops_sdk.evaluation._judges.calibration import Calibration
from llmops_sdk.usage import EXACT

if TYPE_CHECKING:
    from llmops_sdk.evaluation._running.plan import MetricPlan, Plan
    from llmops_sdk.evaluation._running.reading import Reading

__all__ = ["judges"]


def judges(reading: Reading, plan: Plan) -> tuple[str, ...]:
    """A line for each."""
    asked = [one for one in plan.metrics if one.about]
    if not asked:
        return ()
    costs: defaultdict[bytes, list[tuple[str | None, int]]] = defaultdict(list)
    for key, cost, number in reading.judging():
        costs[key].append((cost, number))
    return tuple(_line(one, costs[one.key]) for one in asked)


def _line(one: MetricPlan, costs: list[tuple[str | None, int]]) -> str:
    known, unpriced = Decimal(0), 0
    for cost, number in costs:
        if cost is None:
            unpriced += number
        else:
            known = EXACT.add(known, EXACT.multiply(Decimal(cost), Decimal(number)))
    of = sum(number for _, number in costs)
    said = f"{one.name} {one.version}: {one.about}; {counted(of, 'judgement')}, cost {spent(known, unpriced, of)}"
    if one.calibration is None:
        return said
    calibration = Calibration.from_json(one.calibration)
    return f"{said}; calibrated by {counted(len(calibration.pairs), 'label')}, kappa {calibration.kappa:.2f}"
