"""Hands finished cases to the stopping rule, in the order that was planned before anything was known."""

from __future__ import annotations

from collections import deque

from llmops_sdk.evaluation._running.cells import Group
from llmops_sdk.evaluation._running.stopping import Stopping

__all__ = ["Feed"]


class Feed:
    """What is done sooner than a case before it waits: a rule that saw the fast ones first would see a biased part."""

    def __init__(self, rule: Stopping) -> None:
        self._rule = rule
        self._planned: deque[Group] = deque()
        self._repeats: list[Group] = []

    @property
    def decided(self) -> bool:
        """Whether no further case needs to be asked."""
        return self._rule.decided

    @property
    def observed(self) -> int:
        """Cases that the rule has looked at."""
        return self._rule.observed

    def expect(self, group: Group) -> None:
        """The next group in the planned order."""
        self._planned.append(group)

    def advance(self) -> None:
        """Observe the cases that are done, up to the first that is not."""
        while self._planned and not self._planned[0].left and not self.decided:
            group = self._planned.popleft()
            if self._repeats and self._repeats[0].case.position != group.case.position:
                self._observe()
            self._repeats.append(group)

    def end(self) -> None:
        """There are no more cases."""
        self.advance()
        if self._repeats and not self.decided:
            self._observe()
        self._rule.close()

    def _observe(self) -> None:
        scores: dict[str, dict[str, list[float]]] = {}
        for group in self._repeats:
            for label, of_run in group.scores.items():
                found = scores.setdefault(label, {})
                for name, value in of_run.items():
                    found.setdefault(name, []).append(value)
        self._rule.observe(self._repeats[0].case.case, scores)
        self._repeats = []
