"""The report of an experiment: one page that opens from a disk."""

from __future__ import annotations

from llmops_sdk.evaluation._report.writing import write_report

__all__ = ["write_report"]
