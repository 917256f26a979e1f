"""Between our records and vLLM's: a request becomes messages and sampling parameters, vLLM's errors become ours."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_sdk.engines._continuing import check_continues, continues_not
from llmops_sdk.engines._vllm_start import VllmParts
from llmops_sdk.engines._vllm_structure import MOST_VALUES, wrong_schema
from llmops_sdk.errors import (
    BadRequestError,
    ConfigurationError,
    EngineDied,
    EngineError,
    RateLimitError,
    ServerError,
    UnsupportedError,
)
from llmops_sdk.given import is_number
from llmops_sdk.messages import FinishReason, ImagePart, Request

if TYPE_CHECKING:
    from llmops_sdk.engines._vllm_answer import ParsedRequest

__all__ = [
    "FINISH_REASONS",
    "check_request",
    "refuse_images",
    "sampling_params",
    "structure",
    "template_arguments",
    "template_text",
    "translated",
]

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
_OTHERS = ("chat_template_kwargs", "continue_final_message", "parallel_tool_calls", "priority")
_EXTRA = frozenset((*_SAMPLING, *_STRUCTURES, *_OTHERS))

_INT64 = 2**63
_WHOLE = (
    ("max_tokens", 1, _INT64 - 1),
    ("n", 1, 16_384),  # vLLM's own limit
    ("seed", -_INT64, _INT64 - 1),
    ("logprobs", 0, 20),
)
_KINDS: dict[str, tuple[type, str]] = {
    "bad_words": (list, "a list of texts"),
    "chat_template_kwargs": (Mapping, "a mapping"),
    "continue_final_message": (bool, "True or False"),
    "ignore_eos": (bool, "True or False"),
    "include_stop_str_in_output": (bool, "True or False"),
    "logit_bias": (Mapping, "a mapping from token ids to numbers"),
    "parallel_tool_calls": (bool, "True or False"),
    "skip_special_tokens": (bool, "True or False"),
    "spaces_between_special_tokens": (bool, "True or False"),
}
_TOOL_CHOICES = ("auto", "none", "required")


def check_request(
    request: Request, *, engine: str, model: str | None, tool_calls: bool = True, reasoning: bool = False
) -> None:
    """Refuse what cannot be asked, before anything is started or sent; vLLM's own checks come after these.

    Args:
        request: What is asked.
        engine: Name of the engine, for the error.
        model: Its model.
        tool_calls: Whether the engine has a parser of tool calls.
        reasoning: Whether it has a parser of thoughts.

    Raises:
        BadRequestError: A value is impossible.
        UnsupportedError: Tools are asked for without a parser, or a text is to be continued that cannot be.
    """
    problem = None
    if not request.messages:
        problem = "the request has no messages"
    elif not request.extra.keys() <= _EXTRA:
        unknown = ", ".join(map(repr, sorted(request.extra.keys() - _EXTRA)))
        problem = f"unknown in `extra`: {unknown}; this engine knows {', '.join(sorted(_EXTRA))}"
    else:
        problem = _wrong_value(request) or _wrong_tools(request) or _wrong_structure(request)
    if problem is not None:
        raise BadRequestError(problem, engine=engine, model=model)
    if request.continues:
        check_continues(request, engine=engine, model=model)
        if reasoning:
            raise continues_not(
                "the parser of thoughts would take the rest of an answer for thoughts", engine=engine, model=model
            )
        if any(name in request.extra for name in _STRUCTURES):
            raise continues_not("the rest of an answer cannot have the structure of it", engine=engine, model=model)
    if request.tools and request.tool_choice != "none" and not tool_calls:
        raise UnsupportedError(
            "tools are asked for, and this engine was opened without a parser of tool calls; open it with "
            '`tool_call_parser=...`, the name that vLLM has for the model\'s own format ("hermes" for Qwen and Hermes, '
            '"llama3_json" for Llama 3, ...), or leave `tools` out',
            engine=engine,
            model=model,
        )


def _wrong_value(request: Request) -> str | None:
    """What is wrong with a value that vLLM would take as it is, or refuse less clearly."""
    for name, low, high in _WHOLE:
        value = getattr(request, name)
        if value is not None and not (_is_whole(value) and low <= value <= high):
            return f"{name} has to be a whole number from {low} to {high}, not {value!r}"
    for name in ("temperature", "top_p"):
        value = getattr(request, name)
        if value is not None and not (is_number(value) and value >= 0 and math.isfinite(value)):
            return f"{name} has to be a number that is not negative, not {value!r}"
    if isinstance(request.stop, str) or not all(isinstance(text, str) and text for text in request.stop):
        return f"stop has to be a tuple of texts that are not empty, not {request.stop!r}"
    for name, (kind, said) in _KINDS.items():
        if name in request.extra and not isinstance(request.extra[name], kind):
            return f"{name} in `extra` has to be {said}, not {request.extra[name]!r}"
    priority = request.extra.get("priority", 0)
    if not (_is_whole(priority) and -_INT64 <= priority < _INT64):
        return f"priority in `extra` has to be a whole number of 64 bits, not {priority!r}"
    bias = request.extra.get("logit_bias") or {}
    if not all(is_number(value) and math.isfinite(value) for value in bias.values()):
        return "logit_bias in `extra` has to map tokens to numbers"
    return None


def _wrong_tools(request: Request) -> str | None:
    choice = request.tool_choice
    if not request.tools:
        forced = choice not in {None, "none", "auto"} if isinstance(choice, (str, type(None))) else True
        return f"tool_choice={choice!r} asks for a tool call, and there are no tools" if forced else None
    names = [_tool_name(tool) for tool in request.tools]
    if None in names:
        return (
            f"tool {names.index(None) + 1} is not in the OpenAI form: "
            "{'type': 'function', 'function': {'name': ..., 'description': ..., 'parameters': {...}}}"
        )
    if isinstance(choice, str):
        if choice not in _TOOL_CHOICES:
            return f"tool_choice has to be one of {', '.join(_TOOL_CHOICES)} or name a tool, not {choice!r}"
    elif choice is not None and _tool_name(choice) not in names:
        form = "{'type': 'function', 'function': {'name': ...}}"
        return f"tool_choice={choice!r} names none of the tools {names}; write {form}"
    return None


def _wrong_structure(request: Request) -> str | None:
    choice = request.extra.get("choice")
    if isinstance(choice, (list, tuple)) and len(choice) > MOST_VALUES:
        return f"choice in `extra` has {len(choice):,} texts, and {MOST_VALUES:,} are the most"
    schemas = {"response_schema": request.response_schema}
    for tool in request.tools if request.tool_choice != "none" else ():
        schemas[f"the schema of tool {_tool_name(tool)!r}"] = tool["function"].get("parameters")
    for name, schema in schemas.items():
        if schema is None:
            continue
        problem = wrong_schema(schema) if isinstance(schema, Mapping) else "a JSON schema is a mapping"
        if problem is not None:
            return f"{name} cannot be kept to: {problem}"
    return None


def _tool_name(tool: Any) -> str | None:
    function = tool.get("function") if isinstance(tool, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    return name if isinstance(name, str) and name else None


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def refuse_images(request: Request, *, engine: str, model: str | None) -> None:
    """Refuse images for a model that reads text only, before any of them is fetched.

    Raises:
        UnsupportedError: A message holds an image.
    """
    for message in request.messages:
        if not isinstance(message.content, str) and any(isinstance(part, ImagePart) for part in message.content):
            raise UnsupportedError(
                f"{model} reads text only, and a {message.role!r} message holds an image; ask a model that sees",
                engine=engine,
                model=model,
            )


def template_text(given: str | None) -> str | None:
    """The chat template that an option names: the path of a file, or the text itself.

    Raises:
        ConfigurationError: It is neither.

    Example:
        >>> template_text("{{ messages[0].content }}")
        '{{ messages[0].content }}'
    """
    if given is None or "{" in given:
        return given
    try:
        return Path(given).expanduser().read_text(encoding="utf-8")
    except (OSError, ValueError) as exc:
        raise ConfigurationError(f"chat_template {given!r} is neither Jinja text nor a file to be read: {exc}") from exc


def template_arguments(request: Request) -> dict[str, Any]:
    """What the chat template is told besides the messages."""
    if request.continues or request.extra.get("continue_final_message"):
        ending = {"add_generation_prompt": False, "continue_final_message": True}
    else:
        ending = {"add_generation_prompt": True}
    return ending | dict(request.extra.get("chat_template_kwargs", {}))


def structure(parts: VllmParts, request: Request) -> Any:
    """The shape that the answer has to have, as vLLM's `StructuredOutputsParams`, or `None`.

    Raises:
        Exception: Whatever vLLM raises about a value; see `translated`.
    """
    shape = {name: request.extra[name] for name in _STRUCTURES if name in request.extra}
    if isinstance(shape.get("structural_tag"), Mapping):
        shape["structural_tag"] = json.dumps(shape["structural_tag"])
    if request.response_schema is not None:
        shape["json"] = dict(request.response_schema)
    return parts.sampling.StructuredOutputsParams(**shape) if shape else None


def sampling_params(
    parts: VllmParts,
    request: Request,
    defaults: dict[str, Any],
    *,
    streamed: bool,
    parsed: ParsedRequest | None = None,
) -> Any:
    """Make vLLM's `SamplingParams` for `request`; `defaults` are the model's own, `parsed` has the last word.

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
        "logprobs": request.logprobs,
    }
    values.update({name: value for name, value in asked.items() if value is not None})
    values.setdefault("max_tokens", None)  # as many as the window holds; vLLM's own default is 16
    values |= {"structured_outputs": structure(parts, request)} if parsed is None else parsed.sampling
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
