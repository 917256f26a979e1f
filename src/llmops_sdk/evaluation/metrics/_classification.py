"""Which class an answer names, and whether it is the right one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Unpack

from llmops_sdk.errors import ConfigurationError, DatasetError
from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation.metrics._metric import Metric, Score
from llmops_sdk.evaluation.metrics._texts import Reading, ReadingOptions, TextForm, promptly, text_of
from llmops_sdk.pipelines import Result

__all__ = ["Classification"]


class Classification(Metric):
    """1 where the answer names the class that was expected, else 0; the class is the score's `label`.

    The answer may be the name of a class, or a text in which exactly one of them stands as a word: a name that is part
    of a longer name there (*spam* in *not spam*) does not count. An answer that names none, or several, has no label
    and is wrong. Capitals and space do not count. `summary_of("classification", scores)` gives the `ConfusionMatrix`.

    Args:
        labels: The names of the classes, at least two; or a mapping of each to other words for it:
            `{"yes": ["true", "correct"], "no": ["false"]}`.
        pick: What an answer means that names several: `"only"` (nothing), or the `"first"` or the `"last"` of them.
        options: See `ReadingOptions`. What the case expects is one of the names, or a list of acceptable ones, of which
            the first is the one that the confusion matrix counts where the answer names none of them.

    Raises:
        ConfigurationError: There are no two classes, two have the same word, or an option makes no sense.

    Example:
        >>> from llmops_sdk import Scripted
        >>> from llmops_sdk.evaluation import Case
        >>> mood = Classification(["positive", "negative"])
        >>> score = mood(Case(input="Good!", expected="positive"), ("?" | Scripted("It is Negative.")).run())
        >>> score.value, score.label, score.details
        (0.0, 'negative', {'expected': 'positive'})
    """

    bounds = (0.0, 1.0)
    kind: ClassVar[str] = "classification"

    def __init__(
        self,
        labels: Sequence[str] | Mapping[str, Sequence[str]],
        /,
        *,
        pick: Literal["only", "first", "last"] = "only",
        **options: Unpack[ReadingOptions],
    ) -> None:
        if unknown := options.keys() - ReadingOptions.__annotations__.keys():
            raise ConfigurationError(f"Classification has no option {min(unknown)!r}")
        if pick not in ("only", "first", "last"):
            raise ConfigurationError(f"`pick` is 'only', 'first' or 'last', not {pick!r}")
        self.name = options.get("name", "classification")
        self._reading = Reading(options)
        self._pick = pick
        self._words = _words(labels)
        self.labels = tuple(dict.fromkeys(self._words.values()))
        # Longer words first, so that "not spam" is found before the "spam" in it.
        words = sorted(self._words, key=len, reverse=True)
        self._pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, words))})(?!\w)")

    def configuration(self) -> dict[str, object]:
        """What its scores depend on."""
        return {**self._reading.configuration(), "words": self._words, "pick": self._pick}

    def label_of(self, text: str) -> str | None:
        """The class that a text names; `None` for none.

        Example:
            >>> Classification(["spam", "not spam"]).label_of("This is not spam.")
            'not spam'
        """
        text = _FORM.of(text)
        if (whole := self._words.get(text)) is not None:
            return whole
        named = [self._words[match.group()] for match in self._pattern.finditer(text)]
        if not named or (self._pick == "only" and len(set(named)) > 1):
            return None
        return named[-1] if self._pick == "last" else named[0]

    def __call__(self, case: Case, result: Result, /) -> Any:
        accepted = [self._known(one, case) for one in self._reading.acceptable(case)]
        if not accepted:
            return None
        return promptly(len(result.text), lambda: self._scored(self._reading.said(result), accepted))

    def _scored(self, said: str, accepted: Sequence[str]) -> Score:
        label = self.label_of(said)
        right = label in accepted
        expected = label if right else accepted[0]
        explanation = None if label is not None else "the answer names no class, or several"
        return Score(value=float(right), label=label, explanation=explanation, details={"expected": expected})

    def _known(self, expected: str, case: Case) -> str:
        found = self._words.get(_FORM.of(expected))
        if found is None:
            raise DatasetError(
                f"case {case.id!r} expects {expected[:100]!r}, which is none of the classes "
                f"{', '.join(map(repr, self.labels[:20]))}"
            )
        return found


_FORM = TextForm(case=False, space="collapse", unicode="NFKC")


def _words(labels: Any) -> dict[str, str]:
    """Word -> class."""
    if isinstance(labels, str) or not isinstance(labels, Mapping | Sequence | set | frozenset):
        raise ConfigurationError(f"`labels` are the names of the classes, as in `['yes', 'no']`, not {labels!r}")
    given = labels if isinstance(labels, Mapping) else {text_of(label): () for label in labels}
    found: dict[str, str] = {}
    for label, others in given.items():
        if isinstance(others, str):
            raise ConfigurationError(f"the other words for {label!r} are a list of texts, not {others!r}")
        for word in (label, *others):
            plain = _FORM.of(word) if isinstance(word, str) else ""
            if not plain or found.get(plain, label) != label:
                raise ConfigurationError(f"{word!r} of the class {label!r} is empty, or stands for another class, too")
            found[plain] = label
    if len(given) < 2:
        raise ConfigurationError("a classification has at least two classes")
    return found
