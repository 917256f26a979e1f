"""What a merge gives: a text, and the conflicts in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = ["MergeConflict", "MergeResult"]


class MergeConflict(NamedTuple):
    """A place that both sides changed, each in its own way.

    Attributes:
        where: `"sections.system"`, `"parameters.temperature"`, `"variables"`.
        reason: What is the matter, in words.
        base: What was there before; `None` where nothing was.
        ours: What our side made of it; `None` where it is gone.
        theirs: What their side made of it; `None` where it is gone.
    """

    where: str
    reason: str
    base: str | None = None
    ours: str | None = None
    theirs: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class MergeResult:
    """A merged prompt file.

    Attributes:
        name: Name of the prompt.
        text: The whole file; with git's conflict markers where there are conflicts.
        conflicts: What nobody but people can decide, in the order of the file.
        ours: What our side is called.
        theirs: What their side is called.
        commit: The commit that was made of it; `None` where none was made.
    """

    name: str
    text: str
    conflicts: tuple[MergeConflict, ...]
    ours: str
    theirs: str
    commit: str | None = None

    @property
    def clean(self) -> bool:
        """Whether there are no conflicts."""
        return not self.conflicts

    def to_json(self) -> dict[str, Any]:
        """For `json.dumps`."""
        return {
            "name": self.name,
            "ours": self.ours,
            "theirs": self.theirs,
            "clean": self.clean,
            "commit": self.commit,
            "conflicts": [one._asdict() for one in self.conflicts],
            "text": self.text,
        }

    def __str__(self) -> str:
        number = len(self.conflicts)
        state = "clean" if self.clean else f"{number} conflict{'s' * (number > 1)}"
        made = f", commit {self.commit[:12]}" if self.commit else ""
        lines = [f"{self.name}: {self.theirs} into {self.ours}: {state}{made}"]
        return "\n".join([*lines, *(f"  {one.where}: {one.reason}" for one in self.conflicts)])

    __repr__ = __str__
