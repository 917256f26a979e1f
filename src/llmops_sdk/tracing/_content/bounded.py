"""Work of others (a guard, a store) that may fail or hang, for whom nobody shall wait long."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from llmops_sdk import loops

__all__ = ["Bounded"]

log = logging.getLogger("llmops_sdk")
_T = TypeVar("_T")

_LONGEST_S: Final = 5.0
_REST_S: Final = 30.0


class Bounded:
    """Waits for it so long at most. When it has hung, it is left alone for a while.

    Args:
        what: Who works, for the log.
        longest_s: Seconds that it may take.
        rest_s: Seconds for which it is left alone after that.
    """

    def __init__(self, what: str, *, longest_s: float = _LONGEST_S, rest_s: float = _REST_S) -> None:
        self._what = what
        self._longest_s = longest_s
        self._rest_s = rest_s
        self._until = 0.0
        self._told: set[type[BaseException]] = set()
        self._lock = threading.Lock()

    def run(self, make: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """What `make()` gives on the SDK's loop.

        Raises:
            TimeoutError: It takes too long, or has done so lately.
        """
        if time.monotonic() < self._until:
            raise TimeoutError(f"{self._what} has hung lately")
        try:
            return loops.run_sync(make, method="to_json()", timeout_s=self._longest_s, on_timeout=self._hung)
        except TimeoutError:
            self._until = time.monotonic() + self._rest_s
            raise

    def _hung(self) -> TimeoutError:
        return TimeoutError(f"{self._what} took longer than {self._longest_s} s")

    def tell(self, exc: BaseException, then: str) -> None:
        """Log a failure, once for each kind. What it says may quote the text, so only its class is told."""
        with self._lock:
            told = type(exc) in self._told
            self._told.add(type(exc))
        if not told:
            log.warning("tracing: %s failed (%s); %s", self._what, type(exc).__name__, then)
