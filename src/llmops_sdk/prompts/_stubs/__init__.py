"""Stubs (`.pyi`): what type checkers and editors know of prompts."""

from __future__ import annotations

from llmops_sdk.prompts._stubs.stub import type_stub

__all__ = ["type_stub"]
