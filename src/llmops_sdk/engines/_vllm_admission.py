"""Who may wait: a request that no place is left for is refused at once, with a time to come back."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from llmops_sdk.errors import RateLimitError

__all__ = ["Admission"]

_WEIGHT = 0.2
"""Of the latest answer in the moving average of how long an answer takes."""


class Admission:
    """Counts the answers that an engine has been asked for, and refuses those beyond what may wait.

    Args:
        max_waiting: Most answers that may wait for a place; `None`: any number.

    Attributes:
        max_waiting: As given.
        asked: Answers that are being worked on or wait.
    """

    def __init__(self, max_waiting: int | None) -> None:
        self.max_waiting = max_waiting
        self.asked = 0
        self._answer_s = 0.0

    @contextlib.contextmanager
    def place(self, answers: int, places: int, *, engine: str, model: str | None) -> Iterator[None]:
        """Hold a place for a request of so many answers.

        Args:
            answers: How many answers the request asks for.
            places: How many the engine works on at once.
            engine: The engine's name, for the error.
            model: The model, for the error.

        Raises:
            RateLimitError: More would wait than may.
        """
        self._refuse_too_many(answers, places, engine, model)
        self.asked += answers
        began = time.perf_counter()
        try:
            yield
            took = time.perf_counter() - began
            self._answer_s = took if not self._answer_s else self._answer_s + _WEIGHT * (took - self._answer_s)
        finally:
            self.asked = max(self.asked - answers, 0)

    def _refuse_too_many(self, answers: int, places: int, engine: str, model: str | None) -> None:
        most = self.max_waiting
        # A request that asks for more answers than there are places is let in when nothing else is there.
        if most is None or not self.asked or self.asked + answers <= places + most:
            return
        raise RateLimitError(
            f"{max(self.asked - places, 0)} answers wait for the engine {engine!r}, which works on {places} at once, "
            f"and max_waiting is {most}",
            engine=engine,
            model=model,
            retry_after_s=max(self._answer_s * answers / places, 0.1) if self._answer_s else None,
        )
