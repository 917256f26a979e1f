"""A report as a file, and as text."""

from __future__ import annotations

import os
from pathlib import Path

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.monitoring._report.page import page
from llmops_sdk.monitoring._report.reading import read
from llmops_sdk.monitoring._report.text import text
from llmops_sdk.monitoring._store import Store
from llmops_sdk.whole_file import replacing

__all__ = ["report_text", "write_report"]


def write_report(
    store: Store, path: str | os.PathLike[str], *, since: float | None = None, until: float | None = None
) -> Path:
    """Write one HTML file that needs nothing else: it loads nothing, and opens from a disk, in the dark and in light.

    Args:
        store: What a monitor has seen.
        path: The file; it is replaced as a whole if it is there.
        since: From when, in seconds since the epoch; `None` is from the first run.
        until: Until when, not included; `None` is to the last run.

    Raises:
        ConfigurationError: `since` is not before `until`, or the folder is not there.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise ConfigurationError(f"there is no folder {str(target.parent)!r} for the report; make it first")
    written = page(read(store, since, until))
    with replacing(target) as beside:
        beside.write_text(written, "utf-8")
    return target


def report_text(store: Store, *, since: float | None = None, until: float | None = None) -> str:
    """The report in a few lines, for a terminal. Arguments and errors are those of `write_report`."""
    return text(read(store, since, until))
