"""How an experiment says scores, differences, money and verdicts."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmops_sdk.evaluation._experiment.contrasts import Contrast
    from llmops_sdk.evaluation.statistics import Corrected

__all__ = ["counted", "difference", "level", "moments", "money", "people_say", "share", "spent", "verdict"]

_UNIT = (0.0, 1.0)


def share(bounds: tuple[float, float], unit: str) -> bool:
    """Whether a score is one of the whole: it is said in per cent then."""
    return not unit and tuple(bounds) == _UNIT


def level(value: float, bounds: tuple[float, float], unit: str) -> str:
    """A score.

    >>> level(0.825, (0, 1), ""), level(1.25, (0, float("inf")), "s")
    ('82.5 %', '1.25 s')
    >>> level(0.00321, (0, float("inf")), "s"), level(12345.6, (0, float("inf")), "tokens")
    ('3.21 ms', '12,346 tokens')
    """
    if math.isnan(value):
        return "-"
    if share(bounds, unit):
        return f"{value * 100:.1f} %"
    return _measured(value, unit, digits=4)


def difference(value: float, bounds: tuple[float, float], unit: str, *, bare: bool = False) -> str:
    """A difference of scores, with its sign; `bare` leaves out a unit that stands behind it and is always the same.

    >>> difference(0.12, (0, 1), ""), difference(-0.0024, (0, float("inf")), "s")
    ('+12.0 points', '-2.4 ms')
    >>> difference(-0.000001, (0, float("inf")), "USD"), difference(1500, (0, float("inf")), "tokens", bare=True)
    ('-$0.000001', '+1,500')
    """
    if math.isinf(value):
        return "+∞" if value > 0 else "-∞"
    if share(bounds, unit):
        return f"{value * 100:+.1f}" + ("" if bare else " points")
    sign = "-" if value < 0 else "+"
    return sign + _measured(abs(value), "" if bare and unit not in {"s", "USD"} else unit, digits=3)


def _measured(value: float, unit: str, *, digits: int) -> str:
    """A figure with its unit, short times in milliseconds."""
    if unit == "USD":
        return f"-${_figure(-value, digits)}" if value < 0 else f"${_figure(value, digits)}"
    if unit == "s" and 0 < abs(value) < 1:
        return f"{_figure(value * 1000, digits)} ms"
    return f"{_figure(value, digits)} {unit}".rstrip()


def _figure(value: float, digits: int) -> str:
    """With so many digits that count, and all of those before the point."""
    if not math.isfinite(value) or not 1e-9 <= abs(value) < 1e15:
        return f"{value:.{digits}g}"
    places = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
    said = f"{value:,.{places}f}"
    return said.rstrip("0").rstrip(".") if places else said


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
    return _measured(seconds, "s", digits=3)


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
        f"p = {found.p_value:.2g}"
    )
    said += f" corrected for {found.comparisons} comparisons" if found.comparisons > 1 else ""
    said += f", {counted(found.cases, 'case')}"
    said += f" in {counted(found.clusters, 'cluster')}" if found.clusters < found.cases else ""
    said += ", valid whenever it stopped)" if found.sequential else ")"
    said += f"; {found.lacks}" if found.verdict == "cannot tell" else ""
    return said + _judged_by_people(given) + _left(given)


def _judged_by_people(given: Contrast) -> str:
    """What a calibrated judge's scores say once its errors are taken out."""
    found = given.corrected
    if found is None:
        return ""
    if found.wide:
        return "; as people would judge: too few labels to say"
    low, high = (difference(end, given.bounds, given.unit, bare=True) for end in (found.low, found.high))
    return f"; as people would judge: {difference(found.value, given.bounds, given.unit)} ({low} to {high})"


def people_say(found: Corrected | None, bounds: tuple[float, float], unit: str) -> str:
    """A mean once a calibrated judge's errors are taken out; empty where nothing is known of the judge."""
    if found is None:
        return ""
    if found.wide:
        return "too few labels to say"
    low, high = (level(end, bounds, unit) for end in (found.low, found.high))
    return f"{level(found.value, bounds, unit)} ({low} to {high})"


def _left(given: Contrast) -> str:
    """What took no part."""
    of = f" of {counted(given.cells, 'cell')}"
    said = f"; {given.failed:,}{of} failed" if given.failed else ""
    said += f"; {given.missing:,}{of} missing" if given.missing else ""
    said += f"; does not apply to {given.inapplicable:,}{of}" if given.inapplicable else ""
    unpaired = 0 if given.comparison is None else given.comparison.unpaired
    return said + (f"; {counted(unpaired, 'case')} without a pair left out" if unpaired else "")
