"""A report as a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.evaluation._report.page import page
from llmops_sdk.whole_file import replacing

if TYPE_CHECKING:
    from llmops_sdk.evaluation._experiment.columns import Columns
    from llmops_sdk.evaluation._experiment.experiment import Experiment
    from llmops_sdk.evaluation._running.plan import Plan
    from llmops_sdk.evaluation._running.reading import Reading

__all__ = ["write_report"]


def write_report(
    experiment: Experiment,
    reading: Reading,
    columns: Columns,
    plan: Plan,
    path: str | os.PathLike[str],
    *,
    cases: int,
) -> Path:
    """Write the page; a file that is there is replaced as a whole.

    Raises:
        ConfigurationError: The folder is not there, or `cases` is no number of cases.
    """
    target = Path(path)
    if isinstance(cases, bool) or not isinstance(cases, int) or cases < 0:
        raise ConfigurationError(f"`cases` is how many cases are shown one by one, 0 or more, not {cases!r}")
    if not target.parent.is_dir():
        raise ConfigurationError(f"there is no folder {str(target.parent)!r} for the report; make it first")
    written = page(experiment, reading, columns, plan, cases=cases)
    with replacing(target) as beside:
        beside.write_text(written, "utf-8")
    return target
