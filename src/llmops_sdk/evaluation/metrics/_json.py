"""Whether the answer is JSON, of the right form, and with the right fields."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator, Mapping
from typing import Any, Unpack

from llmops_sdk import guards
from llmops_sdk.errors import ConfigurationError, DatasetError
from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation.metrics._metric import Metric, Score
from llmops_sdk.evaluation.metrics._texts import Reading, ReadingOptions, promptly
from llmops_sdk.pipelines import Result

__all__ = ["FieldsEqual", "JSONSchema", "JSONValid", "OutputValid", "equal_json"]


class JSONSchema(Metric):
    """1 where the answer is JSON that satisfies a schema, else 0; `explanation` says what is wrong and where.

    Args:
        schema: A JSON schema (a mapping; needs the extra `json-schema`), a pydantic model, or a type such as
            `list[int]`. `True`: any JSON. What the prompt itself asks for `OutputValid` looks at.
        wrapped: Whether Markdown fences and text around the JSON are passed over; otherwise they are wrong.
        strict: Whether a name twice in one object, `NaN`, and numbers beyond the range of a double are wrong.
        name: Under which its scores are kept.

    Raises:
        ConfigurationError: The schema is none.
        MissingDependencyError: The schema is a mapping, and `jsonschema` is not installed.

    Example:
        >>> from llmops_sdk import Scripted
        >>> from llmops_sdk.evaluation import Case
        >>> JSONSchema({"required": ["name"]})(Case(input="?"), ("?" | Scripted('{"n": 1}')).run()).explanation
        '$: fails `required`'
    """

    bounds = (0.0, 1.0)

    def __init__(
        self, schema: object, *, wrapped: bool = False, strict: bool = True, name: str = "json_schema"
    ) -> None:
        self.name = name
        self._guard = guards.JSONSchema(schema, strict=strict, repair=wrapped)
        # A schema is checked in a thread: how long it takes depends on the schema.
        self.blocks = schema is not True

    def configuration(self) -> dict[str, object]:
        """What its scores depend on."""
        return self._guard.configuration()

    def __call__(self, case: Case, result: Result, /) -> Score | Awaitable[Score]:
        text = result.text
        return self._judged(text) if self.blocks else promptly(len(text), lambda: self._judged(text))

    def _judged(self, text: str) -> Score:
        read = self._guard.read(text)
        if read.problem is None:
            return Score(value=1.0)
        said = read.problem.replace("_", " ")
        if read.mismatches:
            first = read.mismatches[0]
            steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in first.path)
            said = f"${''.join(steps)}: fails `{first.rule}`"
        return Score(value=0.0, explanation=said[:500], details={"problem": read.problem})


class JSONValid(JSONSchema):
    """1 where the answer is JSON (RFC 8259), else 0.

    Args:
        wrapped: Whether Markdown fences and text around the JSON are passed over; otherwise they are wrong.
        strict: Whether a name twice in one object, `NaN`, and numbers beyond the range of a double are wrong.
        name: Under which its scores are kept.

    Example:
        >>> from llmops_sdk import Scripted
        >>> from llmops_sdk.evaluation import Case
        >>> JSONValid()(Case(input="?"), ("?" | Scripted('{"n": 1,}')).run()).value
        0.0
    """

    def __init__(self, *, wrapped: bool = False, strict: bool = True, name: str = "json_valid") -> None:
        super().__init__(True, wrapped=wrapped, strict=strict, name=name)


class OutputValid(Metric):
    """1 where the answer has the form that the prompt asks for (its `output`), else 0.

    `None` where the prompt asks for no form, and where the answer calls tools instead. What was repaired on the way
    counts as it came out.

    Args:
        name: Under which its scores are kept.

    Example:
        >>> from llmops_sdk import Prompt, Scripted
        >>> from llmops_sdk.evaluation import Case
        >>> from pydantic import BaseModel
        >>> class City(BaseModel):
        ...     name: str
        >>> pipeline = Prompt.from_string("A city?", output=City) | Scripted('{"nom": "Paris"}')
        >>> OutputValid()(Case(input={}), pipeline.run()).value
        0.0
    """

    bounds = (0.0, 1.0)

    def __init__(self, *, name: str = "output_valid") -> None:
        self.name = name

    def configuration(self) -> dict[str, object]:
        """What its scores depend on: nothing."""
        return {}

    def __call__(self, case: Case, result: Result, /) -> Score | None:
        if result.output_error is not None:
            return Score(value=0.0, explanation=result.output_error)
        choices = () if result.response is None else result.response.choices
        asked = bool(result.outputs) and not all(choice.tool_calls for choice in choices)
        return Score(value=1.0) if asked else None


class FieldsEqual(Metric):
    """Which share of the fields that the case expects has the right value in the JSON of the answer, 0 to 1.

    Fields are those of the innermost mappings: `{"address": {"city": "Paris"}}` has one, `address.city`. Lists are
    compared as a whole. 1 and 1.0 are equal, 1 and `true` are not. What the answer has beside the expected fields does
    not count. `details` says which fields are wrong. An answer without JSON has none of them.

    Args:
        fields: Paths of those that are compared; by default all that the case expects, which has to be a mapping.
        all_or_nothing: Give 1 only where every field is right, and else 0.
        options: See `ReadingOptions`.

    Raises:
        ConfigurationError: An option is unknown or makes no sense.

    Example:
        >>> from llmops_sdk import Scripted
        >>> from llmops_sdk.evaluation import Case
        >>> case = Case(input="?", expected={"name": "Ada", "born": 1815})
        >>> score = FieldsEqual()(case, ("?" | Scripted('{"name": "Ada", "born": "1815"}')).run())
        >>> score.value, score.details
        (0.5, {'wrong': ['born']})
    """

    bounds = (0.0, 1.0)

    def __init__(self, *fields: str, all_or_nothing: bool = False, **options: Unpack[ReadingOptions]) -> None:
        if unknown := options.keys() - ReadingOptions.__annotations__.keys():
            raise ConfigurationError(f"FieldsEqual has no option {min(unknown)!r}")
        if not all(isinstance(field, str) and all(field.split(".")) for field in fields):
            raise ConfigurationError(f"fields are paths of names with dots between, not {fields!r}")
        self.name = options.get("name", "fields_equal")
        self._reading = Reading(options)
        self._fields = frozenset(fields)
        self._all = all_or_nothing

    def configuration(self) -> dict[str, object]:
        """What its scores depend on."""
        return {**self._reading.configuration(), "fields": sorted(self._fields), "all_or_nothing": self._all}

    def __call__(self, case: Case, result: Result, /) -> Score | Awaitable[Score | None] | None:
        expected = self._reading.expected(case)
        if expected is None:
            return None
        if not isinstance(expected, Mapping):
            raise DatasetError(f"case {case.id!r}: {self._reading.against!r} is no mapping of fields to values")
        right = dict(_leaves(expected, ()))
        if self._fields:
            right = {path: value for path, value in right.items() if ".".join(path) in self._fields}
            if len(right) < len(self._fields):
                missing = self._fields - {".".join(path) for path in right}
                raise DatasetError(f"case {case.id!r} expects no field {', '.join(sorted(missing))}")
        if not right:
            return None
        return promptly(len(result.text), lambda: self._compared(right, result))

    def _compared(self, right: Mapping[tuple[str, ...], Any], result: Result) -> Score:
        read = self._reading.answer(result)
        said = {} if read.problem is not None else dict(_leaves(read.value, ()))
        wrong = [
            ".".join(path) for path, value in right.items() if path not in said or not equal_json(said[path], value)
        ]
        share = 1 - len(wrong) / len(right)
        return Score(
            value=float(not wrong) if self._all else share,
            explanation=None if read.problem is None else read.problem.replace("_", " "),
            details={"wrong": wrong} if wrong else {},
        )


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, Mapping) and value:
        for name, one in value.items():
            yield from _leaves(one, (*path, str(name)))
    else:
        yield path, value


def equal_json(one: Any, other: Any) -> bool:
    """As JSON has it: `True` is no number."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(equal_json(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(equal_json, one, other))
    return bool(one == other)
