"""Whether something stands in the answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar, Unpack

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation.metrics._metric import Score
from llmops_sdk.evaluation.metrics._texts import FormMetric, FormOptions, ReadingOptions, TextMetric

__all__ = ["Contains", "ContainsAll", "Regex", "StartsWith"]


class _Texts(FormMetric):
    """Looks for the given texts, or for those that the case expects."""

    bounds = (0.0, 1.0)

    def __init__(self, *texts: str, **options: Unpack[FormOptions]) -> None:
        super().__init__(**options)
        if not all(isinstance(text, str) and text for text in texts):
            raise ConfigurationError(f"{type(self).__name__} looks for texts with something in them, not {texts!r}")
        self._texts = texts

    def configuration(self) -> dict[str, object]:
        """What its scores depend on."""
        return {**super().configuration(), "texts": self._texts}

    def _accepted(self, case: Case) -> tuple[str, ...]:
        return self._texts or super()._accepted(case)


class Contains(_Texts):
    """1 where the text that is expected stands in the answer, else 0; of several acceptable ones, one is enough.

    Args:
        texts: What to look for, one or several; by default what the case expects: a text, or a list.
        options: See `FormOptions`.

    Raises:
        ConfigurationError: A text is empty, or an option is unknown or makes no sense.

    Example:
        >>> from llmops_sdk import Scripted
        >>> from llmops_sdk.evaluation import Case
        >>> Contains()(Case(input="Capital?", expected="Paris"), ("?" | Scripted("It is Paris.")).run())
        1.0
        >>> Contains("sorry", "afraid", case=False)(Case(input="?"), ("?" | Scripted("Sorry, no.")).run())
        1.0
    """

    default_name: ClassVar[str] = "contains"

    def compare(self, said: str, expected: str) -> float:
        """Whether the text stands in the answer."""
        return float(expected in said)


class ContainsAll(Contains):
    """1 where every one of the texts stands in the answer, else 0; `explanation` says which do not.

    Args:
        texts: What to look for; by default what the case expects: here a list holds texts that all have to be there.
        options: See `FormOptions`.

    Raises:
        ConfigurationError: A text is empty, or an option is unknown or makes no sense.

    Example:
        >>> from llmops_sdk import Scripted
        >>> from llmops_sdk.evaluation import Case
        >>> case = Case(input="Primary colours?", expected=["red", "yellow", "blue"])
        >>> ContainsAll()(case, ("?" | Scripted("red and blue")).run()).explanation
        "without 'yellow'"
    """

    default_name: ClassVar[str] = "contains_all"

    def best(self, said: str, accepted: Sequence[str]) -> Score:
        """Whether all are there."""
        assert self._form is not None
        said = self._form.of(said)
        missing = [one for one in accepted if self._form.of(one) not in said]
        explanation = f"without {', '.join(map(repr, missing))}"[:500] if missing else None
        return Score(value=float(not missing), explanation=explanation)


class StartsWith(_Texts):
    """1 where the answer begins with the text, or with one of several, else 0.

    Args:
        texts: What it may begin with; by default what the case expects.
        options: See `FormOptions`.

    Raises:
        ConfigurationError: A text is empty, or an option is unknown or makes no sense.

    Example:
        >>> from llmops_sdk import Scripted
        >>> from llmops_sdk.evaluation import Case
        >>> StartsWith("Dear ")(Case(input="Write a letter."), ("?" | Scripted("Dear Ada,")).run())
        1.0
    """

    default_name: ClassVar[str] = "starts_with"

    def compare(self, said: str, expected: str) -> float:
        """Whether the answer begins so."""
        return float(said.startswith(expected))


class Regex(TextMetric):
    r"""1 where a regular expression (of Python's `re`) matches the answer, else 0.

    Nothing interrupts an expression that needs exponential time, such as `(a+)+$`; the whole process waits for it.

    Args:
        pattern: The expression, as text or compiled; by default what the case expects: one, or a list of which one has
            to match.
        whole: Whether it has to match the answer from beginning to end; otherwise anywhere.
        options: See `ReadingOptions`.

    Raises:
        ConfigurationError: It is no regular expression, or an option is unknown or makes no sense.

    Example:
        >>> from llmops_sdk import Scripted
        >>> from llmops_sdk.evaluation import Case
        >>> Regex(r"\d{4}-\d\d-\d\d")(Case(input="When?"), ("?" | Scripted("On 2025-03-01.")).run())
        1.0
    """

    bounds = (0.0, 1.0)

    def __init__(
        self, pattern: str | re.Pattern[str] | None = None, *, whole: bool = False, **options: Unpack[ReadingOptions]
    ) -> None:
        super().__init__("regex", options)
        try:
            self._pattern = None if pattern is None else re.compile(pattern)
        except (re.error, TypeError) as error:
            raise ConfigurationError(f"{pattern!r} is no regular expression: {error}") from error
        if self._pattern is not None and not isinstance(self._pattern.pattern, str):
            raise ConfigurationError(f"{pattern!r} matches bytes, and answers are texts")
        self._whole = whole

    def configuration(self) -> dict[str, object]:
        """What its scores depend on."""
        return {**super().configuration(), "pattern": self._pattern, "whole": self._whole}

    def _accepted(self, case: Case) -> tuple[str, ...]:
        return super()._accepted(case) if self._pattern is None else ("",)

    def compare(self, said: str, expected: str) -> float:
        """Whether the expression matches."""
        pattern = re.compile(expected) if self._pattern is None else self._pattern
        return float((pattern.fullmatch(said) if self._whole else pattern.search(said)) is not None)
