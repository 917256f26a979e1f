"""What the tests of all guards share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from llmops_sdk.calls import Call
from llmops_sdk.protocols import GuardContext


@pytest.fixture(scope="session")
def open_context() -> Callable[..., GuardContext]:
    """Makes the context of a new run (or of the run `call`)."""

    def make(**changes: Any) -> GuardContext:
        settings: dict[str, Any] = {"call": Call(), "stage": "output", "origin": "output"}
        return GuardContext(**(settings | changes))

    return make
