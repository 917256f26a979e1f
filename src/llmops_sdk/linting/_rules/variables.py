"""Rules for variables: declared, used, and where an untrusted one may stand."""

from __future__ import annotations

from collections.abc import Iterator

from llmops_sdk.linting._problems import Found
from llmops_sdk.linting._subject import Subject

__all__ = ["undeclared", "untrusted_in_system", "unused"]


def undeclared(subject: Subject) -> Iterator[Found]:
    """A variable that the front matter does not declare."""
    histories = {one.name for one in subject.prompt.sections if one.kind == "history"}  # their heading declares them
    for name in subject.prompt.variables:
        if name not in histories and subject.declared_at(name) is None:
            yield Found(
                *subject.use_of(name),
                f"{name!r} is not declared, so it takes anything: write `{name}: str` under `variables:`",
            )


def unused(subject: Subject) -> Iterator[Found]:
    """A variable that nothing uses."""
    for name in subject.prompt.variables:
        line = subject.declared_at(name)
        if line is not None and not subject.prompt.sections_using(name):
            yield Found(line, 1, f"{name!r} is declared and used nowhere: delete it, or write `{{{{ {name} }}}}`")


def untrusted_in_system(subject: Subject) -> Iterator[Found]:
    """Untrusted text among the instructions."""
    for name, variable in subject.prompt.content.variables.items():
        systems = [one for one in subject.prompt.sections_using(name) if one.role == "system"]
        if systems and not variable.trusted:
            yield Found(
                *subject.use_of(name),
                f"{name!r} is not trusted and stands in a system section, where a model obeys it: move it to a user "
                "section, or declare `trusted: true` if only your application writes it",
            )
