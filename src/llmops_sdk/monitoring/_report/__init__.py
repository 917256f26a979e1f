"""The report of a stretch of time: what changed, and how it went."""

from llmops_sdk.monitoring._report.writing import report_text, write_report

__all__ = ["report_text", "write_report"]
