"""Templates: text with `{{ name }}` and `{{ name.attribute }}` in it, and nothing else.

Every other brace is text, so JSON and `{single}` braces need no escaping. A template is cut into its literals once,
and rendering is one join; values are never read as templates. To have `{{ name }}` itself in a text, give it as the
value of a variable.
"""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from llmops_sdk.errors import PromptError
from llmops_sdk.messages import Document, ImagePart, Origin
from llmops_sdk.prompts._variables import FENCES, NAME, Fence, Variable, did_you_mean, needs_own_lines

__all__ = ["MAX_CHARS", "Filled", "Template", "compile_template"]

Filled: TypeAlias = "tuple[str, tuple[Origin, ...], tuple[tuple[int, ImagePart], ...]]"
"""A rendered text; which stretches of it came from variables, in order; images, each with its place in the text."""

MAX_CHARS = 10_000_000
"""Most characters (code points) that one rendered text may have, unless `compile_template` is told otherwise."""

# `{{` opens a variable only where a name, or a sign of another template language, follows: `{{"a": 1}}` is text.
_OPENING = re.compile(r"\{%|\{\{(?=[ \t]*[^\W\d]|[#/^>!&])")
_VARIABLE = re.compile(rf"\{{\{{[ \t]*({NAME}(?:\.{NAME})*)[ \t]*\}}\}}")

# From these one attribute leads to the interpreter's insides (`generator.gi_frame.f_globals`), so none is read.
_CLOSED = (
    type,
    types.ModuleType,
    types.FunctionType,
    types.MethodType,
    types.BuiltinFunctionType,
    types.FrameType,
    types.CodeType,
    types.TracebackType,
    types.GeneratorType,
    types.CoroutineType,
    types.AsyncGeneratorType,
)

# A frozen dataclass sets its fields by `object.__setattr__`; setting the slots themselves takes a third of the time,
# and origins are most of what rendering costs.
_set_start, _set_end, _set_source, _set_trusted = (
    vars(Origin)[field].__set__ for field in ("start", "end", "source", "trusted")
)


_BETWEEN_DOCUMENTS = "\n\n"


class _Hole(NamedTuple):
    name: str
    path: tuple[str, ...]
    source: str
    trusted: bool
    after: str
    """The literal that follows."""
    variable: Variable
    fence: Fence | None


class Template:
    """A compiled template; made by `compile_template`, never changed.

    Attributes:
        variables: Names of the variables in it, each once, in order of their first use.
    """

    __slots__ = ("_first", "_holes", "_max_chars", "_prompt", "variables")

    def __init__(self, first: str, holes: tuple[_Hole, ...], *, prompt: str, max_chars: int) -> None:
        self._first = first
        self._holes = holes
        self._prompt = prompt
        self._max_chars = max_chars
        self.variables = tuple(dict.fromkeys(hole.name for hole in holes))

    def render(self, values: Mapping[str, object]) -> Filled:
        """The text for `values`, where it came from, and its images.

        Args:
            values: A value for every name in `variables` (`complete` sees to that); more are ignored.

        Raises:
            PromptError: A value is `None`, has no such attribute, or cannot be text; or the text is too long.
        """
        pieces = [self._first]
        origins: list[Origin] = []
        images: tuple[tuple[int, ImagePart], ...] = ()
        position = len(self._first)
        new = object.__new__
        for name, path, source, trusted, after, variable, fence in self._holes:
            value = values[name]
            if type(value) is str and not path:
                text = value
            elif not path and (documents := _documents_in(value, variable)) is not None:
                text = _add_documents(documents, fence, name, position, origins)
                pieces.append(text)
                pieces.append(after)
                position += len(text) + len(after)
                continue
            elif isinstance(value, ImagePart) and not path:
                images = (*images, (position, value))
                text = ""
            else:
                text = self._text(value, variable, path)
            if fence is not None and value is not None:
                before, text, behind = fence(text, source[len("variable:") :], None)
                pieces.append(before)
                position += len(before)
                after = behind + after  # noqa: PLW2901  (the fence ends, and the literal follows)
            end = position + len(text)
            origin = new(Origin)
            _set_start(origin, position)
            _set_end(origin, end)
            _set_source(origin, source)
            _set_trusted(origin, trusted)
            origins.append(origin)
            pieces.append(text)
            pieces.append(after)
            position = end + len(after)
        if position > self._max_chars:
            raise PromptError(
                f"the prompt {self._prompt!r} would have {position:,} characters, more than the {self._max_chars:,} "
                "that are allowed; give it less text",
                prompt=self._prompt,
            )
        return "".join(pieces), tuple(origins), images

    def _text(self, value: object, variable: Variable, path: tuple[str, ...]) -> str:
        cause: Exception | None = None
        try:
            return _as_text(value, variable, path)
        except _UnfitError as exc:
            problem = str(exc)
        except Exception as exc:  # noqa: BLE001  (the application's `__str__` or property: say which variable it was)
            problem = f"{'.'.join((variable.name, *path))!r} cannot become text: {type(exc).__name__}: {exc}"
            cause = exc
        raise PromptError(
            f"the prompt {self._prompt!r}: {problem}", prompt=self._prompt, variable=variable.name
        ) from cause


def _documents_in(value: object, variable: Variable) -> tuple[Document, ...] | None:
    """The documents that `value` is: one, or a list of nothing else (an empty one only where such were declared)."""
    if isinstance(value, Document):
        return (value,)
    if not isinstance(value, list | tuple) or (not value and variable.type != "documents"):
        return None
    return tuple(value) if all(isinstance(one, Document) for one in value) else None


