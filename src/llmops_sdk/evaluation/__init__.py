"""Evaluation: whether one pipeline is better than another, by how much, and how sure that is."""

from __future__ import annotations

__all__: list[str] = []
