"""Hands finished cases to the stopping rule, in the order that was planned before anything was known."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Protocol

from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation._running.cells import Group

__all__ = ["Feed", "Rule"]


class Rule(Protocol):
    """Tells when it is clear; see `stopping.Stopping`."""

    @property
    def decided(self) -> bool:
        """Whether more cases would change nothing."""
        ...

    def observe(self, case: Case, scores: Mapping[str, Mapping[str, Sequence[float]]], /) -> None:
        """A case with its scores: label -> name -> those of all repeats."""
        ...


class Feed:
    """Cases that are done sooner than those before them wait: a rule that saw the fast ones first would see others
    than it was made for.

    Attributes:
        observed: Cases that the rule has seen.
        last_place: Place of the last one of them.
    """

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._planned: deque[Group] = deque()
        self._repeats: list[Group] = []
        self.observed = 0
        self.last_place: bytes | None = None

    @property
    def decided(self) -> bool:
        """Whether no further case needs to be asked."""
        return self._rule.decided

    def expect(self, group: Group) -> None:
        """The next group in the planned order."""
        self._planned.append(group)

    def advance(self, *, ended: bool = False) -> None:
        """Observe all cases that are done and have none before them that is not; `ended`: nothing more is planned."""
        while self._planned and not self._planned[0].left and not self.decided:
            group = self._planned.popleft()
            if self._repeats and self._repeats[0].case.position != group.case.position:
                self._observe()
                if self.decided:
                    return
            self._repeats.append(group)
        if ended and not self._planned and self._repeats and not self.decided:
            self._observe()

    def _observe(self) -> None:
        case = self._repeats[0].case
        scores: dict[str, dict[str, list[float]]] = {}
        for group in self._repeats:
            for label, of_run in group.scores.items():
                found = scores.setdefault(label, {})
                for name, value in of_run.items():
                    found.setdefault(name, []).append(value)
        self._repeats = []
        self._rule.observe(case.case, scores)
        self.observed += 1
        self.last_place = case.place
