"""What fails in tracing fails alone: it is counted, and the first of each kind is logged."""

from __future__ import annotations

import logging
from typing import Final

__all__ = ["FAULTS", "Faults"]

log = logging.getLogger("llmops_sdk")


class Faults:
    """Counts failures.

    Attributes:
        count: How many there were.
    """

    def __init__(self) -> None:
        self.count = 0
        self._known: set[tuple[str, type[BaseException]]] = set()

    def note(self, what: str, error: BaseException) -> None:
        """`what` failed with `error`: say so, unless it has failed in the same way before."""
        self.count += 1
        kind = (what, type(error))
        if kind not in self._known:
            self._known.add(kind)
            log.error("%s failed; the like is counted, and not logged again", what, exc_info=error)


FAULTS: Final = Faults()
"""Those of this process."""
