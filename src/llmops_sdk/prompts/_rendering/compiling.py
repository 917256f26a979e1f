"""The sections of a prompt, compiled: templates cut, conversations and examples put in their places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn

from llmops_sdk.errors import PromptError
from llmops_sdk.messages import Message
from llmops_sdk.prompts._examples import Examples, ShownExamples
from llmops_sdk.prompts._history import History
from llmops_sdk.prompts._rendering.filling import CompiledSection, fill, message_of
from llmops_sdk.prompts._rendering.images import with_images
from llmops_sdk.prompts._sections import Section
from llmops_sdk.prompts._templates import PartialReader, compile_template
from llmops_sdk.prompts._variables import Variable

__all__ = ["compile_sections"]


def compile_sections(
    sections: Sequence[Section],
    variables: Mapping[str, Variable],
    *,
    prompt: str,
    where: str | None,
    examples: Examples | None = None,
    partials: PartialReader | None = None,
) -> tuple[CompiledSection, ...]:
    """The sections of the prompt called `prompt`, compiled.

    Raises:
        PromptError: A text is not a template, a section continues a message that is not there, or examples and their
            place do not fit together.
    """
    compiling = _Compiling(sections, variables, prompt, where, partials)
    compiled = [compiling.section(number) for number in range(len(sections))]
    for number, section in enumerate(sections):
        if section.kind == "examples":
            shown = compiling.examples(examples, compiled, number)
            compiled[number] = compiled[number]._replace(fixed=None, placed=shown)
    return tuple(compiled)


class _Compiling:
    def __init__(
        self,
        sections: Sequence[Section],
        variables: Mapping[str, Variable],
        prompt: str,
        where: str | None,
        partials: PartialReader | None,
    ) -> None:
        self._sections = sections
        self._variables = variables
        self._prompt = prompt
        self._where = where
        self._partials = partials

    def section(self, number: int) -> CompiledSection:
        section = self._sections[number]
        if section.kind == "more" and not (number and self._sections[number - 1].kind in ("message", "more")):
            self._fail(section, "`[+]` continues a message, and none stands before it")
        template = compile_template(
            section.text,
            variables=self._variables,
            prompt=self._prompt,
            where=self._where,
            line=section.line,
            partials=self._partials,
        )
        followed = number + 1 < len(self._sections) and self._sections[number + 1].kind == "more"
        alone = section.kind != "more" and not followed
        if section.kind == "history":
            return CompiledSection(section, template, None, alone, self._history(section))
        fixed = message_of(section, template.render({})) if alone and not template.variables else None
        return CompiledSection(section, template, fixed, alone)

    def _history(self, section: Section) -> History:
        name = section.name or ""
        variable = self._variables.get(name)
        if variable is not None and variable.type not in ("any", "messages"):
            problem = f"`[history]` takes a variable of the type messages, and {name!r} is {variable.type}"
            self._fail(section, problem, variable=name)
        trusted = variable is not None and variable.trusted
        return History(name=name, trusted=trusted, last=section.last, prompt=self._prompt)

    def examples(self, examples: Examples | None, compiled: Sequence[CompiledSection], number: int) -> ShownExamples:
        """What shows the examples whose place is the section of this number."""
        if examples is None:
            self._fail(self._sections[number], "`[examples]` needs `examples:`, and the prompt has none")
        question = _question(compiled, number)
        if not question:
            problem = "`[examples]` asks as the `[user]` message below it does: add one, or write its own text"
            self._fail(self._sections[number], problem)
        asked = {name for section in question for name in section.variables}
        used = {name: Variable(name=name) for section in compiled for name in section.variables}
        variables = {**used, **self._variables}
        images = [name for name in asked if variables[name].type == "image"]

        def ask(values: Mapping[str, object]) -> Message:
            return fill(question, with_images(values, images, self._prompt))[0]

        return ShownExamples(examples, ask, asked=asked, variables=variables, prompt=self._prompt)

    def _fail(self, section: Section, problem: str, *, variable: str | None = None) -> NoReturn:
        at = f"{self._where or self._prompt}:{section.line}"
        raise PromptError(f"{at}: {problem}", prompt=self._prompt, variable=variable)


def _question(compiled: Sequence[CompiledSection], number: int) -> Sequence[CompiledSection]:
    """What asks as an example does: the text at the place of the examples, or else the next user message."""
    if compiled[number].section.text:
        return [compiled[number]]
    for first in range(number + 1, len(compiled)):
        section = compiled[first].section
        if section.kind == "message" and section.role == "user":
            end = first + 1
            while end < len(compiled) and compiled[end].section.kind == "more":
                end += 1
            return compiled[first:end]
    return ()
