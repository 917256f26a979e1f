"""The prefix that all requests of a prompt share: what caches of providers and vLLM's prefix cache can keep."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from llmops_sdk.messages import Request
from llmops_sdk.prompts._examples import ShownExamples
from llmops_sdk.prompts._rendering import CompiledSection, fill
from llmops_sdk.prompts._sections import Section
from llmops_sdk.prompts._templates import Filled, Template, openings_of
from llmops_sdk.prompts._variables import NAME
from llmops_sdk.tokens import Counter

__all__ = ["CachePrefix", "EarlyVariable", "cache_prefix"]

_NAMED = re.compile(rf"\{{\{{[-+]?[ \t]*({NAME})")


class EarlyVariable(NamedTuple):
    """A variable that ends the shared prefix although much that is always the same comes after it.

    Attributes:
        name: Its name.
        section: Number of its section, from 0.
        line: Line of the file on which it stands.
        gain: Tokens that the prefix would win if the variable stood at the end of the prompt.
    """

    name: str
    section: int
    line: int
    gain: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePrefix:
    """What all requests of a prompt begin with.

    Attributes:
        tokens: How many tokens they share: up to the first variable, tools and marks of messages included.
        total: How many could be shared: all that is the same in every request, if all variables stood at the end.
        early: The variable that ends the prefix, where that costs tokens; `None` if moving it wins nothing.
        counter: What counted.
        doubt: Why the numbers are not exact; `None` where they are.
    """

    tokens: int
    total: int
    early: EarlyVariable | None
    counter: str
    doubt: str | None

    @property
    def exact(self) -> bool:
        """Whether the model will see so many tokens."""
        return self.doubt is None


class _Stretch(NamedTuple):
    """Words of the prompt's own, as they follow on a variable or begin a section (`variable` is `None` then)."""

    variable: str | None
    number: int
    line: int
    text: str


def cache_prefix(sections: Sequence[CompiledSection], parameters: Mapping[str, Any], counter: Counter) -> CachePrefix:
    """What all requests of a prompt share.

    Args:
        sections: Its sections, compiled.
        parameters: What it sets of a request.
        counter: What counts.
    """
    told = {name: parameters[name] for name in ("tools", "tool_choice", "extra") if name in parameters}
    stretches = [stretch for number, one in enumerate(sections) for stretch in _stretches(number, one)]
    place = next((place for place, one in enumerate(stretches) if one.variable is not None), len(stretches))
    shared, others = stretches[:place], stretches[place:]
    messages = fill(_sections_until(sections, shared, others[:1]), {})
    request = Request(messages=tuple(messages), **told)
    tokens = counter.prefix(request) if messages else 0
    early = None
    if others:
        following = itertools.takewhile(lambda one: one.variable in (None, others[0].variable), others)
        gain = sum(counter.text(one.text) for one in following)
        early = EarlyVariable(others[0].variable or "", others[0].number, others[0].line, gain) if gain else None
    return CachePrefix(
        tokens=tokens,
        total=tokens + sum(counter.text(one.text) for one in others),
        early=early,
        counter=counter.name,
        doubt=counter.request(request).doubt if messages else counter.doubt,
    )


def _sections_until(
    sections: Sequence[CompiledSection], shared: Sequence[_Stretch], first: Sequence[_Stretch]
) -> list[CompiledSection]:
    """The sections before the first variable, the last one with the words before that variable only."""
    if not first:
        return list(sections)
    until = list(sections[: first[0].number])
    if sections[first[0].number].placed is None:
        words = shared[-1].text  # the beginning of the variable's own section
        until.append(sections[first[0].number]._replace(fixed=None, template=cast("Template", _Words(words))))
    return until


def _stretches(number: int, compiled: CompiledSection) -> Iterator[_Stretch]:
    section = compiled.section
    if compiled.placed is not None:
        if isinstance(compiled.placed, ShownExamples) and compiled.placed.fixed:
            text = "\n".join(message.text for message in compiled.placed.messages({}))
            yield _Stretch(None, number, section.line, text)
        else:
            yield _Stretch(section.name or section.kind, number, section.line, "")
        return
    if not compiled.variables:
        yield _Stretch(None, number, section.line, compiled.template.render({})[0])
        return
    variable, begin = None, 0
    for opening in openings_of(section.text, compiled.variables):
        yield _Stretch(variable, number, _line(section, begin), section.text[begin : opening.at])
        named = _NAMED.match(section.text, opening.at)
        variable, begin = None if named is None else named[1], opening.end
        if variable not in compiled.variables:  # a tag, or more than a name: what comes after it may be there or not
            yield _Stretch(compiled.variables[0], number, _line(section, opening.at), "")
            return
    yield _Stretch(variable, number, _line(section, begin), section.text[begin:])


def _line(section: Section, at: int) -> int:
    return section.line + section.text.count("\n", 0, at)


class _Words:
    """A template that is words only."""

    variables: tuple[str, ...] = ()

    def __init__(self, text: str) -> None:
        self._text = text

    def render(self, values: Mapping[str, object]) -> Filled:
        """The words."""
        return self._text, (), ()
