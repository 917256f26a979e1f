"""Examples in their place in a prompt: rendered once, and chosen for each request."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from llmops_sdk.errors import PromptError
from llmops_sdk.messages import Message
from llmops_sdk.prompts._examples.records import Example, Examples
from llmops_sdk.prompts._examples.selecting import Likeness, drawn
from llmops_sdk.prompts._variables import Variable, check_types, checks_of, complete

__all__ = ["ShownExamples"]


class ShownExamples:
    """The place of a prompt's examples.

    Args:
        examples: They.
        ask: Renders a question from the values of variables.
        asked: Names of the variables that a question uses.
        variables: What is known of the prompt's variables.
        prompt: Name of the prompt, for errors.

    Raises:
        PromptError: An example misses a variable of the question, or has one that the prompt does not have.
    """

    def __init__(
        self,
        examples: Examples,
        ask: Callable[[Mapping[str, object]], Message],
        *,
        asked: Collection[str],
        variables: Mapping[str, Variable],
        prompt: str,
    ) -> None:
        self._examples = examples
        self._ask = ask
        self._prompt = prompt
        self._exchanges = [self._exchange(case, asked, variables) for case in examples.cases]
        self._places = {id(case): place for place, case in enumerate(examples.cases)}
        shown = len(examples.cases) if examples.count is None else min(examples.count, len(examples.cases))
        self._count = shown
        self._fixed: tuple[Message, ...] | None = None
        if examples.select == "first" or (shown == len(examples.cases) and examples.select == "random"):
            self._fixed = self._at(range(shown))

    @property
    def fixed(self) -> bool:
        """Whether every request shows the same ones."""
        return self._fixed is not None

    @property
    def shortest(self) -> Sequence[Message]:
        """The messages of the shortest choice that a request may show."""
        if self._fixed is not None:
            return self._fixed
        sizes = [sum(len(message.text) for message in exchange) for exchange in self._exchanges]
        # A function may choose none at all.
        count = self._count if isinstance(self._examples.select, str) else 0
        return self._at(sorted(range(len(sizes)), key=sizes.__getitem__)[:count])

    def messages(self, values: Mapping[str, object]) -> Sequence[Message]:
        """The examples that are shown for these values of the variables.

        Raises:
            PromptError: A function that chooses has chosen what is no example, or has failed.
        """
        if self._fixed is not None:
            return self._fixed
        select, number = self._examples.select, len(self._exchanges)
        if not isinstance(select, str):
            return self._at(self._chosen(values))
        question = self._ask(values).text
        if select == "similar":
            return self._at(self._likeness.likest(question, self._count))
        return self._at(drawn(question, number, self._count, self._examples.seed))

    @cached_property
    def _likeness(self) -> Likeness:
        return Likeness([exchange[0].text for exchange in self._exchanges])

    def _at(self, places: Sequence[int]) -> tuple[Message, ...]:
        return tuple(message for place in places for message in self._exchanges[place])

    def _chosen(self, values: Mapping[str, object]) -> list[int]:
        select = self._examples.select
        try:
            chosen = list(select(values, self._examples.cases))  # type: ignore[operator]  # no name
        except Exception as exc:
            raise PromptError(
                f"the prompt {self._prompt!r}: the function that chooses examples has failed: "
                f"{type(exc).__name__}: {exc}",
                prompt=self._prompt,
            ) from exc
        places = [self._places.get(id(one)) for one in chosen[: self._examples.count]]
        if None in places:
            raise PromptError(
                f"the prompt {self._prompt!r}: the function that chooses examples has to return some of those that it "
                "is given",
                prompt=self._prompt,
            )
        return [place for place in places if place is not None]

    def _exchange(
        self, case: Example, asked: Collection[str], variables: Mapping[str, Variable]
    ) -> tuple[Message, ...]:
        if case.messages:
            return case.messages
        takes = {name: one for name, one in variables.items() if name in asked or name in case.variables}
        try:
            values = complete(case.variables, takes, self._prompt)
            check_types(values, checks_of(takes.values()), self._prompt)
            question = self._ask(values)
        except PromptError as exc:
            at = f"{case.where}: " if case.where else ""
            raise PromptError(f"{at}an example: {exc}", prompt=self._prompt, variable=exc.variable) from exc
        # What an example says is the application's own text.
        return (replace(question, origins=()), Message.assistant(case.answer_text))
