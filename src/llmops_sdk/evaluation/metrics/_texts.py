"""What metrics compare: which text of an answer with which text of a case, and in which form."""

from __future__ import annotations

import json
import re
import string
import unicodedata
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypedDict, TypeVar, Unpack, get_args

from llmops_sdk.errors import ConfigurationError, DatasetError, EvaluationError
from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation.metrics._metric import Metric, Score
from llmops_sdk.guards import JSONReading, JSONSchema
from llmops_sdk.loops import in_thread
from llmops_sdk.pipelines import Result

__all__ = [
    "SQUAD",
    "FormOptions",
    "Reading",
    "ReadingOptions",
    "TextForm",
    "TextMetric",
    "json_in",
    "promptly",
    "text_of",
]

_T = TypeVar("_T")
_LONG = 20_000
"""Characters of all texts together from which on they are compared in a thread."""
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_ROOTS = ("expected", "input", "metadata")
_ANY_JSON = JSONSchema(True, strict=False, repair=True)

Space = Literal["exact", "strip", "collapse"]
UnicodeForm = Literal["NFC", "NFD", "NFKC", "NFKD"]


class ReadingOptions(TypedDict, total=False):
    """What is compared with what.

    Attributes:
        name: Under which its scores are kept; the metric says its default.
        of: A field of the JSON in the answer, as a path (`"address.city"`, `"items.0"`), in place of its whole text. An
            answer without that field counts as an empty text.
        against: What of the case it is compared with: a path that begins with `expected` (the default), `input` or
            `metadata`, as in `"expected.capital"`.
    """

    name: str
    of: str
    against: str


class FormOptions(ReadingOptions, total=False):
    """In which form two texts are compared, too.

    Attributes:
        case: Whether capitals count (`True`).
        space: `"strip"`: space around a text does not count (the default); `"collapse"`: and any space within is one
            blank; `"exact"`: all of it counts.
        unicode: Normal form in which characters are compared: `"NFC"` (the default; one character for a letter with
            its accent), `"NFKC"` (ligatures and full-width forms are letters, too), ..., or `None` for as they are.
        punctuation: Whether ASCII punctuation counts (`True`).
        articles: Whether the words *a*, *an* and *the* count (`True`).
    """

    case: bool
    space: Space
    unicode: UnicodeForm | None
    punctuation: bool
    articles: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TextForm:
    """The form in which texts are compared; the attributes are those of `FormOptions`.

    What does not count goes in the order of the script of SQuAD: capitals, punctuation, articles, space.

    Example:
        >>> SQUAD.of("The  Eiffel Tower!")
        'eiffel tower'
    """

    case: bool = True
    space: Space = "strip"
    unicode: UnicodeForm | None = "NFC"
    punctuation: bool = True
    articles: bool = True

    def __post_init__(self) -> None:
        if self.space not in get_args(Space):
            raise ConfigurationError(f"`space` is one of {', '.join(map(repr, get_args(Space)))}, not {self.space!r}")
        if self.unicode is not None and self.unicode not in get_args(UnicodeForm):
            forms = ", ".join(map(repr, get_args(UnicodeForm)))
            raise ConfigurationError(f"`unicode` is `None` or one of {forms}, not {self.unicode!r}")
        for name in ("case", "punctuation", "articles"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigurationError(f"`{name}` is True or False, not {getattr(self, name)!r}")

    def of(self, text: str) -> str:
        """The text in this form."""
        composed = text if self.unicode is None or text.isascii() else unicodedata.normalize(self.unicode, text)
        reduced = self._reduced(composed)
        # What is left may be composed anew: of `e`, a comma and an accent, a letter with its accent.
        return reduced if self.unicode is None or reduced.isascii() else unicodedata.normalize(self.unicode, reduced)

    def _reduced(self, text: str) -> str:
        if not self.case:
            text = text.lower()
        if not self.punctuation:
            text = text.translate(_PUNCTUATION)
        if not self.articles:
            text = _ARTICLES.sub(" ", text)
        if self.space == "strip":
            return text.strip()
        return " ".join(text.split()) if self.space == "collapse" else text


SQUAD = TextForm(case=False, space="collapse", unicode=None, punctuation=False, articles=False)
"""As the official script of SQuAD 1.1 and 2.0 compares answers (<https://rajpurkar.github.io/SQuAD-explorer/>)."""


class Reading:
    """Reads what is compared: a text of the answer, and the acceptable ones of the case.

    Raises:
        ConfigurationError: A path is none.
    """

    __slots__ = ("_of", "_path", "against", "of")

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.of = options.get("of", "")
        self.against = options.get("against", "expected")
        for option, path in (("of", self.of), ("against", self.against)):
            if not isinstance(path, str) or (path and not all(path.split("."))):
                raise ConfigurationError(f"`{option}` is a path of names with dots between, not {path!r}")
        self._of = tuple(self.of.split(".")) if self.of else ()
        self._path = tuple(self.against.split("."))
        if self._path[0] not in _ROOTS:
            raise ConfigurationError(f"`against` begins with one of {', '.join(_ROOTS)}, not {self.against!r}")

    def said(self, result: Result) -> str:
        """The text of the answer that is compared; of a blocked run, its refusal."""
        if not self._of:
            return result.text
        found = _at(json_in(result.text).value, self._of)
        return "" if found is None else text_of(found)

    def answer(self, result: Result) -> JSONReading:
        """The JSON of the answer, or what is wrong with it; only the field, where `of` names one."""
        read = json_in(result.text)
        if self._of and read.problem is None:
            found = _at(read.value, self._of)
            return read._replace(value=found, problem="no_such_field" if found is None else None)
        return read

    def expected(self, case: Case) -> Any:
        """What it is compared with; `None` where the case has nothing there.

        Raises:
            DatasetError: What stands on the way is no mapping and no list.
        """
        value = getattr(case, self._path[0])
        if value is not None and len(self._path) > 1:
            if isinstance(value, str) or not isinstance(value, Mapping | Sequence):
                raise DatasetError(f"case {case.id!r}: {self._path[0]!r} has no fields, so nothing is {self.against!r}")
            value = _at(value, self._path[1:])
        return value

    def acceptable(self, case: Case) -> tuple[str, ...]:
        """The acceptable texts: one, or those of a list; empty where the case has none.

        Raises:
            DatasetError: There is a mapping where a text has to be.
        """
        value = self.expected(case)
        if value is None:
            return ()
        if type(value) is str:
            return (value,)
        found = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
        if any(isinstance(one, Mapping | list | tuple) for one in found):
            raise DatasetError(
                f"case {case.id!r}: {self.against!r} is no text and no list of texts; name a field of it, as in "
                f"`against='{self.against}.answer'`"
            )
        return tuple(text_of(one) for one in found if one is not None)

    def configuration(self) -> dict[str, object]:
        """What scores depend on."""
        return {"of": self.of, "against": self.against}


def text_of(value: object) -> str:
    """A value as text: a text as it is, anything else as JSON writes it.

    Example:
        >>> text_of("yes"), text_of(2.5), text_of(True)
        ('yes', '2.5', 'true')
    """
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def json_in(text: str) -> JSONReading:
    """The JSON in a text, fences and text around it passed over; or what is wrong with it."""
    return _ANY_JSON.read(text)


def promptly(length: int, work: Callable[[], _T]) -> _T | Awaitable[_T]:
    """What `work` gives: at once for texts of so few characters together, else from a thread."""
    return work() if length <= _LONG else in_thread(work)


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, Sequence) and not isinstance(value, str) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


