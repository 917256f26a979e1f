"""What examples are, and how they are made from what people write."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.messages import Message, Part, TextPart
from llmops_sdk.prompts._history import message_from
from llmops_sdk.prompts._variables import did_you_mean

__all__ = ["MAX_EXAMPLES", "Example", "Examples", "Selector", "example_from", "examples_from"]

MAX_EXAMPLES = 2_000
"""Most examples that a prompt may have to choose from."""

_ANSWER, _MESSAGES = "answer", "messages"
_OPTIONS = ("count", "select", "seed")
_BY_NAME: TypeAlias = Literal["first", "random", "similar"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One example: a question, by the values of its variables, and the answer that a model should give.

    Attributes:
        variables: Values for the prompt's variables, at least for those that its question uses.
        answer: The answer: a text, or a JSON value that the model should write as JSON; `None` beside `messages`.
        messages: The whole exchange, word for word, instead of variables and an answer.
        where: Where it is written, `path:line`, for errors.
    """

    variables: Mapping[str, Any] = field(default_factory=dict)
    answer: object = None
    messages: tuple[Message, ...] = ()
    where: str = field(default="", compare=False)

    @property
    def answer_text(self) -> str:
        """The answer as the model should write it."""
        return self.answer if isinstance(self.answer, str) else json.dumps(self.answer, ensure_ascii=False)

    def plain(self) -> dict[str, Any]:
        """What `example_from` makes it from: plain data, as it stands in a file."""
        if self.messages:
            return {_MESSAGES: [_plain_message(message) for message in self.messages]}
        return {**self.variables, _ANSWER: self.answer}


Selector: TypeAlias = Callable[[Mapping[str, object], Sequence[Example]], Iterable[Example]]
"""Chooses examples for the values of a request's variables. The last one stands next to the question.

It is called while a prompt is rendered, so it must not wait, and it should choose the same for the same values.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """The examples of a prompt, and how those are chosen that a request shows.

    Attributes:
        cases: All of them, in order.
        count: How many are shown; `None` shows all.
        select: `"first"` takes the first ones; `"random"` draws, the same for the same question everywhere;
            `"similar"` takes those whose questions are most like the one that is asked, the likest last; or a function.
        seed: Draws others, for `"random"`.
    """

    cases: tuple[Example, ...]
    count: int | None = None
    select: _BY_NAME | Selector = "first"
    seed: int = 0

    def plain(self) -> dict[str, Any]:
        """Plain data that says the same: the same for all that render the same."""
        select: object = self.select
        if not isinstance(select, str):
            select = f"{getattr(select, '__module__', '')}:{getattr(select, '__qualname__', type(select).__qualname__)}"
        said = {"count": self.count, "select": select, "seed": self.seed}
        plain = {"count": None, "select": "first", "seed": 0}
        changed = {key: value for key, value in said.items() if value != plain[key]}
        return {"cases": [case.plain() for case in self.cases], **changed}


def example_from(given: object, *, where: str = "") -> Example:
    """An example from a mapping: values of variables and `answer`, or `messages`.

    Raises:
        ConfigurationError: It is something else.

    Example:
        >>> example_from({"question": "2 + 2?", "answer": "4"}).variables
        {'question': '2 + 2?'}
    """
    if isinstance(given, Example):
        return given
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise ConfigurationError(
            f'an example is a mapping, such as {{"question": "2 + 2?", "answer": "4"}}, not {type(given).__name__}'
        )
    if _ANSWER in given:
        return Example(
            variables={key: value for key, value in given.items() if key != _ANSWER},
            answer=given[_ANSWER],
            where=where,
        )
    if given.keys() != {_MESSAGES}:
        raise ConfigurationError("an example has an `answer`, beside values of variables; or it has `messages` alone")
    messages = given[_MESSAGES]
    if isinstance(messages, str) or not isinstance(messages, Sequence) or not messages:
        raise ConfigurationError("the `messages` of an example are a list of mappings with `role` and `content`")
    try:
        return Example(messages=tuple(message_from(one) for one in messages), where=where)
    except ValueError as exc:
        raise ConfigurationError(f"of the `messages` of an example, one {exc}") from None


def examples_from(cases: Iterable[object], **options: object) -> Examples:
    """Examples, with the options of `Examples`.

    Raises:
        ConfigurationError: An example or an option is wrong.
    """
    made = tuple(example_from(case) for case in cases)
    if not made:
        raise ConfigurationError("the list of examples is empty")
    if len(made) > MAX_EXAMPLES:
        raise ConfigurationError(f"{len(made):,} examples are more than the {MAX_EXAMPLES:,} that a prompt may have")
    for key in options:
        if key not in _OPTIONS:
            hint = did_you_mean(key, _OPTIONS)
            raise ConfigurationError(f"examples have no option {key!r}; there are {', '.join(_OPTIONS)}.{hint}")
    count, select, seed = options.get("count"), options.get("select", "first"), options.get("seed", 0)
    if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
        raise ConfigurationError(f"`count` is how many examples are shown, a number >= 1, not {count!r}")
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise ConfigurationError(f"`seed` is a whole number, not {seed!r}")
    names = get_args(_BY_NAME)
    if not callable(select) and select not in names:
        hint = did_you_mean(str(select), names)
        raise ConfigurationError(f"`select` is {', '.join(names)} or, in code, a function, not {select!r}.{hint}")
    if select in ("random", "similar") and count is None:
        raise ConfigurationError(f"`select: {select}` needs to know how many: add `count: 3`")
    return Examples(cases=made, count=count, select=select, seed=seed)  # type: ignore[arg-type]  # checked above


def _plain_message(message: Message) -> dict[str, Any]:
    plain: dict[str, Any] = {"role": message.role, "content": message.content}
    if not isinstance(message.content, str):
        plain["content"] = [_plain_part(part) for part in message.content]
    if message.tool_calls:
        plain["tool_calls"] = [
            {"id": one.id, "type": "function", "function": {"name": one.name, "arguments": one.arguments}}
            for one in message.tool_calls
        ]
    for key in ("tool_call_id", "name"):
        if (value := getattr(message, key)) is not None:
            plain[key] = value
    return plain


def _plain_part(part: Part) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    image = {"url": part.url} if part.detail is None else {"url": part.url, "detail": part.detail}
    return {"type": "image_url", "image_url": image}
