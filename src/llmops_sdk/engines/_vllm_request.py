"""Between our records and vLLM's: a request becomes messages and sampling parameters, vLLM's errors become ours."""

from __future__ import annotations

from typing import Any

from llmops_sdk.engines._vllm_start import VllmParts
from llmops_sdk.errors import BadRequestError, EngineDied, EngineError, RateLimitError, ServerError
from llmops_sdk.messages import FinishReason, Request

__all__ = ["FINISH_REASONS", "check_request", "sampling_params", "template_arguments", "translated"]

FINISH_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length", "repetition": "stop"}
"""vLLM's finish reason -> ours; `"abort"` and `"error"` are failures."""

_SAMPLING = (
    "allowed_token_ids",
    "bad_words",
    "extra_args",
    "frequency_penalty",
    "ignore_eos",
    "include_stop_str_in_output",
    "logit_bias",
    "min_p",
    "min_tokens",
    "presence_penalty",
    "repetition_penalty",
    "skip_special_tokens",
    "spaces_between_special_tokens",
    "stop_token_ids",
    "thinking_token_budget",
    "top_k",
)
_STRUCTURES = ("choice", "grammar", "json_object", "regex", "structural_tag")
_OTHERS = ("chat_template_kwargs", "continue_final_message", "priority")
_EXTRA = frozenset((*_SAMPLING, *_STRUCTURES, *_OTHERS))


def check_request(request: Request, *, engine: str, model: str | None) -> None:
    """Refuse what this engine cannot do, before anything is done.

    Raises:
        BadRequestError: Tools or an adapter are asked for, or `extra` holds unknown names.
    """
    problem = None
    if not request.messages:
        problem = "the request has no messages"
    elif request.tools and request.tool_choice != "none":
        problem = "this engine does not read tool calls from the answer yet; ask a server engine, or leave `tools` out"
    elif request.adapter is not None:
        problem = f"this engine does not load adapters yet (adapter={request.adapter!r})"
    elif not request.extra.keys() <= _EXTRA:
        unknown = ", ".join(map(repr, sorted(request.extra.keys() - _EXTRA)))
        problem = f"unknown in `extra`: {unknown}; this engine knows {', '.join(sorted(_EXTRA))}"
    if problem is not None:
        raise BadRequestError(problem, engine=engine, model=model)


def template_arguments(request: Request) -> dict[str, Any]:
    """What the chat template is told besides the messages."""
    if request.extra.get("continue_final_message"):
        ending = {"add_generation_prompt": False, "continue_final_message": True}
    else:
        ending = {"add_generation_prompt": True}
    return ending | dict(request.extra.get("chat_template_kwargs", {}))


def sampling_params(parts: VllmParts, request: Request, defaults: dict[str, Any], *, streamed: bool) -> Any:
    """Make vLLM's `SamplingParams` for `request`; `defaults` are the model's own.

    Raises:
        Exception: Whatever vLLM raises about a value; see `translated`.
    """
    kinds = parts.sampling.RequestOutputKind
    values = defaults | {name: value for name, value in request.extra.items() if name in _SAMPLING}
    asked = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "max_tokens": request.max_tokens,
        "seed": request.seed,
        "stop": list(request.stop) or None,
    }
    values.update({name: value for name, value in asked.items() if value is not None})
    values.setdefault("max_tokens", None)  # as many as the window holds; vLLM's own default is 16
    structure = {name: request.extra[name] for name in _STRUCTURES if name in request.extra}
    if request.response_schema is not None:
        structure["json"] = dict(request.response_schema)
    if structure:
        values["structured_outputs"] = parts.sampling.StructuredOutputsParams(**structure)
    return parts.sampling.SamplingParams(
        n=request.n, output_kind=kinds.DELTA if streamed else kinds.FINAL_ONLY, skip_clone=True, **values
    )


def translated(error: Exception, parts: VllmParts, *, engine: str, model: str | None) -> EngineError:
    """Our error for what vLLM raised."""
    where: dict[str, Any] = {"engine": engine, "model": model}
    text = str(error) or type(error).__name__
    if isinstance(error, parts.engine_errors.EngineDeadError):
        return EngineDied(
            f"the core of {engine!r} is gone (killed, or out of memory); `await engine.astart()` starts it again",
            **where,
        )
    if isinstance(error, (parts.errors.QueueOverflowError, parts.errors.MaxQueuedTokensError)):
        return RateLimitError(text, **where)
    if isinstance(error, parts.engine_errors.EngineGenerateError) and isinstance(error.__cause__, Exception):
        error, text = error.__cause__, str(error.__cause__)
    if isinstance(error, (parts.errors.VLLMClientError, ValueError, TypeError)):
        return BadRequestError(text, **where)
    return ServerError(f"{type(error).__name__}: {text}", **where)