class TextMetric(Metric):
    """A metric that compares a text of the answer with the acceptable texts of the case: the best match counts.

    Write `compare`. Long texts are compared in a thread.

    Attributes:
        longest: Characters of a text beyond which nothing is compared, so that time and memory are bounded: the cell
            counts as failed, and says so.
    """

    longest: int = 1_000_000

    def __init__(self, name: str, options: Mapping[str, Any], form: TextForm | None = None) -> None:
        known = FormOptions.__annotations__ if form is not None else ReadingOptions.__annotations__
        if unknown := options.keys() - known.keys():
            raise ConfigurationError(f"{type(self).__name__} has no option {min(unknown)!r}; it has {', '.join(known)}")
        self.name = options.get("name", name)
        self._reading = Reading(options)
        own = {option: value for option, value in options.items() if option not in ReadingOptions.__annotations__}
        self._form = None if form is None else TextForm(**{**_values(form), **own})

    def configuration(self) -> dict[str, object]:
        """What its scores depend on."""
        form = {} if self._form is None else _values(self._form)
        return {**self._reading.configuration(), **form}

    def __call__(self, case: Case, result: Result, /) -> float | Score | Awaitable[float | Score | None] | None:
        accepted = self._accepted(case)
        if not accepted:
            return None
        lengths = [len(result.text), *map(len, accepted)]
        if max(lengths) > self.longest:
            raise EvaluationError(f"{self.name!r} compares texts of at most {self.longest:,} characters")
        return promptly(sum(lengths), lambda: self.best(self._reading.said(result), accepted))

    def _accepted(self, case: Case) -> tuple[str, ...]:
        return self._reading.acceptable(case)

    def best(self, said: str, accepted: Sequence[str]) -> float | Score:
        """The score against whichever acceptable text is nearest."""
        if self._form is not None:
            said = self._form.of(said)
            accepted = [self._form.of(one) for one in accepted]
        if len(accepted) == 1:
            return self.compare(said, accepted[0])
        scores: Iterator[float | Score] = (self.compare(said, one) for one in accepted)
        pick = max if self.higher_is_better else min
        return pick(scores, key=lambda one: (one.value or 0.0) if isinstance(one, Score) else one)

    @abstractmethod
    def compare(self, said: str, expected: str) -> float | Score:
        """The score against one acceptable text; both are in the metric's form."""


def _values(form: TextForm) -> dict[str, Any]:
    return {name: getattr(form, name) for name in TextForm.__slots__}


class FormMetric(TextMetric):
    """A `TextMetric` whose texts are compared in a form of the caller's choice."""

    default_form: ClassVar[TextForm] = TextForm()
    default_name: ClassVar[str] = ""

    def __init__(self, **options: Unpack[FormOptions]) -> None:
        super().__init__(self.default_name, options, self.default_form)
