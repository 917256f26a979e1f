"""Sections: the stretches that a prompt's body is cut into, and the headings that begin them.

A heading is a line `[word]` or `[word key=value ...]` of its own. `[system]`, `[user]` and `[assistant]` begin a
message of that role, `[+]` begins another section of the same message, `[history]` stands for the messages of a
conversation, and `[examples]` for examples of questions and answers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.messages import Role
from llmops_sdk.prompts._variables import NAME, did_you_mean

__all__ = [
    "ROLES",
    "Heading",
    "Section",
    "SectionKind",
    "Shrink",
    "heading_line",
    "heading_of",
    "is_heading",
    "way_of",
    "with_place_for_examples",
]

SectionKind: TypeAlias = Literal["message", "more", "history", "examples"]
"""`"message"` begins a message, `"more"` continues the one before, `"history"` stands for a variable's messages,
`"examples"` for the examples of the prompt."""

Shrink: TypeAlias = Literal["drop", "start", "end", "middle", "oldest", "summarise"]
"""How a section is made shorter: left out; its variables cut at the start, at the end or in the middle; the oldest
messages of a history left out; or said in fewer words by an engine."""

ROLES: tuple[Role, ...] = ("system", "user", "assistant")

_HEADING = re.compile(r"\[([A-Za-z]+|\+)((?:[ \t]+[a-z_]+=[^\s\]=]+)*)[ \t]*\][ \t]*")
_MORE, _HISTORY, _EXAMPLES = "+", "history", "examples"
_WORDS: Mapping[str, tuple[Role | None, SectionKind]] = {
    **{role: (role, "message") for role in ROLES},
    _MORE: (None, "more"),
    _HISTORY: ("user", "history"),
    _EXAMPLES: ("user", "examples"),
}
"""Word of a heading -> whose section it begins, and of which kind."""
_OPTIONS = ("name", "priority", "shrink")
_OPTIONS_OF = {_HISTORY: (*_OPTIONS, "last")}
"""Those of the words that have more."""
_FORMS = {
    "name": (NAME, "is no name: write letters, digits and `_`, such as `name=sources`"),
    "priority": (r"-?\d{1,9}", "is no whole number"),
    "last": (r"[1-9]\d{0,8}", "is no number of messages, such as `last=10`"),
}
"""Regular expression of what an option may be, and what is wrong with all else."""
_OF_HISTORIES: tuple[Shrink, ...] = ("oldest", "drop", "summarise")
_OF_EXAMPLES: tuple[Shrink, ...] = ("end", "start", "drop")
_OF_TEXTS: tuple[Shrink, ...] = ("end", "start", "middle", "drop", "summarise")


class Section(NamedTuple):
    """One section of a prompt, as written.

    Attributes:
        role: Who speaks.
        text: The template; empty for a history; for examples the template of a question, or empty for that of the next
            user message.
        line: Line of the file on which the text begins; for errors only.
        kind: What it is, see `SectionKind`.
        name: Its name, for budgets and reports; for a history the variable that holds the messages.
        priority: Its weight when the prompt has to be shortened: the lowest goes first. `None` is never shortened.
        last: How many messages of a history are taken, from its end; `None` takes all.
        shrink: How it is shortened then; `None` cuts a text at its end, and drops the oldest messages of a history or
            the last examples.
    """

    role: Role
    text: str
    line: int = 1
    kind: SectionKind = "message"
    name: str | None = None
    priority: int | None = None
    last: int | None = None
    shrink: Shrink | None = None


class Heading(NamedTuple):
    """What a heading says of the section that it begins; `role` is `None` where it is that of the section before."""

    role: Role | None
    kind: SectionKind
    name: str | None = None
    priority: int | None = None
    last: int | None = None
    shrink: Shrink | None = None


def way_of(section: Section) -> Shrink:
    """How `section` is made shorter."""
    return section.shrink or ("oldest" if section.kind == "history" else "end")


def with_place_for_examples(sections: tuple[Section, ...]) -> tuple[Section, ...]:
    """The sections with a place for examples among them: before the last question, where there was none."""
    if any(section.kind == "examples" for section in sections):
        return sections
    asking = [n for n, section in enumerate(sections) if section.kind == "message" and section.role == "user"]
    place = asking[-1] if asking else 0  # without any, compiling says what is missing
    return (*sections[:place], Section("user", "", kind="examples"), *sections[place:])


def is_heading(line: str) -> bool:
    """Whether a line of a body is a heading, right or wrong."""
    return _HEADING.fullmatch(line) is not None


def heading_of(line: str) -> Heading:
    """What the heading `line` says.

    Raises:
        ConfigurationError: It is wrong.

    Example:
        >>> heading_of("[user name=sources priority=2]")
        Heading(role='user', kind='message', name='sources', priority=2, last=None, shrink=None)
    """
    match = _HEADING.fullmatch(line)
    if match is None:
        raise ConfigurationError(f"{line!r} is no heading, such as `[user]` or `[user priority=2]`")
    word = match[1]
    if word not in _WORDS:
        there_are = ", ".join(f"[{word}]" for word in _WORDS)
        raise ConfigurationError(
            f"unknown role or section `[{word}]`; there are {there_are}.{did_you_mean(word.lower(), _WORDS)}"
            f" To have it as text, write `\\[{word}]`"
        )
    options = _options(match[2], word)
    role, kind = _WORDS[word]
    name = options.get("name", _HISTORY if kind == "history" else None)
    priority, last = (int(options[key]) if key in options else None for key in ("priority", "last"))
    shrink = _shrink(options, {_HISTORY: _OF_HISTORIES, _EXAMPLES: _OF_EXAMPLES}.get(word, _OF_TEXTS))
    return Heading(role, kind, name, priority, last, shrink)


def _options(written: str, word: str) -> dict[str, str]:
    known = _OPTIONS_OF.get(word, _OPTIONS)
    options: dict[str, str] = {}
    for option, given in (one.split("=", 1) for one in written.split()):
        if option not in known:
            hint = did_you_mean(option, known)
            raise ConfigurationError(f"`[{word}]` takes no {option!r}; there are {', '.join(known)}.{hint}")
        if option in options:
            raise ConfigurationError(f"`[{word}]` has `{option}` twice: keep one of them")
        if option in _FORMS and not re.fullmatch(_FORMS[option][0], given):
            raise ConfigurationError(f"`{option}={given}` {_FORMS[option][1]}")
        options[option] = given
    return options


def _shrink(options: Mapping[str, str], ways: tuple[Shrink, ...]) -> Shrink | None:
    given = options.get("shrink")
    if given is None:
        return None
    if "priority" not in options:
        raise ConfigurationError(f"`shrink={given}` has no effect without a priority: add one, such as `priority=1`")
    way = next((way for way in ways if way == given), None)
    if way is None:
        hint = did_you_mean(given, ways)
        raise ConfigurationError(f"`shrink={given}` is no way to shorten this; there are {', '.join(ways)}.{hint}")
    return way


def heading_line(section: Section, before: Section | None = None) -> str:
    """The heading that begins `section`, which stands behind `before`.

    Raises:
        ConfigurationError: No heading says what it is.

    Example:
        >>> heading_line(Section("user", "", kind="history", name="chat", last=10))
        '[history name=chat last=10]'
    """
    word = {"message": section.role, "more": _MORE}.get(section.kind, section.kind)
    options = {"name": section.name, "priority": section.priority, "last": section.last, "shrink": section.shrink}
    if section.kind == "history" and section.name == _HISTORY:
        options["name"] = None
    line = f"[{' '.join([word, *(f'{key}={value}' for key, value in options.items() if value is not None)])}]"
    said = heading_of(line)
    role = said.role or (before.role if before else None)
    if (role, *said[1:]) != (section.role, section.kind, section.name, section.priority, section.last, section.shrink):
        raise ConfigurationError(f"no heading says what {section._replace(text='...')!r} is")
    return line
