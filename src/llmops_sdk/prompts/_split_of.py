"""`Prompt.split`, as the class has it and as each prompt has it."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmops_sdk.prompts._prompt import Prompt
    from llmops_sdk.prompts._split import Split
    from llmops_sdk.prompts.repository import PromptRepository

__all__ = ["SplitOf"]


class SplitOf:
    """Makes splits. `Prompt.split(...)` takes whole names, `prompt.split(...)` versions of that prompt."""

    def __init__(self, of: str | None = None) -> None:
        self._of = of

    def __get__(self, prompt: Prompt | None, owner: type[Prompt]) -> SplitOf:
        return self if prompt is None else SplitOf(prompt.name)

    def __call__(
        self,
        arms: Mapping[str, float] | Iterable[tuple[Any, ...]],
        /,
        *,
        key: str,
        of: str | None = None,
        salt: str | None = None,
        repository: PromptRepository | None = None,
    ) -> Split:
        """Several versions of a prompt, each for a share of the callers, who keep the version that they got.

        Args:
            arms: A share, `0 <= share <= 1`, for each `"folder/name@version"`; or a list of pairs of a prompt (or such
                a name) and its share, with a name for the arm behind. The shares sum to 1.
            key: The variable, or the tag of the run, by which callers are told apart.
            of: Name of a prompt: the arms are versions of it then, `{"prod": 0.9, "candidate": 0.1}`. By default that
                of the prompt whose `split` is called.
            salt: What makes the split independent of others by the same key; by default the name of the prompt.
            repository: Where to read, in place of the git repository around the current folder.

        Raises:
            ConfigurationError: The shares or names make no sense.
            PromptError: An arm cannot be read, or two take the same variable as different types.
        """
        splitting = importlib.import_module("llmops_sdk.prompts._split")  # by name: most prompts need none of it
        declared = splitting.arms_of(arms, of or self._of)
        split: Split = splitting.Split(declared, key=key, salt=salt, repository=repository)
        return split
