"""The command `llmops`: guards on files, from a terminal or a CI job, and the dashboard for the metrics."""

from llmops_sdk.cli._main import main

__all__ = ["main"]
