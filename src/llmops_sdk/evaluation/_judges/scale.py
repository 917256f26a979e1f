"""Scales: the grades that a judge may give, and what they are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.given import is_number

__all__ = ["Scale", "ScaleLike"]

ScaleLike: TypeAlias = "Literal['pass/fail'] | tuple[int, int] | Sequence[str] | Mapping[str, float]"
_MOST = 101


class Scale:
    """The grades of a judge.

    Args:
        given: `"pass/fail"`; the lowest and the highest grade, `(1, 5)`; names from the worst to the best,
            `["poor", "fair", "good"]`; or names with their values, `{"wrong": 0, "vague": 0.3, "right": 1}`.
        bounds: Smallest and largest value; names with values are within them.

    Attributes:
        values: Grade -> value.
        whole: Whether grades are whole numbers.
        bounds: As given.

    Raises:
        ConfigurationError: It is no scale.
    """

    def __init__(self, given: ScaleLike, /, *, bounds: tuple[float, float] = (0.0, 1.0)) -> None:
        self.bounds = bounds
        self.whole = False
        self.values: dict[int | str, float]
        if given == "pass/fail":
            self.values = {"fail": 0.0, "pass": 1.0}
        elif isinstance(given, Mapping):
            self.values = {name: float(value) for name, value in _named(given, bounds).items()}
        elif isinstance(given, Sequence) and all(type(one) is int for one in given):
            self.whole = True
            self.values = _numbered(given)
        elif isinstance(given, Sequence) and not isinstance(given, str):
            names = list(given)
            self.values = {name: place / max(len(names) - 1, 1) for place, name in enumerate(map(str, names))}
            if not all(isinstance(name, str) and name for name in names) or not 2 <= len(self.values) == len(names):
                raise ConfigurationError(f"a scale of names has two different texts at least, not {given!r}")
        else:
            raise ConfigurationError(
                "`scale` is 'pass/fail', the worst and the best grade `(1, 5)`, names from the worst to the best, or "
                f"a mapping of names to values from 0 to 1; not {given!r}"
            )

    @property
    def binary(self) -> bool:
        """Whether every value is 0 or 1."""
        return set(self.values.values()) == {0.0, 1.0}

    @property
    def grades(self) -> str:
        """The grades in words."""
        names = list(self.values)
        return f"{names[0]} to {names[-1]}" if self.whole else ", ".join(map(repr, names))

    @property
    def instruction(self) -> str:
        """What a judge is told of it."""
        names = list(self.values)
        if self.whole:
            return (
                f"The grade is a whole number from {names[0]} (the rubric is not met at all) to {names[-1]} (it is met "
                "fully)."
            )
        return "The grade is one of " + ", ".join(f'"{name}"' for name in names) + "."

    @property
    def schema(self) -> dict[str, Any]:
        """JSON schema of a grade."""
        names = list(self.values)
        if self.whole:
            return {"type": "integer", "minimum": names[0], "maximum": names[-1]}
        return {"type": "string", "enum": names}

    def value_of(self, grade: Any) -> float | None:
        """What a grade is worth; `None` where it is not on the scale."""
        if isinstance(grade, str):
            return None if self.whole else self.values.get(grade)
        # A model may write 4.0.
        return self.values.get(int(grade)) if self.whole and is_number(grade) and grade == grade // 1 else None

    def said(self, label: Any) -> float:
        """The value of what a person has said: a grade, or for pass and fail `True` or `False`, or 1 or 0.

        Raises:
            ConfigurationError: It is not on the scale.
        """
        if not self.whole and isinstance(label, bool | int | float) and set(self.values) == {"fail", "pass"}:
            label = {0.0: "fail", 1.0: "pass"}.get(float(label), label)
        value = self.value_of(label)
        if value is None:
            raise ConfigurationError(f"{label!r} is not on the judge's scale: {self.grades}")
        return value


def _numbered(given: Sequence[Any]) -> dict[int | str, float]:
    if len(given) != 2 or not 0 < given[1] - given[0] < _MOST:
        raise ConfigurationError(f"a scale of numbers is the worst and the best grade, such as (1, 5); not {given!r}")
    low, high = given
    return {grade: (grade - low) / (high - low) for grade in range(low, high + 1)}


def _named(given: Mapping[str, float], bounds: tuple[float, float]) -> Mapping[str, float]:
    low, high = bounds
    right = all(isinstance(name, str) and name and is_number(value) for name, value in given.items())
    if len(given) < 2 or not right or not all(low <= value <= high for value in given.values()):
        raise ConfigurationError(f"a scale of names with values has two at least, from {low:g} to {high:g}: {given!r}")
    return given
