"""The prompt: what an application says to a model, with places for variables."""

from __future__ import annotations

import html
import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.messages import PromptRef, Request
from llmops_sdk.prompts._content import PromptContent
from llmops_sdk.prompts._messages import compile_sections, fill
from llmops_sdk.prompts._parameters import parameter_of
from llmops_sdk.prompts._sections import Section
from llmops_sdk.prompts._source import source_in_force
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
        output: The JSON schema of the answer; `None` where the answer is free.
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
        output: Mapping[str, Any] | None = None,
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
            output: The JSON schema of the answer.
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
        self._content = PromptContent(
            sections=tuple(sections), variables=declared, parameters=dict(parameters or {}), output=output
        )
        self._names = frozenset(declared)
        self._typed = tuple(one for one in declared.values() if one.type != "any")
        self._set = dict(self._content.parameters)
        if output is not None:
            self._set["response_schema"] = output
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
        **parameters: Any,
    ) -> Prompt:
        """A prompt from a text in the code.

        Args:
            text: The user's message; `{{ name }}` and `{{ name.attribute }}` are variables, all other braces are text.
            system: The system's message, a template as well.
            name: Name for traces and errors.
            variables: What is known of the variables, as in a file: a type name, or a mapping with `type`, `trusted`,
                `optional` and `default`. Those that are not named are required and not trusted.
            parameters: Fields of `Request`: `temperature`, `top_p`, `max_tokens`, `stop`, `seed`, `n`, `tools`,
                `tool_choice`, `response_schema`, `adapter`, `extra`.

        Raises:
            ConfigurationError: A parameter or a declaration is unknown or out of range.
            PromptError: The text is not a template.
        """
        for given in (text, system or ""):
            if not isinstance(given, str):
                raise ConfigurationError(f"a prompt is made of text, not of {type(given).__name__}")
        declared = {key: variable_of(key, value) for key, value in (variables or {}).items()}
        checked = {key: parameter_of(key, value) for key, value in parameters.items() if value is not None}
        sections = [Section("user", text)] if system is None else [Section("system", system), Section("user", text)]
        return cls(sections, name=name or "inline", variables=declared, parameters=checked)

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
            found = source_in_force(spec, None)
            if found is not None:
                return found
            # By name: `repository` imports third-party libraries, and it imports this module.
            repository = importlib.import_module("llmops_sdk.prompts.repository").repository_here()
        return repository.get(spec)

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
    def output(self) -> Mapping[str, Any] | None:
        """The JSON schema of the answer."""
        return self._content.output

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
