"""Whether the number in the answer is the right one."""

from __future__ import annotations

import math
import re
from decimal import Context, Decimal
from typing import Literal, Unpack, get_args

from llmops_sdk.errors import ConfigurationError, DatasetError
from llmops_sdk.evaluation.metrics._metric import Score
from llmops_sdk.evaluation.metrics._texts import ReadingOptions, TextMetric
from llmops_sdk.given import is_number

__all__ = ["Numeric"]

Pick = Literal["last", "first", "only", "any"]

_SIGN = r"(?<!\w)(?<!\d\.)[-+\u2212]?(?:[$\u20ac\u00a3]\s?)?"
_EXPONENT = r"(?:[eE][-+]?\d{1,3})?"
_THIN = "\u202f\u00a0"
_POINT, _COMMA = (
    re.compile(
        rf"{_SIGN}(?:(?:\d{{1,3}}(?:[{parting}{_THIN}]\d{{3}})+(?!\d)|\d+)(?:{mark}\d+)?|(?<![.,]){mark}\d+){_EXPONENT}"
    )
    for mark, parting in ((r"\.", ","), (",", "."))
)
_MOST = 1_000
"""Numbers that are read of one answer."""
_EXACT = Context(prec=60)
"""Numbers are compared as they are written: in binary, 1.01 is more than 0.01 away from 1."""
_MOST_SHOWN = 40


class Numeric(TextMetric):
    """1 where the number in the answer is the one that was expected, within a tolerance, else 0.

    Numbers are found in the text around them: `"It costs $1,299.50."` holds 1299.5, `"20%"` holds 20. The answer is
    right where the difference is at most `absolute`, or at most `relative` times what was expected. Numbers are
    compared as they are written, however many digits they have.

    Args:
        absolute: Greatest difference, `>= 0`.
        relative: Greatest difference as a share of what was expected, `>= 0`.
        pick: Which number of the answer counts: the `"last"` one (the default; models conclude with it), the `"first"`,
            the `"only"` one (an answer with several is wrong), or `"any"` of them.
        decimal: `"."` as in 1,299.50, or `","` as in 1.299,50.
        options: See `ReadingOptions`.

    Raises:
        ConfigurationError: An option is unknown or makes no sense.

    Example:
        >>> from llmops_sdk import Scripted
        >>> from llmops_sdk.evaluation import Case
        >>> Numeric(relative=0.01)(Case(input="Pi?", expected=3.14159), ("?" | Scripted("About 3.14.")).run()).value
        1.0
    """

    bounds = (0.0, 1.0)
    longest = 200_000

    def __init__(
        self,
        *,
        absolute: float = 0.0,
        relative: float = 0.0,
        pick: Pick = "last",
        decimal: Literal[".", ","] = ".",
        **options: Unpack[ReadingOptions],
    ) -> None:
        super().__init__("numeric", options)
        for name, value in (("absolute", absolute), ("relative", relative)):
            if not is_number(value) or not math.isfinite(value) or value < 0:
                raise ConfigurationError(f"`{name}` is a number from 0 on, not {value!r}")
        if pick not in get_args(Pick):
            raise ConfigurationError(f"`pick` is one of {', '.join(map(repr, get_args(Pick)))}, not {pick!r}")
        if decimal not in (".", ","):
            raise ConfigurationError(f"`decimal` is '.' or ',', not {decimal!r}")
        self._absolute, self._relative = Decimal(repr(float(absolute))), Decimal(repr(float(relative)))
        self._pick, self._decimal = pick, decimal

    def configuration(self) -> dict[str, object]:
        """What its scores depend on."""
        tolerance = {"absolute": self._absolute, "relative": self._relative}
        return {**super().configuration(), **tolerance, "pick": self._pick, "decimal": self._decimal}

    def compare(self, said: str, expected: str) -> Score:
        """Whether the number in the answer is near enough."""
        # What the case expects comes from a file of JSON, so its numbers are written with a point.
        right = self._numbers(expected, "." if _is_json(expected) else self._decimal)
        if len(right) != 1:
            raise DatasetError(f"{expected[:100]!r} is expected where a number has to be")
        numbers = self._numbers(said, self._decimal)
        picked = numbers
        if self._pick in ("last", "first"):
            picked = numbers[-1:] if self._pick == "last" else numbers[:1]
        elif self._pick == "only" and len(numbers) > 1:
            return Score(value=0.0, explanation=f"{len(numbers)} numbers in place of one")
        if not picked:
            return Score(value=0.0, explanation="no number")
        near = [one for one in picked if self._near(one, right[0])]
        shown = (near or picked)[0]
        return Score(value=float(bool(near)), explanation=f"{_shown(shown)} for {_shown(right[0])}")

    def _near(self, number: Decimal, right: Decimal) -> bool:
        if number == right:
            return True
        allowed = max(self._absolute, _EXACT.multiply(self._relative, right).copy_abs())
        return _EXACT.subtract(number, right).copy_abs() <= allowed

    def _numbers(self, text: str, decimal: str) -> list[Decimal]:
        found = []
        for match in (_POINT if decimal == "." else _COMMA).finditer(text):
            digits = match.group().translate(_PLAIN if decimal == "." else _PLAIN_COMMA)
            found.append(Decimal(digits))
            if len(found) > _MOST and self._pick != "last":
                break
        return found


def _shown(number: Decimal) -> str:
    text = str(number)
    return text if len(text) <= _MOST_SHOWN else f"{number:.{_MOST_SHOWN // 4}g}"


_PLAIN = {ord(one): None for one in ",\u202f\u00a0$\u20ac\u00a3 "} | {0x2212: "-"}
_PLAIN_COMMA = {ord(one): None for one in ".\u202f\u00a0$\u20ac\u00a3 "} | {0x2212: "-", ord(","): "."}


def _is_json(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
