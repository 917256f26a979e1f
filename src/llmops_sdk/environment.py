"""The one place where environment variables are read. They only fill in what the caller did not give."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

__all__ = [
    "anthropic_api_key",
    "anthropic_base_url",
    "cache_folder",
    "content_goes_to",
    "content_store",
    "credentials",
    "defaults",
    "github_step_summary",
    "named",
    "openai_api_key",
    "openai_base_url",
    "openinference_hides",
    "semconv_opt_in",
    "tiktoken_cache",
]

_CREDENTIALS = ("_KEY", "_TOKEN", "_SECRET", "_PASSWORD")
_HIDE = "OPENINFERENCE_HIDE_"
_CONTENT_GOES_TO = {
    "SPAN_ONLY": frozenset({"span"}),
    "EVENT_ONLY": frozenset({"event"}),
    "SPAN_AND_EVENT": frozenset({"span", "event"}),
    "TRUE": frozenset({"span", "event"}),  # as older instrumentations read it
}


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


def tiktoken_cache() -> Path | None:
    """Where tiktoken keeps vocabularies, by the variables that it reads itself; `None` where it shall keep none."""
    for name in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR"):
        folder = os.environ.get(name)
        if folder is not None:
            return Path(folder) if folder else None
    return Path(tempfile.gettempdir()) / "data-gym-cache"


def content_goes_to() -> frozenset[str]:
    """Where `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` asks for the text of messages: `"span"`, `"event"`.

    What it does not know means nothing, as an empty one does.
    """
    asked = os.environ.get("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "").strip().upper()
    return _CONTENT_GOES_TO.get(asked, frozenset())


def content_store() -> str | None:
    """`OTEL_INSTRUMENTATION_GENAI_UPLOAD_BASE_PATH`: the URL of a folder for long texts, for fsspec."""
    return os.environ.get("OTEL_INSTRUMENTATION_GENAI_UPLOAD_BASE_PATH", "").strip() or None


def github_step_summary() -> Path | None:
    """`GITHUB_STEP_SUMMARY`: the file whose Markdown GitHub shows with a job."""
    given = os.environ.get("GITHUB_STEP_SUMMARY")
    return Path(given) if given else None


def openinference_hides() -> frozenset[str]:
    """What `OPENINFERENCE_HIDE_...` hides: the rest of the name of each that is true, such as `"INPUTS"`."""
    return frozenset(
        name.removeprefix(_HIDE)
        for name, value in os.environ.items()
        if name.startswith(_HIDE) and value.strip().lower() in {"true", "1", "yes", "on"}
    )


def semconv_opt_in() -> frozenset[str]:
    """What `OTEL_SEMCONV_STABILITY_OPT_IN` names: generations of OpenTelemetry's conventions, with commas between."""
    asked = os.environ.get("OTEL_SEMCONV_STABILITY_OPT_IN", "")
    return frozenset(name.strip() for name in asked.split(",") if name.strip())


def credentials() -> list[str]:
    """Values of the variables that are named like keys and passwords, so that messages can be kept free of them."""
    return [value for name, value in os.environ.items() if name.upper().endswith(_CREDENTIALS)]


@contextlib.contextmanager
def defaults(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables where nothing is set, while a library is imported that reads them; then they are gone again."""
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def named(name: str) -> str | None:
    """The variable of that name, for files that name what they must not hold; `None` where it is empty or not set."""
    return os.environ.get(name) or None
