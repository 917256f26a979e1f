"""From a text to its template: the plain one where that is enough, else the one with Jinja's syntax."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Protocol, TypeAlias

from llmops_sdk.errors import PromptError
from llmops_sdk.messages import ImagePart, Origin
from llmops_sdk.prompts._templates.openings import BadTextError, openings_of
from llmops_sdk.prompts._templates.partials import PartialReader
from llmops_sdk.prompts._templates.plain import PlainTemplate
from llmops_sdk.prompts._variables import Variable

__all__ = ["MAX_CHARS", "Filled", "Template", "compile_template"]

Filled: TypeAlias = "tuple[str, tuple[Origin, ...], tuple[tuple[int, ImagePart], ...]]"
"""A rendered text; which stretches of it came from variables, in order; images, each with its place in the text."""

MAX_CHARS = 10_000_000
"""Most characters (code points) that one rendered text may have, unless `compile_template` is told otherwise."""


class Template(Protocol):
    """A compiled template, never changed."""

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the variables in it, each once, in order of their first use."""

    @property
    def partials(self) -> Mapping[str, str]:
        """Text of what it includes, by path."""

    def uses(self) -> Iterator[tuple[str, str | None, int, bool]]:
        """Which variable stands where.

        Its name, the partial (`None`: the text itself), the line of it from 1, and whether text of it may come out
        there; else it only decides something. Once for a line.
        """

    def render(self, values: Mapping[str, object], /) -> Filled:
        """The text for `values`, where it came from, and its images.

        Args:
            values: A value for every name in `variables` (`complete` sees to that); more are ignored.

        Raises:
            PromptError: A value is `None`, has no such attribute, or cannot be text; or the text is too long.
        """


def compile_template(
    text: str,
    /,
    *,
    variables: Mapping[str, Variable] | None = None,
    prompt: str = "inline",
    where: str | None = None,
    line: int = 1,
    max_chars: int = MAX_CHARS,
    partials: PartialReader | None = None,
) -> Template:
    """Compile a template. What is template in a text, and what is text, `openings` says.

    Args:
        text: The template.
        variables: What is known of its variables; those that are not in it are required, of any type and not trusted.
        prompt: Name of the prompt that it belongs to, for errors.
        where: File that it stands in, for errors; the prompt's name by default.
        line: Line of that file on which `text` begins.
        max_chars: Most code points that a rendered text may have.
        partials: Reads what it includes.

    Raises:
        PromptError: Something looks like a template and is not part of the syntax, or a partial is missing; the
            message names the line.

    Example:
        >>> compile_template('{"city": "{{ city }}"}').render({"city": "Bern"})[0]
        '{"city": "Bern"}'
        >>> compile_template("{% for city in cities %}{{ city }}. {% endfor %}").render({"cities": ["Bern", "Chur"]})[0]
        'Bern. Chur. '
    """
    known = variables or {}
    try:
        openings = list(openings_of(text, known))
        if all(opening.path is not None for opening in openings):
            return PlainTemplate(text, openings, variables=known, prompt=prompt, max_chars=max_chars)
    except BadTextError as exc:
        at = f"{where or prompt}:{line + text.count(chr(10), 0, exc.at)}"
        raise PromptError(f"{at}: {exc}", prompt=prompt, variable=exc.variable) from None
    # By name: it imports a third-party library, and texts that need it are few.
    jinja = importlib.import_module("llmops_sdk.prompts.jinja")
    template: Template = jinja.compile_jinja(
        text,
        variables=known,
        prompt=prompt,
        where=where or prompt,
        line=line,
        max_chars=max_chars,
        partials=partials,
    )
    return template
