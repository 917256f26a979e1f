"""What an import gives: prompts as files, and a list of what is not in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from llmops_sdk.errors import ConfigurationError, PromptError
from llmops_sdk.messages import Role
from llmops_sdk.prompts._files import SUFFIX, Reader, parse_prompt
from llmops_sdk.prompts._files.place import no_siblings
from llmops_sdk.prompts._files.writing import write_prompt
from llmops_sdk.prompts._outputs import Output, output_of
from llmops_sdk.prompts._parameters import parameter_of
from llmops_sdk.prompts._prompt import Prompt
from llmops_sdk.prompts._sections import Section
from llmops_sdk.prompts._variables import NAME, variable_of

__all__ = ["Draft", "Imported", "Left", "file_name"]

_ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "model": "assistant",
}


_RESERVED = (
    *("true", "false", "none", "True", "False", "None", "not", "and", "or", "in", "is", "if", "else"),
    *("loop", "self", "super"),
)
"""What is no variable in a statement, whatever it is in a prompt without statements."""


class Left(NamedTuple):
    """Something that did not carry over.

    Attributes:
        source: The file, and the prompt in it where it holds several.
        what: What it is, in the words of its format.
        why: Why not, or what to do.
    """

    source: str
    what: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """One file that an import makes.

    Attributes:
        path: Where it belongs, relative to the folder of the prompts.
        text: What it holds.
        source: What it was made from.
    """

    path: str
    text: str
    source: str


class Draft:
    """A prompt while it is imported: what is known of it is put in, and `file` makes a prompt file of it.

    Attributes:
        name: Its name.
        source: What it is made from.
        left: What does not carry over.
    """

    def __init__(self, name: str, source: str, left: list[Left]) -> None:
        self.name = name
        self.source = source
        self.left = left
        self.description = ""
        self._parameters: dict[str, Any] = {}
        self._variables: dict[str, dict[str, Any]] = {}
        self._names: dict[str, str] = {}
        self._output: Output | None = None
        self._sections: list[Section] = []

    def leave(self, what: str, why: str) -> None:
        """Note what does not carry over, once."""
        one = Left(self.source, what, why)
        if one not in self.left:
            self.left.append(one)

    def parameter(self, name: str, value: Any, said: str) -> None:
        """Set a parameter of the request, called `said` in the source."""
        if name == "extra":
            self._parameters.setdefault("extra", {}).update(value)
            return
        try:
            made = parameter_of(name, value)
        except ConfigurationError as exc:
            self.leave(said, str(exc))
        else:
            self._parameters[name] = made

    def output(self, schema: object, said: str) -> None:
        """Set the schema of the answer, called `said` in the source."""
        try:
            self._output = output_of(schema)
        except ConfigurationError as exc:
            self.leave(said, str(exc))

    def variable(self, said: str, **declared: Any) -> str:
        """Declare a variable, or say more of it; gives its name, which differs where a template takes no such name."""
        name = self._names.get(said)
        if name is None:
            name = said
            if not re.fullmatch(NAME, said) or said in _RESERVED or said in self._names.values():
                name = re.sub(r"\W", "_", said).lstrip("_0123456789") or "variable"
                while name in _RESERVED or name in self._names.values():
                    name += "_"
                self.leave(f"the name {said!r} of a variable", f"it is called {name!r} now")
            self._names[said] = name
        known = self._variables.setdefault(name, {})
        try:
            variable_of(name, {**known, **declared})
        except ConfigurationError as exc:
            self.leave(f"the declaration of {said!r}", str(exc))
        else:
            known.update(declared)
        return name

    def knows(self, name: str) -> bool:
        """Whether it is the name of a variable."""
        return name in self._variables

    def is_mapping(self, name: str) -> bool:
        """Whether it is the name of a variable that is declared as a mapping."""
        return name in self._variables and variable_of(name, self._variables[name]).type == "mapping"

    def message(self, role: str, template: str, said: str | None = None) -> None:
        """Add a message: a template in our own syntax."""
        if role not in _ROLES:
            self.leave(f"a message of the role {role!r}", "there are system, user and assistant")
            return
        if not template.strip():
            if template or said is not None:
                self.leave(f"an empty message of the role {role!r}", "a message has a text")
            return
        text = template.replace("\r\n", "\n").replace("\r", "\n")
        if text != template:
            self.leave("carriage returns", "the lines of a prompt file end with line feeds")
        self._sections.append(Section(_ROLES[role], text))

    def history(self, said: str) -> None:
        """Add a place for the messages of a conversation."""
        self._sections.append(Section("user", "", kind="history", name=self.variable(said, type="messages")))

    def file(self, read: Reader = no_siblings) -> Imported | None:
        """The file; `None` if there is nothing in it, or it would not be read, which is noted.

        Args:
            read: Reads what it includes.
        """
        if not self._sections:
            self.leave("all of it", "it has no message")
            return None
        where = self.name + SUFFIX
        try:
            prompt = Prompt(
                self._sections,
                name=self.name,
                variables={name: variable_of(name, declared) for name, declared in self._variables.items()},
                parameters=self._parameters,
                output=self._output,
                where=where,
                partials=read,
            )
            text = write_prompt(prompt.content, description=self.description)
            parse_prompt(text.encode(), name=self.name, where=where, read=read)
        except (PromptError, ConfigurationError) as exc:
            self.leave("all of it", f"it makes no prompt of ours: {exc}")
            return None
        return Imported(path=where, text=text, source=self.source)


def file_name(said: object, otherwise: str) -> str:
    """A name for a prompt file from the name that the source gives, or from that of its file."""
    name = said if isinstance(said, str) and said.strip() else otherwise
    parts = [re.sub(r"[^\w.-]+", "-", part.strip()).lstrip(".").strip("-") for part in name.split("/")]
    return "/".join(part for part in parts if part) or "prompt"
