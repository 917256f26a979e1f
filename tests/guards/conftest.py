"""What the tests of all guards share."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from llmops_sdk.calls import Call
from llmops_sdk.protocols import GuardContext


@pytest.fixture(scope="session")
def cpu_time() -> Callable[[Callable[[int], object], int], float]:
    """Measures the CPU time of `work(size)`, in seconds: the least of three runs.

    A text four times as long takes four times as long where that is linear, and sixteen times where it is not.
    """

    def measure(work: Callable[[int], object], size: int) -> float:
        taken = []
        for _ in range(3):
            started = time.process_time()
            work(size)
            taken.append(time.process_time() - started)
        return min(taken)

    return measure


@pytest.fixture(scope="session")
def open_context() -> Callable[..., GuardContext]:
    """Makes the context of a new run (or of the run `call`)."""

    def make(**changes: Any) -> GuardContext:
        settings: dict[str, Any] = {"call": Call(), "stage": "output", "origin": "output"}
        return GuardContext(**(settings | changes))

    return make
