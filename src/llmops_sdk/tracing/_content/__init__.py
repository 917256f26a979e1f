"""What may be shown of the texts of a run, where its application has asked for content."""

from __future__ import annotations

from llmops_sdk.tracing._content.content import Content, GuardShown, Shown, ToolShown, content_of
from llmops_sdk.tracing._content.policy import PARTS, ContentPolicy, policy_of

__all__ = [
    "PARTS",
    "Content",
    "ContentPolicy",
    "GuardShown",
    "Shown",
    "ToolShown",
    "content_of",
    "policy_of",
]
