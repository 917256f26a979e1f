"""Data sets: from files, tables, traces and production, read as they are needed."""

from __future__ import annotations

from llmops_sdk.evaluation._datasets.dataset import Dataset

__all__ = ["Dataset"]
