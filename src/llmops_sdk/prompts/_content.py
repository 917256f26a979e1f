"""What a prompt renders from: all that makes two versions the same or different."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from llmops_sdk.prompts._examples import Examples
from llmops_sdk.prompts._sections import Section
from llmops_sdk.prompts._variables import Variable, said_of

__all__ = ["PromptContent", "Reference", "canonical"]


class Reference(NamedTuple):
    """What a key of the front matter says, where that names other files.

    Attributes:
        written: The value of the key, as written.
        became: What the prompt has from it: all that it renders from, and its hash, is made of this.
    """

    written: object
    became: object


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptContent:
    """What a prompt renders from, whatever its name, its commit or its description.

    Attributes:
        sections: Its body, as written.
        variables: Its variables by name, in order: those that are declared, then others that the body uses.
        parameters: What it sets of a request.
        output: The JSON schema of the answer; `None` where the answer is free.
        examples: What `[examples]` stands for.
        references: Keys of the front matter that name other files. No part of what is rendered, or compared.
        partials: What its body includes: texts by their path.
    """

    sections: tuple[Section, ...]
    variables: Mapping[str, Variable] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    output: Mapping[str, Any] | None = None
    examples: Examples | None = None
    references: Mapping[str, Reference] = field(default_factory=dict, compare=False)
    partials: Mapping[str, str] = field(default_factory=dict)

    def hash(self) -> str:
        """SHA-256, 64 hexadecimal digits. What is not used is not in it, so what is added later leaves it as it is."""
        content = {
            "sections": [_used(one._replace(line=1)._asdict()) for one in self.sections],
            "variables": {name: _declared(one) for name, one in self.variables.items()},
            "parameters": self.parameters,
            "output": self.output,
            "examples": None if self.examples is None else self.examples.plain(),
            "partials": self.partials or None,
        }
        return hashlib.sha256(canonical(_used(content)).encode("utf-8", "surrogatepass")).hexdigest()


def canonical(value: object) -> str:
    """The text of which hashes are made: the same for all that is the same, in whatever order its keys are."""
    try:
        return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=_plain)
    except TypeError:  # the keys of a mapping are of several kinds, or of one that JSON does not have
        return canonical(_in_pairs(value))


def _in_pairs(value: object) -> object:
    """The same without mappings: each is a list of its keys, with their kinds, and its values."""
    if isinstance(value, Mapping):
        pairs = [[type(key).__name__, canonical(key), _in_pairs(one)] for key, one in value.items()]
        return sorted(pairs, key=lambda pair: pair[:2])
    return [_in_pairs(one) for one in value] if isinstance(value, list | tuple) else value


def _used(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}


def _declared(variable: Variable) -> dict[str, object]:
    """What is said of a variable, and not to people only; `schema` says what its annotation does."""
    return {key: value for key, value in said_of(variable).items() if key != "description"}


def _plain(value: object) -> object:
    """What stands for a value that is no JSON."""
    if isinstance(value, Mapping):  # other than a `dict`
        return dict(value)
    if isinstance(value, dt.date):  # the default of a variable; a time is a date, too
        return value.isoformat()
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    return type(value).__qualname__  # an engine's own object, in `extra`: its `repr` may hold an address
