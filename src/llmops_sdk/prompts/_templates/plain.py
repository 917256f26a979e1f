"""The plain template: a text with `{{ name }}` and `{{ name.attribute }}` in it, and nothing else.

It is cut into its literals once, and rendering is one join; values are never read as templates. To have `{{ name }}`
itself in a text, give it as the value of a variable, or write it between `{% raw %}` and `{% endraw %}`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from llmops_sdk.errors import PromptError
from llmops_sdk.messages import Document, ImagePart, Origin
from llmops_sdk.prompts._templates.openings import BadTextError, Opening
from llmops_sdk.prompts._templates.values import (
    BETWEEN_DOCUMENTS,
    MISSING,
    UnfitError,
    attribute_of,
    documents_in,
    holds_doubtful,
    near_attributes,
    refuse_hidden_documents,
    text_of,
)
from llmops_sdk.prompts._variables import FENCES, Fence, Variable, needs_own_lines

if TYPE_CHECKING:
    from llmops_sdk.prompts._templates.compiling import Filled

__all__ = ["PlainTemplate"]


_Shown: TypeAlias = "str | ImagePart | tuple[Document, ...] | None"


class _Unfrozen:
    """An `Origin` before it is frozen: origins are most of what rendering costs, and this takes a third of the time."""

    __slots__ = Origin.__slots__


class _Hole(NamedTuple):
    name: str
    path: tuple[str, ...]
    source: str
    trusted: bool
    after: str
    """The literal that follows."""
    variable: Variable
    fence: Fence | None


class PlainTemplate:
    """A compiled template.

    Attributes:
        variables: Names of the variables in it, each once, in order of their first use.
        partials: Nothing: it includes nothing.
    """

    __slots__ = ("_first", "_holes", "_max_chars", "_prompt", "variables")

    partials: Mapping[str, str] = MappingProxyType({})

    def __init__(
        self,
        text: str,
        openings: Sequence[Opening],
        *,
        variables: Mapping[str, Variable],
        prompt: str,
        max_chars: int,
    ) -> None:
        ends = [opening.at for opening in openings[1:]] + [len(text)]
        holes = []
        for opening, end in zip(openings, ends, strict=False):
            path = opening.path or ""
            name, *steps = path.split(".")
            variable = variables.get(name) or Variable(name=name)
            if variable.type == "messages" and not steps:
                problem = f"{name!r} is a conversation, no text: a line `[history name={name}]` stands for its messages"
                raise BadTextError(opening.at, problem, variable=name)
            after = text[opening.end : end]
            fence = _fence_of(variable, text, opening)
            holes.append(_Hole(name, tuple(steps), f"variable:{path}", variable.trusted, after, variable, fence))
        self._first = text[: openings[0].at] if openings else text
        self._holes = tuple(holes)
        self._prompt = prompt
        self._max_chars = max_chars
        self.variables = tuple(dict.fromkeys(hole.name for hole in holes))

    def uses(self) -> Iterator[tuple[str, str | None, int, bool]]:
        """See `Template`."""
        line = 1 + self._first.count("\n")
        for hole in self._holes:
            yield hole.name, None, line, True
            line += hole.after.count("\n")

    def render(self, values: Mapping[str, object]) -> Filled:
        """See `Template`."""
        pieces = [self._first]
        origins: list[Origin] = []
        images: tuple[tuple[int, ImagePart], ...] = ()
        position = len(self._first)
        for name, path, source, trusted, after, variable, fence in self._holes:
            value = values[name]
            if type(value) is str and not path:
                text = value
            else:
                if trusted and holds_doubtful(value):
                    trusted = False  # noqa: PLW2901  (nobody vouches for what is in it)
                value = self._shown(value, variable, path)
                if isinstance(value, tuple):
                    text = _add_documents(value, fence, source[len("variable:") :], position, origins)
                    pieces.append(text)
                    pieces.append(after)
                    position += len(text) + len(after)
                    continue
                text = value if isinstance(value, str) else ""
            if fence is not None and value is not None:
                before, text, behind = fence(text, source[len("variable:") :], None)
                pieces.append(before)
                position += len(before)
                after = behind + after  # noqa: PLW2901  (the fence ends, and the literal follows)
            if isinstance(value, ImagePart):
                images = (*images, (position, value))
            end = position + len(text)
            origin: Any = _Unfrozen()
            origin.start = position
            origin.end = end
            origin.source = source
            origin.trusted = trusted
            origin.__class__ = Origin
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

    def _shown(self, value: object, variable: Variable, path: tuple[str, ...]) -> _Shown:
        cause: Exception | None = None
        try:
            return _shown(value, variable, path)
        except UnfitError as exc:
            problem = str(exc)
        except Exception as exc:  # noqa: BLE001  (the application's `__str__` or property: say which variable it was)
            problem = f"{'.'.join((variable.name, *path))!r} cannot become text: {type(exc).__name__}: {exc}"
            cause = exc
        raise PromptError(
            f"the prompt {self._prompt!r}: {problem}", prompt=self._prompt, variable=variable.name
        ) from cause


def _fence_of(variable: Variable, text: str, opening: Opening) -> Fence | None:
    """What sets the variable off where it stands.

    Raises:
        BadTextError: It has to stand on a line of its own, and does not.
    """
    if needs_own_lines(variable.fence):
        begins = opening.at == 0 or text[opening.at - 1] == "\n"
        if not begins or text[opening.end : opening.end + 1] not in ("", "\n"):
            there = text[opening.at : opening.end]
            raise BadTextError(
                opening.at,
                f"`{there}` has `fence: {variable.fence}`, so it needs a line of its own",
                variable=variable.name,
            )
    return FENCES[variable.fence] if variable.fence else None


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
        position = end + len(after) + len(BETWEEN_DOCUMENTS)
    return BETWEEN_DOCUMENTS.join(pieces)


def _shown(value: object, variable: Variable, path: tuple[str, ...]) -> _Shown:
    """What stands in the text for what is at `path`; `None` where that was left out."""
    name = variable.name
    for number, step in enumerate(path):
        if value is None:
            break
        if isinstance(value, Document) and path[number:] == ("text",):
            return (value,)
        found = attribute_of(value, step, repr(name))
        if found is MISSING:
            raise UnfitError(near_attributes(value, step, repr(name)))
        if not isinstance(value, Mapping):
            refuse_hidden_documents(found, step)
        value = found
        name = f"{name}.{step}"
    documents = documents_in(value, None if path else variable)
    if documents is not None:
        return documents
    if isinstance(value, ImagePart):
        return value
    text = text_of(value, repr(name), variable=variable.name, optional=variable.optional)
    return None if value is None else text
