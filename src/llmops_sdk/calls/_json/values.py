"""Parts of events as values that JSON has."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

from llmops_sdk.errors import EngineError
from llmops_sdk.messages import PromptRef, Usage
from llmops_sdk.surrogates import valid
from llmops_sdk.verdicts import Verdict

__all__ = ["error", "money", "number", "plain", "prompt", "said", "text", "usage", "verdict"]


def text(value: str | None) -> str | None:
    """A text that can be encoded."""
    return None if value is None else valid(value)


def number(value: float | None) -> float | None:
    """JSON has no infinity and no NaN."""
    return value if value is not None and math.isfinite(value) else None


def money(value: Decimal | None) -> str | None:
    """Decimal text, so that nothing is lost."""
    return None if value is None else str(value)


def plain(value: object) -> object:
    """Whatever an application has put into a tag."""
    if isinstance(value, str):
        return valid(value)
    if isinstance(value, float):
        return number(value)
    if value is None or isinstance(value, bool | int):
        return value
    return valid(said(value))


def said(value: object) -> str:
    """`str(value)`; its class, where that raises."""
    try:
        return str(value)
    except Exception:  # noqa: BLE001  (an object of the application)
        return f"<{type(value).__name__}>"


def error(value: BaseException | None) -> dict[str, Any] | None:
    """What kind of error it is; its message may quote what was sent."""
    if value is None:
        return None
    written: dict[str, Any] = {"type": type(value).__name__}
    if value.__cause__ is not None:
        written["cause"] = type(value.__cause__).__name__
    if isinstance(value, EngineError):
        written["status_code"] = value.status_code
        written["request_id"] = text(value.request_id)
        written["retryable"] = value.retryable
    return written


def verdict(value: Verdict) -> dict[str, Any]:
    """A guard's decision, without the text that it wrote."""
    return {
        "action": value.action,
        "reason": valid(value.reason),
        "skipped": text(value.skipped),
        "error": None if value.error is None else valid(value.error.partition(":")[0]),
        "findings": [
            {
                "kind": valid(finding.kind),
                "start": finding.start,
                "end": finding.end,
                "score": number(finding.score),
                "rule": valid(finding.rule),
                "origin": valid(finding.origin),
            }
            for finding in value.findings
        ],
    }


def prompt(value: PromptRef | None) -> dict[str, Any] | None:
    """Which prompt it was."""
    if value is None:
        return None
    said = {"name": valid(value.name), "version": text(value.version), "commit": value.commit, "hash": value.hash}
    return said if value.arm is None else {**said, "arm": text(value.arm), "split": text(value.split)}


def usage(value: Usage | None) -> dict[str, Any] | None:
    """Tokens, by what is charged for them."""
    if value is None:
        return None
    return {
        "input_tokens": value.input_tokens,
        "output_tokens": value.output_tokens,
        "cached_input_tokens": value.cached_input_tokens,
        "cache_write_tokens": value.cache_write_tokens,
        "reasoning_tokens": value.reasoning_tokens,
        "cache_write_1h_tokens": value.cache_write_1h_tokens,
        "audio_input_tokens": value.audio_input_tokens,
        "cached_audio_tokens": value.cached_audio_tokens,
        "audio_output_tokens": value.audio_output_tokens,
        "estimated": value.estimated,
        "service_tier": text(value.service_tier),
        "billed_usd": money(value.billed_usd),
        "also_charged": [valid(name) for name in value.also_charged],
    }
