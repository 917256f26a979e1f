"""What may be shown of the texts of a run, where its application has asked for content."""

from __future__ import annotations

from llmops_sdk.tracing._content.rules import Content, Shown, content_of

__all__ = ["Content", "Shown", "content_of"]
