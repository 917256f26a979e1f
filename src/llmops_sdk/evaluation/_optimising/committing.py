"""A better prompt, committed to a branch with the evidence."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.evaluation._optimising.outcome import Optimisation
from llmops_sdk.evaluation._optimising.showing import message
from llmops_sdk.prompts import Prompt

if TYPE_CHECKING:
    from llmops_sdk.prompts import PromptRepository

__all__ = ["When", "check_committable", "committed"]

When: TypeAlias = Literal["better", "always"]
_INLINE = "inline"


def check_committable(prompt: Prompt, repository: PromptRepository | None, branch: str | None, when: str) -> None:
    """Say before anything is paid that a commit cannot be made.

    Raises:
        ConfigurationError: The prompt has no name or no file can hold it, or an option makes no sense.
    """
    if when not in ("better", "always"):
        raise ConfigurationError(f"`commit` is 'better' or 'always', not {when!r}")
    if repository is None:
        if branch is not None or when != "better":
            raise ConfigurationError("a commit needs the `repository` to make it in: `PromptRepository()`")
        return
    if prompt.name == _INLINE:
        raise ConfigurationError(
            "the prompt has no name, and so no file in the repository: `Prompt.load('folder/name')`, or "
            "`Prompt.from_string(..., name='folder/name')`"
        )
    prompt.to_text()


async def committed(
    found: Optimisation, winner: Prompt, repository: PromptRepository, *, branch: str | None, who: str | None
) -> Optimisation:
    """The outcome with the commit of the winner. The user's branch, index and files stay as they are.

    A branch that is not there begins at the commit that the prompt was read from, or at `HEAD`. One that holds the
    winner already gets no further commit.

    Raises:
        PromptError: The branch is checked out, or somebody else moved it.
    """
    name = found.original.name
    target = branch or f"optimise/{name}-{winner.hash[:8]}"
    start = found.original.commit or "HEAD"
    text = winner.to_text()
    commit = await asyncio.to_thread(
        lambda: repository.commit(name, text, branch=target, message=message(found), who=who, start=start)
    )
    return replace(found, commit=commit, branch=target)
