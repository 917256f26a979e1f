"""Cases: what a pipeline is asked, and what is known of the right answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from llmops_sdk.errors import DatasetError
from llmops_sdk.evaluation._values import encoded, plain, read
from llmops_sdk.surrogates import valid

__all__ = ["Case"]

_DIGITS = 16
_FIELDS = ("id", "input", "expected", "tags", "cluster", "metadata")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case of a data set. It keeps copies of what it is given: what is changed later is no part of it.

    Attributes:
        input: What a run is given: a mapping of the prompt's variables, or without a prompt a text or messages.
        expected: The right answer, where one is known: a text, a number, a mapping, whatever the metrics compare with.
        id: Unlike that of every other case of the data set; by default 16 digits of `hash`.
        tags: For tables by group and for `Dataset.filter`. A text is one tag.
        cluster: Cases of one cluster (questions about one document, turns of one conversation) are not independent of
            each other: statistics resample whole clusters, and splits keep them together.
        metadata: Anything else that metrics read or people look at. It is not part of the content.

    Raises:
        DatasetError: There is no input, or something that a case cannot hold; the message says what and where.

    Example:
        >>> case = Case(input={"question": "1 + 1?"}, expected="2", tags="sums")
        >>> case.id, case.tags
        ('3e93ed19746e65d3', ('sums',))
        >>> Case.from_json(case.to_json()) == case
        True
    """

    input: Any
    expected: Any = None
    id: str = ""
    tags: tuple[str, ...] = ()
    cluster: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    _hash: str = field(default="", init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.input is None:
            raise DatasetError("a case has an `input`: variables of the prompt (`{}` where it has none), or a text")
        set_ = object.__setattr__
        set_(self, "input", plain(self.input, "input"))
        set_(self, "expected", plain(self.expected, "expected"))
        set_(self, "tags", _tags(self.tags))
        set_(self, "cluster", None if self.cluster is None else _name(self.cluster, "cluster") or None)
        if not isinstance(self.metadata, Mapping):
            raise DatasetError(f"`metadata` is a mapping, not a {type(self.metadata).__name__}")
        set_(self, "metadata", plain(self.metadata, "metadata"))
        set_(self, "id", _name(self.id, "id") or self.hash[:_DIGITS])

    @property
    def hash(self) -> str:
        """SHA-256 (64 hexadecimal digits) of what is asked and expected, the same in every process."""
        if not self._hash:
            content = json.dumps(encoded([self.input, self.expected]), sort_keys=True, separators=(",", ":"))
            object.__setattr__(self, "_hash", hashlib.sha256(content.encode("ascii")).hexdigest())
        return self._hash

    def __hash__(self) -> int:
        return hash(self.id)

    def to_json(self) -> dict[str, Any]:
        """As JSON, without what has its default value; `from_json` reads it.

        What JSON has no form for is a mapping of `$llmops` and `value`: `{"$llmops": "date", "value": "2026-11-30"}`.
        """
        said: dict[str, Any] = {"id": self.id, "input": encoded(self.input)}
        if self.expected is not None:
            said["expected"] = encoded(self.expected)
        if self.tags:
            said["tags"] = list(self.tags)
        if self.cluster is not None:
            said["cluster"] = self.cluster
        if self.metadata:
            said["metadata"] = encoded(self.metadata)
        return said

    @classmethod
    def from_json(cls, given: Mapping[str, Any], /) -> Case:
        """The case that `to_json` wrote.

        Raises:
            DatasetError: It is no case.
        """
        if not isinstance(given, Mapping):
            raise DatasetError(f"a case is a mapping with `input`, not a {type(given).__name__}")
        unknown = [name for name in given if name not in _FIELDS]
        if unknown or "input" not in given:
            said = f"has {unknown[0]!r}" if unknown else "has no `input`"
            raise DatasetError(f"a case {said}; it is made of {', '.join(map(repr, _FIELDS))}")
        held = {name: read(given[name], name) for name in ("input", "expected", "metadata") if name in given}
        return cls(**{**given, **held})


def _name(given: object, what: str) -> str:
    if isinstance(given, str):
        return valid(given)
    if isinstance(given, int) and not isinstance(given, bool):  # numbers of rows, keys of a data base
        return str(given)
    raise DatasetError(f"`{what}` is a text, not {given!r}")


def _tags(given: Iterable[str] | str | None) -> tuple[str, ...]:
    if isinstance(given, str):
        return (valid(given),) if given else ()
    tags = list(given) if isinstance(given, Iterable) and not isinstance(given, Mapping) else [given]
    if not all(isinstance(one, str) and one for one in tags):
        raise DatasetError(f"`tags` are texts, such as `('billing', 'long')`, not {given!r}")
    return tuple(dict.fromkeys(valid(str(one)) for one in tags))
