"""Rules for variables: declared, used, and where an untrusted one may stand."""

from __future__ import annotations

from collections.abc import Iterator

from llmops_sdk.linting._problems import Found
from llmops_sdk.linting._subject import Subject
from llmops_sdk.prompts import Variable

__all__ = ["undeclared", "untrusted_in_system", "unused"]

_HARMLESS = ("int", "float", "bool", "date", "datetime")
"""Types whose values are too short to give orders."""


def undeclared(subject: Subject) -> Iterator[Found]:
    """A variable that the front matter does not declare."""
    histories = {one.name for one in subject.prompt.sections if one.kind == "history"}  # their heading declares them
    for use in {one.variable: one for one in reversed(subject.uses)}.values():
        if use.variable not in histories and subject.declared_at(use.variable) is None:
            yield Found(
                *subject.place_of(use),
                f"{use.variable!r} is not declared, so it takes anything: write `{use.variable}: str` under "
                "`variables:`",
            )


def unused(subject: Subject) -> Iterator[Found]:
    """A variable that nothing uses: no text, partial or condition, no question of an example."""
    used = {use.variable for use in subject.uses}
    for name in subject.prompt.variables:
        line = subject.declared_at(name)
        if line is not None and name not in used:
            yield Found(line, 1, f"{name!r} is declared and used nowhere: delete it, or write `{{{{ {name} }}}}`")


def untrusted_in_system(subject: Subject) -> Iterator[Found]:
    """Untrusted text among the instructions, itself or by way of a loop, a `set` or a partial."""
    said: set[str] = set()
    for use in subject.uses:
        variable = subject.prompt.content.variables[use.variable]
        if use.section.role != "system" or not use.shown or use.variable in said or _is_harmless(variable):
            continue
        said.add(use.variable)
        through = "" if use.partial is None else f" (in line {use.line} of {use.partial})"
        yield Found(
            *subject.place_of(use),
            f"{use.variable!r} is not trusted and stands in a system section{through}, where a model obeys it: move it "
            "to a user section, or declare `trusted: true` if only your application writes it",
        )


def _is_harmless(variable: Variable) -> bool:
    chosen = variable.schema is not None and not {"enum", "const"}.isdisjoint(variable.schema)
    return variable.trusted or variable.type in _HARMLESS or chosen
