"""How an experiment says scores, differences, money and verdicts."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmops_sdk.evaluation._experiment.contrasts import Contrast
    from llmops_sdk.evaluation.statistics import Comparison

__all__ = ["counted", "difference", "level", "moments", "money", "share", "spent", "verdict"]

_UNIT = (0.0, 1.0)


def share(bounds: tuple[float, float], unit: str) -> bool:
    """Whether a score is one of the whole: it is said in per cent then."""
    return not unit and tuple(bounds) == _UNIT


def level(value: float, bounds: tuple[float, float], unit: str) -> str:
    """A score.

    >>> level(0.825, (0, 1), ""), level(1.25, (0, float("inf")), "s")
    ('82.5 %', '1.25 s')
    """
    if math.isnan(value):
        return "-"
    if share(bounds, unit):
        return f"{value * 100:.1f} %"
    return f"${value:,.4g}" if unit == "USD" else f"{value:,.4g} {unit}".rstrip()


def difference(value: float, bounds: tuple[float, float], unit: str, *, bare: bool = False) -> str:
    """A difference of scores, with its sign; `bare` leaves out the unit.

    >>> difference(0.12, (0, 1), ""), difference(-0.5, (0, float("inf")), "s")
    ('+12.0 points', '-0.5 s')
    """
    if math.isinf(value):
        return "+∞" if value > 0 else "-∞"
    if share(bounds, unit):
        return f"{value * 100:+.1f}" + ("" if bare else " points")
    return f"{value:+,.3g}" + ("" if bare or not unit else f" {unit}")


def money(usd: Decimal | float) -> str:
    """`$1,234.50`, and small sums with as many digits as they need."""
    return f"${usd:,.2f}" if usd >= Decimal("0.1") or not usd else f"${float(usd):.2g}"


def spent(known: Decimal, unpriced: int, of: int) -> str:
    """What was spent, when of `unpriced` of `of` calls nobody knows.

    >>> spent(Decimal("1.5"), 0, 4), spent(Decimal("1.5"), 3, 4), spent(Decimal(0), 4, 4)
    ('$1.50', 'at least $1.50 (3 of 4 unknown)', 'unknown')
    """
    if not unpriced:
        return money(known)
    if not known:
        return "unknown" if unpriced == of else f"unknown ({unpriced:,} of {of:,})"
    return f"at least {money(known)} ({unpriced:,} of {of:,} unknown)"


def moments(seconds: float) -> str:
    """A time that a run took."""
    if math.isnan(seconds):
        return "-"
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:,.3g} s"


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 case`, `2 cases`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def verdict(given: Contrast) -> str:
    """The verdict in a sentence, and all that took no part in it."""
    said = claim(given)
    return f"{said}; {evidence(given)}" if given.comparison is None else f"{said}: {evidence(given)}"


def claim(given: Contrast) -> str:
    """The verdict alone."""
    found = given.comparison
    if found is None:
        return f"{given.new} cannot be compared with {given.base} by {given.score}"
    if found.verdict == "cannot tell":
        return f"cannot tell {given.new} from {given.base} by {given.score}"
    if found.verdict != "equivalent":
        return f"{given.new} is {found.verdict} than {given.base} by {given.score}"
    margin = difference(found.margin or 0.0, given.bounds, given.unit).lstrip("+")
    return f"{given.new} is equivalent to {given.base} by {given.score}, within {margin}"


def evidence(given: Contrast) -> str:
    """What it rests on, and all that took no part in it."""
    found = given.comparison
    if found is None:
        return "no case has both scores" + _left(given)
    bounds, unit = given.bounds, given.unit
    said = (
        f"{difference(found.difference, bounds, unit)} ({found.level * 100:g} % interval "
        f"{difference(found.low, bounds, unit, bare=True)} to {difference(found.high, bounds, unit, bare=True)}, "
        f"p = {found.p_value:.2g}, {counted(found.cases, 'case')}"
    )
    said += f" in {counted(found.clusters, 'cluster')}" if found.clusters < found.cases else ""
    said += ", valid whenever it stopped)" if found.sequential else ")"
    said += f"; {_lacks(found)}" if found.verdict == "cannot tell" else ""
    return said + _judged_by_people(given) + _left(given)


def _lacks(found: Comparison) -> str:
    if found.more is not None:
        return f"needs about {counted(found.more, 'more case', 'more cases')}"
    return "nothing differs" if found.ties == 1 else "needs more clusters" if found.clusters < 2 else "no difference"


def _judged_by_people(given: Contrast) -> str:
    """What a calibrated judge's scores say once its errors are taken out."""
    found = given.corrected
    if found is None:
        return ""
    if found.wide:
        return "; as people would judge: too few labels to say"
    low, high = (difference(end, given.bounds, given.unit, bare=True) for end in (found.low, found.high))
    return f"; as people would judge: {difference(found.value, given.bounds, given.unit)} ({low} to {high})"


def _left(given: Contrast) -> str:
    """What took no part."""
    of = f" of {counted(given.cells, 'cell')}"
    said = f"; {given.failed:,}{of} failed" if given.failed else ""
    said += f"; {given.missing:,}{of} missing" if given.missing else ""
    said += f"; does not apply to {given.inapplicable:,}{of}" if given.inapplicable else ""
    unpaired = 0 if given.comparison is None else given.comparison.unpaired
    return said + (f"; {counted(unpaired, 'case')} without a pair left out" if unpaired else "")
