"""Opens files of experiments that are there already."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from llmops_sdk.errors import EvaluationError

if TYPE_CHECKING:
    from llmops_sdk.evaluation._running.reading import KeptExperiment
    from llmops_sdk.evaluation._running.store import Store

__all__ = ["experiments_in", "opened"]


def experiments_in(path: str | os.PathLike[str], /) -> tuple[KeptExperiment, ...]:
    """The experiments that a file keeps, the latest first.

    Raises:
        EvaluationError: There is no such file.
        ConfigurationError: The file belongs to another program.
    """
    store = opened(path)
    try:
        return tuple(store.experiments())
    finally:
        store.close()


def opened(path: str | os.PathLike[str]) -> Store:
    """The store in a file that is there."""
    if not Path(path).is_file():
        raise EvaluationError(f"there is no file {str(path)!r}; `evaluate(..., store=...)` makes one", path=str(path))
    # By name: what runs experiments imports this module.
    store: Store = importlib.import_module("llmops_sdk.evaluation._running.store").Store(path)
    return store