def _add_documents(
    documents: tuple[Document, ...], fence: Fence | None, name: str, position: int, origins: list[Origin]
) -> str:
    """The text of the documents, each in a fence of its own; what came from where is added to `origins`."""
    pieces = []
    for document in documents:
        before, text, after = ("", document.text, "") if fence is None else fence(document.text, name, document.id)
        start = position + len(before)
        end = start + len(text)
        origins.append(Origin(start=start, end=end, source=f"document:{document.id}", trusted=document.trusted))
        pieces.append(f"{before}{text}{after}")
        position = end + len(after) + len(_BETWEEN_DOCUMENTS)
    return _BETWEEN_DOCUMENTS.join(pieces)


class _UnfitError(Exception):
    """A value that cannot stand in a text; the message says why."""


def _as_text(value: object, variable: Variable, path: tuple[str, ...]) -> str:
    name = variable.name
    for step in path:
        if value is None:
            break
        value = _attribute(name, value, step)
        name = f"{name}.{step}"
    if value is None:
        if variable.optional:
            return ""
        raise _UnfitError(f"{name!r} is None; give it a value, or declare {variable.name!r} as `optional: true`")
    if isinstance(value, bytes | bytearray):
        raise _UnfitError(f"{name!r} is bytes; decode it to text first")
    if callable(value):
        kind = type(value).__name__
        raise _UnfitError(f"{name!r} is a {kind}; templates call nothing, so pass what it returns")
    return str(value)


def _attribute(name: str, value: object, step: str) -> object:
    if isinstance(value, Mapping):
        if step in value:
            found: object = value[step]
            return found
        raise _UnfitError(f"{name!r} has no key {step!r}.{did_you_mean(step, map(str, value))}")
    if isinstance(value, _CLOSED):
        raise _UnfitError(f"{name!r} is a {type(value).__name__}; templates read nothing from those")
    try:
        return getattr(value, step)
    except AttributeError as exc:
        known = [one for one in dir(value) if not one.startswith("_")]
        kind = type(value).__name__
        raise _UnfitError(f"{name!r} ({kind}) has no attribute {step!r}.{did_you_mean(step, known)}") from exc


def compile_template(
    text: str,
    /,
    *,
    variables: Mapping[str, Variable] | None = None,
    prompt: str = "inline",
    where: str | None = None,
    line: int = 1,
    max_chars: int = MAX_CHARS,
) -> Template:
    """Cut a template into literals and variables.

    Args:
        text: The template.
        variables: What is known of its variables; those that are not in it are required, of any type and not trusted.
        prompt: Name of the prompt that it belongs to, for errors.
        where: File that it stands in, for errors; the prompt's name by default.
        line: Line of that file on which `text` begins.
        max_chars: Most code points that a rendered text may have.

    Raises:
        PromptError: Something looks like a template and is not part of the syntax; the message names the line.

    Example:
        >>> compile_template('{"city": "{{ city }}"}').render({"city": "Bern"})[0]
        '{"city": "Bern"}'
    """
    known = variables or {}
    literals: list[str] = []
    found: list[re.Match[str]] = []
    literal_from = 0
    position = 0
    while (opening := _OPENING.search(text, position)) is not None:
        match = _VARIABLE.match(text, opening.start())
        if match is None:
            at = f"{where or prompt}:{line + text.count(chr(10), 0, opening.start())}"
            raise PromptError(f"{at}: {_explain(text, opening.start())}", prompt=prompt)
        literals.append(text[literal_from : match.start()])
        found.append(match)
        literal_from = position = match.end()
    literals.append(text[literal_from:])
    holes = []
    for match, after in zip(found, literals[1:], strict=True):
        name, *path = match[1].split(".")
        variable = known.get(name) or Variable(name=name)
        if needs_own_lines(variable.fence) and not _is_alone(text, match):
            at = f"{where or prompt}:{line + text.count(chr(10), 0, match.start())}"
            problem = f"`{match[0]}` has `fence: {variable.fence}`, so it needs a line of its own"
            raise PromptError(f"{at}: {problem}", prompt=prompt, variable=name)
        fence = FENCES[variable.fence] if variable.fence else None
        holes.append(_Hole(name, tuple(path), f"variable:{match[1]}", variable.trusted, after, variable, fence))
    return Template(literals[0], tuple(holes), prompt=prompt, max_chars=max_chars)


def _is_alone(text: str, match: re.Match[str]) -> bool:
    """Whether what was matched stands on a line of its own."""
    begins = match.start() == 0 or text[match.start() - 1] == "\n"
    return begins and (match.end() == len(text) or text[match.end()] == "\n")


def _explain(text: str, start: int) -> str:
    line_end = text.find("\n", start)
    snippet = text[start : len(text) if line_end < 0 else line_end]
    close = snippet.find("%}" if snippet.startswith("{%") else "}}")
    shown = snippet[: close + 2 if close >= 0 else 40]
    only = "a template has `{{ name }}` and `{{ name.attribute }}` only"
    if snippet.startswith("{%"):
        return f"`{shown}` is not part of the syntax: {only}; choose between texts in Python, or in two prompts"
    if close < 0:
        return f"`{shown}` is not closed: write `{{{{ name }}}}` on one line"
    if "|" in shown:
        return f"`{shown}` is not part of the syntax, it has no filters: {only}; prepare the value in Python"
    if "(" in shown:
        return f"`{shown}` is not part of the syntax, nothing is called: {only}; pass what the call returns"
    if re.search(r"[{.\s]_", shown):
        return f"`{shown}` is not part of the syntax: no name may begin with an underscore"
    return f"`{shown}` is not part of the syntax: {only}"
