"""The prompt: what an application says to a model, with places for variables."""

from __future__ import annotations

import html
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.messages import Message, PromptRef, Request
from llmops_sdk.prompts._content import PromptContent, Reference
from llmops_sdk.prompts._examples import Example, Examples, examples_from
from llmops_sdk.prompts._inline import parts_from_strings
from llmops_sdk.prompts._outputs import Output, output_of
from llmops_sdk.prompts._rendering import CompiledSection, compile_sections, fill, with_images
from llmops_sdk.prompts._sections import Section, with_place_for_examples
from llmops_sdk.prompts._split_of import SplitOf
from llmops_sdk.prompts._stand_in import source_in_force, source_is_in_force
from llmops_sdk.prompts._templates import PartialReader, reader_of
from llmops_sdk.prompts._variables import Variable, check_types, checks_of, complete
from llmops_sdk.stations import Station

if TYPE_CHECKING:
    from llmops_sdk.prompts._fitting import CachePrefix, FittedPrompt
    from llmops_sdk.prompts._rendering.reading import Use
    from llmops_sdk.prompts.repository import PromptRepository
    from llmops_sdk.protocols import EngineLike
    from llmops_sdk.tokens import TokenCounter

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
        examples: Examples | None = None,
        references: Mapping[str, Reference] | None = None,
        version: str | None = None,
        commit: str | None = None,
        where: str | None = None,
        partials: PartialReader | None = None,
    ) -> None:
        """Compile a prompt. `from_string` and `load` are the usual ways to get one.

        Args:
            sections: Its messages, at least one.
            name: Its name.
            description: What it is for.
            variables: What is known of its variables, by name; others found in the text are required and untrusted.
            parameters: What it sets of a request, already checked.
            output: What the answer has to be.
            examples: What `[examples]` stands for.
            references: What its file refers to other files for, see `PromptContent.references`.
            version: The version that was asked for.
            commit: The commit that it comes from.
            where: The file that it comes from, for errors.
            partials: Reads what its texts include.

        Raises:
            ConfigurationError: It is a text.
            PromptError: A text is not a template.
        """
        if isinstance(sections, str):
            raise ConfigurationError("a prompt is made of `Section`s; of a text `Prompt.from_string(...)` makes one")
        declared = dict(variables or {})
        self._compiled = compile_sections(
            sections, declared, prompt=name, where=where, examples=examples, partials=partials
        )
        included: dict[str, str] = {}
        for section in self._compiled:
            included |= section.template.partials
            for used in section.variables:
                declared.setdefault(used, Variable(name=used, line=section.section.line))
        self._output = output
        self._content = PromptContent(
            sections=tuple(sections),
            variables=declared,
            parameters=dict(parameters or {}),
            output=None if output is None else output.schema,
            examples=examples,
            references=dict(references or {}),
            partials=included,
        )
        self._variable_names = frozenset(declared)
        self._checks = checks_of(declared.values())
        self._where = where
        self._image_variables = tuple(name for name, one in declared.items() if one.type == "image")
        self._description = description
        self._ref = PromptRef(name=name, version=version, commit=commit, hash=self._content.hash())
        sets = dict(self._content.parameters)
        if output is not None:
            sets["response_schema"] = output.schema
        self._without_messages = Request(messages=(), prompt=self._ref, **sets)

    @classmethod
    def from_string(
        cls,
        text: str,
        /,
        *,
        system: str | None = None,
        name: str | None = None,
        variables: Mapping[str, Any] | None = None,
        examples: Sequence[Mapping[str, Any]] | None = None,
        partials: Mapping[str, str] | None = None,
        output: Any = None,
        style: Literal["template", "f-string"] = "template",
        **parameters: Any,
    ) -> Prompt:
        """A prompt from a text in the code.

        Args:
            text: The user's message, a template: `{{ name }}` and `{{ name.attribute }}` are variables, and what else
                Jinja has (`{% if %}`, `{% for %}`, filters) is there; all other braces are text.
            system: The system's message, a template as well.
            name: Name for traces and errors.
            variables: What is known of the variables, as in a file: a type in words (`"list[str]"`), or a mapping with
                `type`, `trusted`, `optional`, `default`, `fence` and keywords of JSON Schema; or a Python type, such
                as `int`, `Literal["a", "b"]` or a pydantic model. Those that are not named are required and not
                trusted.
            examples: Examples of questions and answers that stand before the text: values for its variables, and
                `answer`. `with_examples` says how they are chosen.
            partials: Texts that the messages include, by path: `{% include "shared/tone.md" %}`.
            output: What the answer has to be: a JSON schema, a shorthand such as `{"answer": "str"}`, a pydantic model,
                a dataclass, or any other type that pydantic knows.
            style: `"f-string"` for texts with `{name}` in them, where braces that are text are written twice.
            parameters: Fields of `Request`: `temperature`, `top_p`, `max_tokens`, `stop`, `seed`, `n`, `tools`
                (definitions, or Python functions), `tool_choice`, `response_schema`, `adapter`, `extra`.

        Raises:
            ConfigurationError: A parameter or a declaration is unknown or out of range, or the output is none.
            PromptError: The text is not a template.
        """
        sections, others = parts_from_strings(
            text,
            system,
            variables=variables,
            examples=examples,
            partials=partials,
            output=output,
            style=style,
            parameters=parameters,
        )
        return cls(sections, name=name or "inline", **others)

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
            return source_in_force(spec, None) or _repository_here().get(spec)
        return repository.get(spec)

    @classmethod
    async def aload(cls, spec: str, /, *, repository: PromptRepository | None = None) -> Prompt:
        """`load` for the event loop: what is not known yet is read in a thread."""
        import asyncio  # noqa: PLC0415  (half of what the import of this module would take)

        if repository is None:
            if source_is_in_force():
                return await asyncio.to_thread(cls.load, spec)
            repository = await asyncio.to_thread(_repository_here)
        return await repository.aget(spec)

    split = SplitOf()

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
        return None if self._output is None else self._output.wanted

    def output_for(self, _ref: PromptRef | None, /) -> Output | None:
        """What the answer to a request of this prompt has to be; pipelines ask it of whatever renders."""
        return self._output

    def with_output(self, output: Any, /) -> Prompt:
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
        return self._with(output=answer)

    @property
    def sections(self) -> tuple[Section, ...]:
        """Its body, as written."""
        return self._content.sections

    @property
    def content(self) -> PromptContent:
        """All that it renders from."""
        return self._content

    @property
    def body(self) -> str:
        """Its sections as a file has them, without the front matter: headings, and the texts under them."""
        # By name: the module loads this one.
        written: str = importlib.import_module("llmops_sdk.prompts._files.writing").body_text(self._content.sections)
        return written

    def with_body(self, text: str, /) -> Prompt:
        r"""The same prompt with another body: all that its front matter would say stays.

        Args:
            text: Headings and texts, as in a file; `body` is that of this prompt.

        Raises:
            PromptError: The text is no body, or not a template; lines are counted from its first one.

        Example:
            >>> prompt = Prompt.from_string("{{ question }}", temperature=0)
            >>> better = prompt.with_body("[system]\nBe brief.\n\n[user]\n{{ question }}")
            >>> [section.role for section in better.sections], better.parameters
            (['system', 'user'], {'temperature': 0})
        """
        # By name: the module loads this one.
        sections = importlib.import_module("llmops_sdk.prompts._files.parsing").body_sections(text, self.name)
        return self._with(sections=sections)

    def uses(self) -> tuple[Use, ...]:
        """Each place at which a text of it, or a partial, names a variable."""
        reading = importlib.import_module(
            "llmops_sdk.prompts._rendering.reading"
        )  # by name: linters ask, programs do not
        return tuple(reading.uses_of(self._compiled))

    def least_request(self) -> Request:
        """What each of its requests has at least: no variable, no optional part, no section with a priority.

        It says how long the prompt is before anybody has said anything; it is not for sending.
        """
        reading = importlib.import_module("llmops_sdk.prompts._rendering.reading")
        least: Sequence[Message] = reading.least_messages(self._compiled, self._content)
        return self._without_messages.with_messages(least)

    def with_examples(self, cases: Sequence[Mapping[str, Any] | Example] | None = None, /, **options: Any) -> Prompt:
        """The same prompt with other examples, or with another choice of them.

        Args:
            cases: Mappings of values for variables and an `answer`; without them, those that it has. Where it had none,
                they stand before its last user message.
            options: `count`, how many a request shows; `select`, which: `"first"`, `"random"`, `"similar"`, or a
                function of the request's variables (a mapping) and all examples that returns those to show; `seed`,
                for `"random"`.

        Raises:
            ConfigurationError: An example or an option is wrong.
            PromptError: An example does not fit the prompt.

        Example:
            >>> prompt = Prompt.from_string("{{ sum }}").with_examples([{"sum": "2 + 2", "answer": "4"}])
            >>> [message.text for message in prompt.render(sum="3 + 3").messages]
            ['2 + 2', '4', '3 + 3']
        """
        content = self._content
        had = content.examples
        if cases is None and had is None:
            raise ConfigurationError(f"the prompt {self.name!r} has no examples to choose from: give some")
        if had is not None:
            options = {"count": had.count, "select": had.select, "seed": had.seed, **options}
        examples = examples_from(had.cases if cases is None and had is not None else cases or (), **options)
        return self._with(sections=with_place_for_examples(content.sections), examples=examples)

    def _with(self, **changes: Any) -> Prompt:
        """The same prompt, some of what it was made of changed."""
        content = self._content
        given: dict[str, Any] = {
            "sections": content.sections,
            "name": self.name,
            "description": self.description,
            "variables": content.variables,
            "parameters": content.parameters,
            "output": self._output,
            "examples": content.examples,
            "references": content.references,
            "partials": reader_of(content.partials),
            "version": self.version,
            "commit": self.commit,
            "where": self._where,
        }
        given |= changes
        return Prompt(given.pop("sections"), **given)

    def to_text(self) -> str:
        """The prompt as a file, in one form for all that say the same: comments of a file it came from are not in it.

        Parsed, it has the same hash.

        Raises:
            ConfigurationError: It holds what no file can: a class as a parameter, a function as selector, a type as
                output, which `with_output(prompt.content.output)` makes a schema.
        """
        output = self._output
        if output is not None and output.type is not None:
            raise ConfigurationError(
                f"the output of the prompt {self.name!r} is a type, and no file holds one: keep its schema with"
                " `with_output(prompt.content.output)`"
            )
        # By name: the module loads this one.
        writing = importlib.import_module("llmops_sdk.prompts._files.writing")
        repairs = None if output is None else output.repairs
        text: str = writing.write_prompt(self._content, description=self.description, repairs=repairs)
        return text

    def render(self, /, **variables: object) -> Request:
        """The request for these variables.

        Raises:
            PromptError: A variable is missing, unknown, `None`, or of the wrong type; it names the variable.
        """
        return self.render_from(variables)

    def render_from(self, variables: Mapping[str, object], /) -> Request:
        """`render`, with the variables in a mapping."""
        if variables.keys() != self._variable_names:
            variables = complete(variables, self._content.variables, self.name, self._where)
        if self._checks:
            check_types(variables, self._checks, self.name, self._where)
        if self._image_variables:
            variables = with_images(variables, self._image_variables, self.name)
        return self._without_messages.with_messages(fill(self._compiled, variables))

    def fit(
        self,
        tokens: int | str | EngineLike,
        *,
        counter: TokenCounter = None,
        marker: str = "[...]",
        summariser: EngineLike | None = None,
        summary_share: float = 0.3,
    ) -> FittedPrompt:
        """This prompt with a budget: its requests have at most so many tokens.

        Sections with a priority are cut where that is needed, the lowest first, and of equal ones the last; what was
        cut is in `fitted.report(...)` and in the record of a run. A section without a priority is never touched.

        Args:
            tokens: Most tokens of a request, over 0; or an engine (or `"window"`, with an engine as `counter`): its
                window, less the prompt's `max_tokens`.
            counter: What counts: an engine, the name of a model of OpenAI or of a tiktoken encoding, the path of a
                `tokenizer.json`, a tokenizer, a function of a text, or `"estimate"`. By default the engine of `tokens`,
                or else a tiktoken encoding that is at hand, or an estimate, which the report says.
            marker: Stands where something was cut out of a text; `""` for none.
            summariser: The engine for sections with `shrink=summarise`.
            summary_share: Share of what is left of a run's deadline that one summary may take, over 0 and at most 1.

        Raises:
            ConfigurationError: An argument makes no sense.
            MissingDependencyError: The counter needs a library that is not installed.

        Example:
            >>> prompt = Prompt([Section("user", "Sum up: {{ text }}", priority=1)])
            >>> fitted = prompt.fit(30, counter=lambda text: len(text.split()))
            >>> fitted.render(text="one two three four five " * 9).messages[0].text
            'Sum up: one two three four five one two three four five one [...]'
        """
        fitting = importlib.import_module("llmops_sdk.prompts._fitting")  # by name: most prompts need none of it
        source = fitting.Source(
            ref=self._ref,
            variables=self._content.variables,
            sections=self._content.sections,
            output=self._output,
            max_tokens=self._content.parameters.get("max_tokens"),
            parts=fitting.Parts(self.name, self._compiled, self._render_sections),
        )
        fitted: FittedPrompt = fitting.FittedPrompt(
            source, tokens, counter=counter, marker=marker, summariser=summariser, summary_share=summary_share
        )
        return fitted

    def _render_sections(self, sections: Sequence[CompiledSection], variables: Mapping[str, object]) -> Request:
        """The request of its sections, or of others in their place for values that it has rendered before."""
        if sections is self._compiled:
            return self.render_from(variables)
        return self._without_messages.with_messages(
            fill(sections, with_images(variables, self._image_variables, self.name))
        )

    @property
    def cache_prefix_tokens(self) -> int:
        """How many tokens all its requests begin with, whatever the variables: what caches of prompts can keep.

        Counted as `cache_prefix()` does, which says more.
        """
        return self.cache_prefix().tokens

    def cache_prefix(self, counter: TokenCounter = None) -> CachePrefix:
        """What all its requests begin with: their tokens up to the first variable; and which variable comes too early.

        Args:
            counter: As for `fit`.

        Raises:
            ConfigurationError: The counter counts nothing.
            MissingDependencyError: The counter needs a library that is not installed.
        """
        fitting = importlib.import_module("llmops_sdk.prompts._fitting")
        counts = importlib.import_module("llmops_sdk.tokens").counter_of(counter)
        found: CachePrefix = fitting.cache_prefix(self._compiled, self._content.parameters, counts)
        return found

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


def _repository_here() -> PromptRepository:
    # By name: `repository` imports third-party libraries, and it imports this module.
    found: PromptRepository = importlib.import_module("llmops_sdk.prompts.repository").repository_here()
    return found
