"""Whether a text that an engine wrote can take the place of a prompt's body."""

from __future__ import annotations

import re

from llmops_sdk.errors import ConfigurationError, PromptError
from llmops_sdk.linting import lint_text
from llmops_sdk.prompts import Prompt, diff

__all__ = ["Refused", "checked", "proposed_text"]

_TAGGED = re.compile(r"<prompt>[ \t]*\n?(.*)</prompt>", re.DOTALL)
_FENCED = re.compile(r"\s*(`{3,}|~{3,})[^\n`]*\n(.*?)\n?\1\s*", re.DOTALL)
_TIMES_LONGER = 4
_ALWAYS_ALLOWED = 4_000
"""Characters: a body may grow to this, or to four times what it is."""


class Refused(Exception):  # noqa: N818  (it is caught at once, and becomes a word in a table)
    """A proposal cannot be used; the message says why."""


def proposed_text(answer: str) -> str:
    r"""The body in an answer: what stands between the tags that were asked for, without a fence around all of it.

    Example:
        >>> proposed_text("Here you are: <prompt>```\n[user]\n{{ q }}\n```</prompt> Good luck!")
        '[user]\n{{ q }}'
    """
    tagged = _TAGGED.search(answer)
    text = answer if tagged is None else tagged[1]
    fenced = _FENCED.fullmatch(text)
    return (text if fenced is None else fenced[2]).strip("\n")


def checked(original: Prompt, answer: str) -> Prompt:
    """The prompt that an answer proposes: another body for which the code around the prompt need not change.

    Raises:
        Refused: It is none.
    """
    text = proposed_text(answer)
    most = max(_TIMES_LONGER * len(original.body), _ALWAYS_ALLOWED)
    if not text.strip():
        raise Refused("it is empty")
    if len(text) > most:
        raise Refused(f"it has {len(text):,} characters, more than the {most:,} that are allowed here")
    try:
        proposal = original.with_body(text)
        text = proposal.body
    except (PromptError, ConfigurationError) as exc:
        raise Refused(f"it is no body of a prompt: {exc}") from None
    if proposal.hash == original.hash:
        raise Refused("it is the prompt as it is")
    _check_kept(original, proposal)
    broken = diff(original, proposal).breaking
    if broken:
        raise Refused(f"it breaks the code around the prompt: {broken[0].message}")
    before = {one.code for one in lint_text(original.body) if one.severity == "error"}
    for problem in lint_text(text):
        if problem.severity == "error" and problem.code not in before:
            raise Refused(f"the linter finds {problem.code}: {problem.message}")
    return proposal


def _check_kept(original: Prompt, proposal: Prompt) -> None:
    used = {use.variable for use in proposal.uses() if use.shown}
    missing = [name for name in dict.fromkeys(use.variable for use in original.uses() if use.shown) if name not in used]
    if missing:
        raise Refused(f"it leaves out the variable {missing[0]!r}")
    for name in sorted(_said_by_system(proposal) - _said_by_system(original)):
        if not proposal.content.variables[name].trusted:
            raise Refused(f"it lets the system say {name!r}, which nobody vouches for")
    before, after = (_skeleton(one) for one in (original, proposal))
    if before != after:
        raise Refused("it changes sections that have a name or a priority, or that hold a conversation or examples")
    if original.sections[-1].role != proposal.sections[-1].role:
        raise Refused("it ends with a message of another role")


def _said_by_system(prompt: Prompt) -> set[str]:
    return {use.variable for use in prompt.uses() if use.shown and use.section.role == "system"}


def _skeleton(prompt: Prompt) -> list[tuple[object, ...]]:
    """What else than plain messages there is, in order."""
    found = ((one.kind, one.role, one.name, one.priority, one.last, one.shrink) for one in prompt.sections)
    return [one for one in found if one[0] in ("history", "examples") or one[2] is not None or one[3] is not None]
