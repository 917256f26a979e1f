"""The one place where environment variables are read. They only fill in what the caller did not give."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = [
    "anthropic_api_key",
    "anthropic_base_url",
    "cache_folder",
    "openai_api_key",
    "openai_base_url",
    "traces_content",
    "without_ray_usage_reports",
]


def anthropic_api_key() -> str | None:
    """`ANTHROPIC_API_KEY`, as the Anthropic client reads it."""
    return os.environ.get("ANTHROPIC_API_KEY") or None


def anthropic_base_url() -> str:
    """`ANTHROPIC_BASE_URL`, as the Anthropic client reads it."""
    return os.environ.get("ANTHROPIC_BASE_URL") or "https://api.anthropic.com"


def openai_api_key() -> str | None:
    """`OPENAI_API_KEY`, as the OpenAI client reads it."""
    return os.environ.get("OPENAI_API_KEY") or None


def openai_base_url() -> str:
    """`OPENAI_BASE_URL`, as the OpenAI client reads it."""
    return os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"


def cache_folder() -> Path:
    """Where models that were converted once are kept: `LLMOPS_CACHE`, else `XDG_CACHE_HOME/llmops_sdk`."""
    own = os.environ.get("LLMOPS_CACHE")
    if own:
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "llmops_sdk"


def traces_content() -> bool:
    """Whether `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` asks for the text of messages in spans."""
    asked = os.environ.get("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "")
    return asked.strip().upper() in {"SPAN_ONLY", "SPAN_AND_EVENT", "TRUE"}


@contextlib.contextmanager
def without_ray_usage_reports() -> Iterator[None]:
    """Set `RAY_USAGE_STATS_ENABLED=0` while Ray starts, unless it is set already."""
    name = "RAY_USAGE_STATS_ENABLED"
    if name in os.environ:
        yield
        return
    os.environ[name] = "0"
    try:
        yield
    finally:
        os.environ.pop(name, None)
