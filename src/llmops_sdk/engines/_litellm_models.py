"""What LiteLLM's table of models says of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmops_sdk.protocols import Capabilities

__all__ = ["capabilities_in"]


def capabilities_in(table: Mapping[str, Any], provider: str, model: str) -> Capabilities:
    """What the model can do; all unknown where the table does not have it.

    The table gives the most tokens of a prompt and of an answer; both together are the window here, so that nothing is
    refused that might fit.

    Example:
        >>> row = {"litellm_provider": "openai", "max_input_tokens": 100, "max_output_tokens": 20}
        >>> capabilities_in({"some-model": row}, "openai", "some-model").context_window
        120
    """
    row = table.get(f"{provider}/{model}")
    if row is None:
        row = table.get(model)  # the large providers' models stand without the name of the provider
        if not isinstance(row, Mapping) or row.get("litellm_provider") != provider:
            return Capabilities()
    prompt, answer = row.get("max_input_tokens"), row.get("max_output_tokens")
    return Capabilities(
        tools=_said(row, "supports_function_calling"),
        images=_said(row, "supports_vision"),
        json_schema=_said(row, "supports_response_schema"),
        context_window=prompt + answer if isinstance(prompt, int) and isinstance(answer, int) else None,
    )


def _said(row: Mapping[str, Any], name: str) -> bool | None:
    said = row.get(name)
    return said if isinstance(said, bool) else None
