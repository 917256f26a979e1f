"""The prompt: what an application says to a model, with places for variables."""

from __future__ import annotations

import copy
import html
import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.messages import PromptRef, Request
from llmops_sdk.prompts._content import PromptContent
from llmops_sdk.prompts._messages import compile_sections, fill
from llmops_sdk.prompts._outputs import Output, output_of
from llmops_sdk.prompts._parameters import parameter_of
from llmops_sdk.prompts._sections import Section
from llmops_sdk.prompts._split import Split, arms_of
from llmops_sdk.prompts._variables import Variable, check_types, complete, variable_of
from llmops_sdk.stations import Station

if TYPE_CHECKING:
    from llmops_sdk.prompts.repository import PromptRepository

__all__ = ["Prompt"]


class Prompt(Station):
    """Messages with places for variables, and parameters for the model. Immutable.

    Make one with `from_string`, or keep it as a file in a git repository and `load` it. `prompt | engine` is a
    pipeline.

    Attributes:
        name: Its name, `"folder/name"`; `"inline"` for a text without a name.
        description: What it is for, in words.
        version: The version that was asked for (a label, tag, branch or commit); `None` for a text, and for a file
            as it lies in the working tree.
        commit: The commit that it was read from, 40 hexadecimal digits; `None` for what no commit holds.
        hash: SHA-256 (64 hexadecimal digits) of its messages, variables and parameters: two prompts with the same
            hash render the same requests, whatever their commit, name or description.
        variables: Names of its variables, in order.
        parameters: What it sets of a request: `temperature`, `max_tokens`, ...
        output: The type of the answer, where it was given one, else the JSON schema; `None` where the answer is free.
        sections: Its body, as written.
        content: All that it renders from.
        ref: Its name, version, commit and hash, as requests carry them.

    Example:
        >>> prompt = Prompt.from_string("Say hello to {{ name }}.", system="Be brief.", temperature=0)
        >>> request = prompt.render(name="Ada")
        >>> request.messages[1].text, request.temperature
        ('Say hello to Ada.', 0)
        >>> request.messages[1].origins[0].source
        'variable:name'
    """

    def __init__(
        self,
        sections: Sequence[Section],
        /,
        *,
        name: str = "inline",
        description: str = "",
        variables: Mapping[str, Variable] | None = None,
        parameters: Mapping[str, Any] | None = None,
        output: Output | None = None,
        version: str | None = None,
        commit: str | None = None,
        where: str | None = None,
    ) -> None:
        """Compile a prompt. `from_string` and `load` are the usual ways to get one.

        Args:
            sections: Its messages, at least one.
            name: Its name.
            description: What it is for.
            variables: What is known of its variables, by name; others found in the text are required and untrusted.
            parameters: What it sets of a request, already checked.
            output: What the answer has to be.
            version: The version that was asked for.
            commit: The commit that it comes from.
            where: The file that it comes from, for errors.

        Raises:
            PromptError: A text is not a template.
        """
        declared = dict(variables or {})
        self._compiled = compile_sections(sections, declared, prompt=name, where=where)
        for section in self._compiled:
            for used in section.variables:
                declared.setdefault(used, Variable(name=used))
        self._output = output
        self._content = PromptContent(
            sections=tuple(sections),
            variables=declared,
            parameters=dict(parameters or {}),
            output=None if output is None else output.schema,
        )
        self._names = frozenset(declared)
        self._typed = tuple(one for one in declared.values() if one.type != "any")
        self._set = dict(self._content.parameters)
        if output is not None:
            self._set["response_schema"] = output.schema
        self._description = description
        self._ref = PromptRef(name=name, version=version, commit=commit, hash=self._content.hash())

    @classmethod
    def from_string(
        cls,
        text: str,
        /,
        *,
        system: str | None = None,
        name: str | None = None,
        variables: Mapping[str, Any] | None = None,
        output: Any = None,
        **parameters: Any,
    ) -> Prompt:
        """A prompt from a text in the code.

        Args:
            text: The user's message; `{{ name }}` and `{{ name.attribute }}` are variables, all other braces are text.
            system: The system's message, a template as well.
            name: Name for traces and errors.
            variables: What is known of the variables, as in a file: a type name, or a mapping with `type`, `trusted`,
                `optional` and `default`. Those that are not named are required and not trusted.
            output: What the answer has to be: a JSON schema, a shorthand such as `{"answer": "str"}`, a pydantic model,
                a dataclass, or any other type that pydantic knows.
            parameters: Fields of `Request`: `temperature`, `top_p`, `max_tokens`, `stop`, `seed`, `n`, `tools`,
                `tool_choice`, `response_schema`, `adapter`, `extra`.

        Raises:
            ConfigurationError: A parameter or a declaration is unknown or out of range, or the output is none.
            PromptError: The text is not a template.
        """
        for given in (text, system or ""):
            if not isinstance(given, str):
                raise ConfigurationError(f"a prompt is made of text, not of {type(given).__name__}")
        declared = {key: variable_of(key, value) for key, value in (variables or {}).items()}
        checked = {key: parameter_of(key, value) for key, value in parameters.items() if value is not None}
        sections = [Section("user", text)] if system is None else [Section("system", system), Section("user", text)]
        answer = None if output is None else output_of(output)
        if answer is not None and "response_schema" in checked:
            raise ConfigurationError("`output` and `response_schema` say the same: keep `output`")
        return cls(sections, name=name or "inline", variables=declared, parameters=checked, output=answer)

    @classmethod
    def load(cls, spec: str, /, *, repository: PromptRepository | None = None) -> Prompt:
        """A prompt from the git repository around the current folder.

        Args:
            spec: `"folder/name@version"`: the file `prompts/folder/name.prompt.md` at a label, tag, branch or commit.
                Without a version, the file as it lies in the working tree.
            repository: Where to look instead.

        Raises:
            PromptError: There is no such prompt or version, or its file is broken.
        """
        if repository is None:
            # By name: `repository` imports third-party libraries, and it imports this module.
            repository = importlib.import_module("llmops_sdk.prompts.repository").repository_here()
        return repository.get(spec)

    @classmethod
    def split(
        cls,
        arms: Mapping[str, float] | Iterable[tuple[Any, ...]],
        /,
        *,
        key: str,
        of: str | None = None,
        salt: str | None = None,
        repository: PromptRepository | None = None,
    ) -> Split:
        """Several versions of a prompt, each for a share of the callers, who keep the version that they got.

        Args:
            arms: A share, `0 <= share <= 1`, for each `"folder/name@version"`; or a list of pairs of a prompt (or such
                a name) and its share, with a name for the arm behind. The shares sum to 1.
            key: The variable, or the tag of the run, by which callers are told apart.
            of: Name of a prompt: the arms are versions of it then, `{"prod": 0.9, "candidate": 0.1}`.
            salt: What makes the split independent of others by the same key; by default the name of the prompt.
            repository: Where to read, in place of the git repository around the current folder.

        Raises:
            ConfigurationError: The shares or names make no sense.
            PromptError: An arm cannot be read, or two take the same variable as different types.
        """
        return Split(arms_of(arms, of), key=key, salt=salt, repository=repository)

    @property
    def name(self) -> str:
        """Its name."""
        return self._ref.name

    @property
    def description(self) -> str:
        """What it is for."""
        return self._description

    @property
    def version(self) -> str | None:
        """The version that was asked for."""
        return self._ref.version

    @property
    def commit(self) -> str | None:
        """The commit that it was read from."""
        return self._ref.commit

    @property
    def hash(self) -> str:
        """SHA-256 of what it renders from."""
        return self._ref.hash or ""

    @property
    def ref(self) -> PromptRef:
        """What requests carry of it."""
        return self._ref

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of its variables, in order."""
        return tuple(self._content.variables)

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What it sets of a request (a copy)."""
        return dict(self._content.parameters)

    @property
    def output(self) -> Any:
        """The type of the answer where it was given one, else its JSON schema; `None` where the answer is free."""
        if self._output is None:
            return None
        return self._output.schema if self._output.type is None else self._output.type

    def output_for(self, _ref: PromptRef | None, /) -> Output | None:
        """What the answer to a request of this prompt has to be; pipelines ask it of whatever renders."""
        return self._output

    def with_output(self, output: Any, /) -> Self:
        """The same prompt with another output, which takes the place of the one in its file.

        Args:
            output: As for `from_string`.

        Raises:
            ConfigurationError: It is no output.

        Example:
            >>> Prompt.from_string("Who?").with_output({"name": "str"}).render().response_schema["required"]
            ['name']
        """
        answer = output_of(output)
        if answer.repairs is None and self._output is not None:
            answer = replace(answer, repairs=self._output.repairs)
        other = copy.copy(self)
        other._output = answer
        other._content = replace(self._content, output=answer.schema)
        other._set = {**self._set, "response_schema": answer.schema}
        other._ref = replace(self._ref, hash=other._content.hash())
        return other

    @property
    def sections(self) -> tuple[Section, ...]:
        """Its body, as written."""
        return self._content.sections

    @property
    def content(self) -> PromptContent:
        """All that it renders from."""
        return self._content

    def render(self, /, **variables: object) -> Request:
        """The request for these variables.

        Raises:
            PromptError: A variable is missing, unknown, `None`, or of the wrong type; it names the variable.
        """
        return self.render_from(variables)

    def render_from(self, variables: Mapping[str, object], /) -> Request:
        """`render`, with the variables in a mapping."""
        if variables.keys() != self._names:
            variables = complete(variables, self._content.variables, self.name)
        if self._typed:
            check_types(variables, self._typed, self.name)
        messages = fill(self._compiled, variables, self.name)
        return Request(messages=tuple(messages), prompt=self._ref, **self._set)

    def __repr__(self) -> str:
        version = f"@{self.version}" if self.version else ""
        variables = f" ({', '.join(self.variables)})" if self.variables else ""
        return f"<Prompt {self.name}{version}{variables} {self.hash[:8]}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left;vertical-align:top'>{section.name or section.role}</th>"
            f"<td style='text-align:left;white-space:pre-wrap'>{html.escape(section.text)}</td></tr>"
            for section in self.sections
        )
        return f"<table><caption>{html.escape(repr(self))}</caption>{rows}</table>"
