"""The record of a run as JSON, with what was said where it is asked for."""

from __future__ import annotations

from typing import Any

from llmops_sdk.calls import Call
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.tracing._content import ContentPolicy, content_of, policy_of

__all__ = ["to_json"]


def to_json(call: Call, *, content: bool | ContentPolicy = False) -> dict[str, Any]:
    """The record of a run as a dict that `json.dumps` takes; see `Call.to_json`.

    Args:
        call: The run; it may still be running.
        content: Add the messages of each attempt, as far as the guards let them pass (`input`, `output`); a
            `ContentPolicy` says which, and who redacts them: that may take time.

    Raises:
        ConfigurationError: It is no call, or `content` is none of these.

    Example:
        >>> from llmops_sdk.calls import Call, Started
        >>> call = Call()
        >>> call.record(Started(call.started, "support", streamed=False))
        >>> to_json(call)["events"]
        [{'event': 'started', 'at': 0.0, 'pipeline': 'support', 'streamed': False}]
    """
    if not isinstance(call, Call):
        raise ConfigurationError(f"`to_json` takes a call, such as `result.call`, not a {type(call).__name__}")
    policy = policy_of(content)
    written = call.to_json()
    if policy is not None:
        attempts = [event for event in written["events"] if event["event"] == "attempt_ended"]
        # A run that goes on may have come to another attempt in the meantime.
        for event, shown in zip(attempts, content_of(call, policy).attempts, strict=False):
            event["input"], event["output"] = shown.input, shown.output
    return written
