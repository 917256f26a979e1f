"""The plain template: a text with `{{ name }}` and `{{ name.attribute }}` in it, and nothing else.

It is cut into its literals once, and rendering is one join; values are never read as templates. To have `{{ name }}`
itself in a text, give it as the value of a variable, or write it between `{% raw %}` and `{% endraw %}`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from llmops_sdk.errors import PromptError
from llmops_sdk.messages import Document, ImagePart, Origin
from llmops_sdk.prompts._templates.openings import Opening
from llmops_sdk.prompts._templates.values import (
    BETWEEN_DOCUMENTS,
    MISSING,
    UnfitError,
    attribute_of,
    documents_in,
    near_attributes,
    text_of,
)
from llmops_sdk.prompts._variables import Variable

if TYPE_CHECKING:
    from llmops_sdk.prompts._templates.compiling import Filled

__all__ = ["PlainTemplate"]


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
            after = text[opening.end : end]
            holes.append(_Hole(name, tuple(steps), f"variable:{path}", variable.trusted, after, variable))
        self._first = text[: openings[0].at] if openings else text
        self._holes = tuple(holes)
        self._prompt = prompt
        self._max_chars = max_chars
        self.variables = tuple(dict.fromkeys(hole.name for hole in holes))

    def render(self, values: Mapping[str, object]) -> Filled:
        """See `Template`."""
        pieces = [self._first]
        origins: list[Origin] = []
        images: tuple[tuple[int, ImagePart], ...] = ()
        position = len(self._first)
        for name, path, source, trusted, after, variable in self._holes:
            value = values[name]
            if type(value) is str and not path:
                text = value
            elif not path and (documents := documents_in(value)):
                text = BETWEEN_DOCUMENTS.join(document.text for document in documents)
                origins += _origins_of(documents, position)
                pieces.append(text)
                pieces.append(after)
                position += len(text) + len(after)
                continue
            elif isinstance(value, ImagePart) and not path:
                images = (*images, (position, value))
                text = ""
            else:
                text = self._text(value, variable, path)
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

    def _text(self, value: object, variable: Variable, path: tuple[str, ...]) -> str:
        cause: Exception | None = None
        try:
            return _as_text(value, variable, path)
        except UnfitError as exc:
            problem = str(exc)
        except Exception as exc:  # noqa: BLE001  (the application's `__str__` or property: say which variable it was)
            problem = f"{'.'.join((variable.name, *path))!r} cannot become text: {type(exc).__name__}: {exc}"
            cause = exc
        raise PromptError(
            f"the prompt {self._prompt!r}: {problem}", prompt=self._prompt, variable=variable.name
        ) from cause


def _origins_of(documents: tuple[Document, ...], position: int) -> Iterator[Origin]:
    for document in documents:
        end = position + len(document.text)
        yield Origin(start=position, end=end, source=f"document:{document.id}", trusted=document.trusted)
        position = end + len(BETWEEN_DOCUMENTS)


def _as_text(value: object, variable: Variable, path: tuple[str, ...]) -> str:
    name = variable.name
    for step in path:
        if value is None:
            break
        found = attribute_of(value, step, repr(name))
        if found is MISSING:
            raise UnfitError(near_attributes(value, step, repr(name)))
        value = found
        name = f"{name}.{step}"
    return text_of(value, repr(name), variable=variable.name, optional=variable.optional)
