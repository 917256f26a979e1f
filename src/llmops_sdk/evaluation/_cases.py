"""Cases: what a pipeline is asked, and what is known of the right answer."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llmops_sdk.pipelines import configuration_hash

__all__ = ["Case"]

_DIGITS = 16


@dataclass(frozen=True, kw_only=True)
class Case:
    """One case of a data set.

    Attributes:
        input: What a run is given: a mapping of the prompt's variables, or without a prompt a text or messages.
        expected: The right answer, where one is known: a text, a number, a mapping, whatever the metrics compare with.
        id: Unlike that of every other case of the data set; by default 16 digits of `hash`.
        tags: For tables by group and for `Dataset.filter`.
        cluster: Cases of one cluster (questions about one document, turns of one conversation) are not independent of
            each other: statistics resample whole clusters, and splits keep them together.
        metadata: Anything else that metrics read or people look at. It is not part of the content.
    """

    input: Any
    expected: Any = None
    id: str = ""
    tags: tuple[str, ...] = ()
    cluster: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tags", tuple(self.tags))
        if not self.id:
            object.__setattr__(self, "id", self.hash[:_DIGITS])

    @functools.cached_property
    def hash(self) -> str:
        """SHA-256 (64 hexadecimal digits) of what is asked and expected, the same in every process.

        Raises:
            ConfigurationError: Something of it has no form that another process could compare.
        """
        return configuration_hash([self.input, self.expected])

    def to_json(self) -> dict[str, Any]:
        """As plain values, without what has its default value; `from_json` reads it."""
        said = {"id": self.id, "input": self.input, "expected": self.expected, "tags": list(self.tags)}
        said |= {"cluster": self.cluster, "metadata": dict(self.metadata)}
        return {name: value for name, value in said.items() if value not in (None, [], {})}

    @classmethod
    def from_json(cls, given: Mapping[str, Any], /) -> Case:
        """The case that `to_json` wrote."""
        return cls(**given)
