"""Prompt files, `*.prompt.md`: YAML front matter between `---` lines, and a body with sections for the roles.

::

    ---
    description: Answers a customer's question.
    parameters: {temperature: 0, max_tokens: 48}
    variables:
      question: str
      tone: {type: str, trusted: true, default: friendly}
    ---
    [system]
    You are a {{ tone }} support agent.

    [user]
    {{ question }}

A line that is exactly `[system]`, `[user]` or `[assistant]` begins a message; text before the first one is a user
message. A space before the bracket makes such a line text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeAlias

from llmops_sdk.errors import ConfigurationError, PromptError
from llmops_sdk.messages import Role
from llmops_sdk.prompts._parameters import parameter_of
from llmops_sdk.prompts._prompt import Prompt, Section
from llmops_sdk.prompts._variables import Variable, did_you_mean, variable_of

if TYPE_CHECKING:
    import yaml

__all__ = ["MAX_BYTES", "SUFFIX", "parse_prompt"]

SUFFIX = ".prompt.md"
MAX_BYTES = 1_000_000
"""Largest prompt file that is read."""

_ROLES: tuple[Role, ...] = ("system", "user", "assistant")
_KEYS = ("name", "description", "parameters", "variables")
_SECTION = re.compile(r"\[([A-Za-z]+)\][ \t]*")
_FENCE = re.compile(r"---[ \t]*")


_Lines: TypeAlias = dict[tuple[str, ...], int]
"""Path of a key in the front matter -> the line of the file on which it stands."""


class _Place(NamedTuple):
    """Where a file stands, for its errors."""

    prompt: str
    where: str

    def fail(self, line: int, problem: str, *, variable: str | None = None) -> NoReturn:
        raise PromptError(f"{self.where}:{line}: {problem}", prompt=self.prompt, variable=variable)


def parse_prompt(
    data: bytes, /, *, name: str, where: str, version: str | None = None, commit: str | None = None
) -> Prompt:
    """The prompt in a file.

    Args:
        data: The file: UTF-8, with or without a byte-order mark, any line ends.
        name: Name of the prompt.
        where: Path of the file, for errors.
        version: The version that was asked for.
        commit: The commit that holds the file.

    Raises:
        PromptError: The file is broken; the message begins with `path:line:`.
    """
    place = _Place(name, where)
    lines = _decode(data, place).split("\n")
    matter: dict[str, Any] = {}
    at: _Lines = {}
    first = 0
    if _FENCE.fullmatch(lines[0]):
        end = next((number for number, line in enumerate(lines[1:], 1) if _FENCE.fullmatch(line)), None)
        if end is None:
            place.fail(1, "the front matter is not closed: end it with a line `---`")
        matter, at = _front_matter("\n".join(lines[1:end]), place)
        first = end + 1
    _check_keys(matter, at, place)
    sections = list(_sections(lines[first:], first + 1, place))
    if not sections:
        place.fail(len(lines), "the body is empty: write the message after the front matter")
    variables = _variables(matter.get("variables"), at, place)
    parameters = _parameters(matter.get("parameters"), at, place)
    prompt = Prompt(
        sections,
        name=name,
        description=str(matter.get("description") or ""),
        variables=variables,
        parameters=parameters,
        version=version,
        commit=commit,
        where=where,
    )
    if "variables" in matter:
        for used in prompt.variables:
            if used not in variables:
                hint = did_you_mean(used, variables)
                problem = f"`variables` does not declare {used!r}, which the body uses.{hint}"
                place.fail(_line(at, "variables"), problem, variable=used)
    return prompt


def _line(lines: _Lines, *path: str) -> int:
    return lines.get(path, 2)  # YAML reads some plain words as other things (`yes`, `1_0`); line 2 begins the matter


def _decode(data: bytes, place: _Place) -> str:
    if len(data) > MAX_BYTES:
        place.fail(1, f"the file has {len(data):,} bytes, more than the {MAX_BYTES:,} that are read")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        place.fail(line, f"this is not UTF-8 (byte {exc.start} is {data[exc.start]:#04x}); save the file as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _check_keys(matter: Mapping[str, Any], at: _Lines, place: _Place) -> None:
    for key in matter:
        if key not in _KEYS:
            hint = did_you_mean(str(key), _KEYS)
            place.fail(_line(at, str(key)), f"unknown key {key!r}; there are {', '.join(_KEYS)}.{hint}")
    if matter.get("name", place.prompt) != place.prompt:
        place.fail(_line(at, "name"), f"the name is {matter['name']!r}, but the file's place makes it {place.prompt!r}")


def _variables(declared: object, at: _Lines, place: _Place) -> dict[str, Variable]:
    if not isinstance(declared, dict | None):
        place.fail(_line(at, "variables"), "`variables` is a mapping: `question: str`")
    variables = {}
    for name, declaration in (declared or {}).items():
        try:
            variables[name] = variable_of(name, declaration)
        except ConfigurationError as exc:
            place.fail(_line(at, "variables", str(name)), str(exc), variable=str(name))
    return variables


def _parameters(given: object, at: _Lines, place: _Place) -> dict[str, object]:
    if not isinstance(given, dict | None):
        place.fail(_line(at, "parameters"), "`parameters` is a mapping: `temperature: 0`")
    parameters = {}
    for name, value in (given or {}).items():
        try:
            parameters[name] = parameter_of(name, value)
        except ConfigurationError as exc:
            place.fail(_line(at, "parameters", str(name)), str(exc))
    return parameters


def _sections(lines: list[str], first_line: int, place: _Place) -> Iterator[Section]:
    role: Role = "user"
    begun = 0  # 0: text before the first section
    texts: list[str] = []
    from_line = first_line
    for number, line in enumerate([*lines, None], first_line):
        opening = _SECTION.fullmatch(line) if line is not None else None
        if line is not None and opening is None:
            texts.append(line)
            continue
        section = _section(role, texts, from_line)
        if section is not None:
            yield section
        elif begun:
            place.fail(begun, f"the section `[{role}]` is empty: write its text, or delete it")
        if opening is not None:
            role, begun, texts, from_line = _role(opening[1], number, place), number, [], number + 1


def _section(role: Role, lines: list[str], from_line: int) -> Section | None:
    blank = 0
    while blank < len(lines) and not lines[blank].strip():
        blank += 1
    text = "\n".join(lines[blank:]).rstrip("\n")
    return Section(role, text, from_line + blank) if text.strip() else None


def _role(word: str, line: int, place: _Place) -> Role:
    role = next((role for role in _ROLES if role == word), None)
    if role is None:
        there_are = ", ".join(f"[{role}]" for role in _ROLES)
        hint = did_you_mean(word.lower(), _ROLES)
        place.fail(
            line, f"unknown role `[{word}]`; there are {there_are}.{hint} To have it as text, put a space before it"
        )
    return role


def _front_matter(text: str, place: _Place) -> tuple[dict[str, Any], _Lines]:
    """The values, and the lines of their keys."""
    import yaml  # noqa: PLC0415  (third-party: whoever has no prompt files needs none)

    at: _Lines = {}
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return {}, at
        _note_lines(node, (), at, set(), place)
        matter = loader.construct_document(node)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        place.fail(mark.line + 2 if mark else 1, f"the front matter is not YAML: {exc.problem or exc.context}")
    except PromptError:
        raise
    except (yaml.YAMLError, ValueError, AttributeError, LookupError, TypeError) as exc:
        # Wrong values of tagged scalars (`!!timestamp x`) break PyYAML's own constructors in all these ways.
        place.fail(1, f"the front matter is not YAML: {exc}")
    except RecursionError:
        place.fail(1, "the front matter is nested too deeply")
    if not isinstance(matter, dict):
        place.fail(2, "the front matter has to be a mapping, such as `description: ...`")
    return matter, at


def _note_lines(node: yaml.Node, path: tuple[str, ...], at: _Lines, seen: set[int], place: _Place) -> None:
    import yaml  # noqa: PLC0415  (see `_front_matter`)

    if id(node) in seen:  # an alias: a few of them, nested, build gigabytes
        place.fail(node.start_mark.line + 2, "anchors and aliases (`&name`, `*name`) are not allowed: write it out")
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _note_lines(item, (*path, "-"), at, seen, place)
    elif isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, value in node.value:
            line = key.start_mark.line + 2
            if not isinstance(key, yaml.ScalarNode):
                place.fail(line, "keys are plain names")
            if key.value in keys:
                place.fail(line, f"the key {key.value!r} stands here twice")
            keys.add(key.value)
            at[(*path, key.value)] = line
            _note_lines(value, (*path, key.value), at, seen, place)
