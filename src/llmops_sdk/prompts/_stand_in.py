"""Who answers `Prompt.load` and `PromptRepository.get` in place of a repository: a lock, or who records for one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from llmops_sdk.prompts._prompt import Prompt
    from llmops_sdk.prompts.repository import PromptRepository

__all__ = ["PromptSource", "prompts_from", "source_in_force", "source_is_in_force"]


class PromptSource(Protocol):
    """Gives prompts in place of a repository."""

    def get(self, spec: str, repository: PromptRepository | None, /) -> Prompt:
        """The prompt `"folder/name@version"`; `repository` is the one that was asked, `None` for that of this folder.

        What it asks of a repository meanwhile, the repository answers.
        """
        ...


_in_force: ContextVar[PromptSource | None] = ContextVar("llmops_prompt_source", default=None)


@contextlib.contextmanager
def prompts_from(source: PromptSource | None) -> Iterator[None]:
    """Have prompts come from `source` in here, in modules that are imported here, too; `None`: from repositories."""
    token = _in_force.set(source)
    try:
        yield
    finally:
        _in_force.reset(token)


def source_is_in_force() -> bool:
    """Whether something stands in for repositories. It may read files: the event loop asks it in a thread."""
    return _in_force.get() is not None


def source_in_force(spec: str, repository: PromptRepository | None) -> Prompt | None:
    """What stands in for the repository says; `None` where nothing does."""
    source = _in_force.get()
    if source is None:
        return None
    with prompts_from(None):
        return source.get(spec, repository)
