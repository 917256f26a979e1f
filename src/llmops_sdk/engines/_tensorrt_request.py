"""From a request to what TensorRT-LLM's `LLM.generate_async` takes, and from its errors to ours."""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Collection, Mapping
from typing import Any

from llmops_sdk.engines._chat_form import chat_messages
from llmops_sdk.engines._vllm_structure import wrong_schema
from llmops_sdk.errors import (
    BadRequestError,
    ConfigurationError,
    ContextLengthError,
    EngineDied,
    EngineError,
    MissingDependencyError,
    ServerError,
    UnsupportedError,
)
from llmops_sdk.given import is_number
from llmops_sdk.messages import ImagePart, Request

__all__ = [
    "INSTALL",
    "TensorRTParts",
    "check_request",
    "prompt_tokens",
    "sampling_params",
    "translated",
]

INSTALL = (
    "pip3 install tensorrt_llm  # on Linux, with an NVIDIA GPU of compute capability 8.0 or higher, CUDA Toolkit 13 "
    "and Python 3.12; NVIDIA's installation guide says what has to be there before"
)
"""How the package is installed, as a command with a comment."""

_WHOLE = (
    "early_stopping",
    "min_tokens",
    "no_repeat_ngram_size",
    "top_k",
    "top_p_reset_ids",
)
_NUMBERS = (
    "frequency_penalty",
    "length_penalty",
    "min_p",
    "presence_penalty",
    "repetition_penalty",
    "top_p_decay",
    "top_p_min",
)
_SWITCHES = (
    "ignore_eos",
    "include_stop_str_in_output",
    "skip_special_tokens",
    "spaces_between_special_tokens",
)
_LISTS = ("bad", "bad_token_ids", "stop_token_ids")
_SAMPLING = frozenset((*_WHOLE, *_NUMBERS, *_SWITCHES, *_LISTS))
_STRUCTURES = ("grammar", "json_object", "regex", "structural_tag")
_EXTRA = _SAMPLING | frozenset((*_STRUCTURES, "cache_salt", "chat_template_kwargs"))

_LIMITS = (("max_tokens", 1, 2**31 - 1), ("n", 1, 1024), ("seed", 0, 2**64 - 1), ("logprobs", 0, 20))

_TOO_LONG = ("max_num_tokens", "max_seq_len", "max_input_len", "prompt length", "default_max_tokens")
"""Words of TensorRT-LLM's errors about prompts that are too long."""

_REFUSED = ("grammar", "guided", "invalid", "lora", "not support", "regex", "schema", "unsupported")
"""Words of its errors about requests that stay wrong when they are sent again."""


class TensorRTParts:
    """The parts of TensorRT-LLM that are used, imported when the first engine starts.

    Raises:
        MissingDependencyError: TensorRT-LLM is not installed.
        ConfigurationError: It is, and cannot be imported.
    """

    def __init__(self) -> None:
        try:
            api = importlib.import_module("tensorrt_llm.llmapi")
            self.LLM: Any = api.LLM
            self.SamplingParams: Any = api.SamplingParams
            self.GuidedDecodingParams: Any = api.GuidedDecodingParams
            self.KvCacheConfig: Any = api.KvCacheConfig
            self.LoRARequest: Any = api.LoRARequest
            self.RequestError: Any = api.RequestError
        except Exception as exc:  # the import loads CUDA's and MPI's libraries, which fail in any way
            if isinstance(exc, ModuleNotFoundError) and exc.name == "tensorrt_llm":
                raise MissingDependencyError("`tensorrt:`", package="tensorrt_llm", extra="", command=INSTALL) from exc
            raise ConfigurationError(
                f"TensorRT-LLM is installed but cannot be imported: {type(exc).__name__}: {exc}. "
                "`python3 -c 'import tensorrt_llm'` has to work first; NVIDIA's installation guide says what it needs"
            ) from exc


def check_request(request: Request, *, adapters: Collection[str], guided: bool, engine: str, model: str | None) -> None:
    """Refuse what cannot be asked, before anything is started or sent; TensorRT-LLM's own checks come after these.

    Args:
        request: What is asked.
        adapters: Names of the LoRA adapters that the engine was opened with.
        guided: Whether the engine was opened with a backend for structures.
        engine: Name of the engine, for the error.
        model: Its model.

    Raises:
        BadRequestError: The request asks for what is not there, or a value is impossible.
        UnsupportedError: It asks for tools, shows an image, or wants a message continued.
    """
    problem = (
        _wrong_parts(request, adapters)
        or _wrong_value(request)
        or _wrong_extra(request.extra)
        or _wrong_structure(request, guided)
    )
    if problem is not None:
        raise BadRequestError(problem, engine=engine, model=model)
    missing = _not_offered(request)
    if missing is not None:
        raise UnsupportedError(missing, engine=engine, model=model)


def _not_offered(request: Request) -> str | None:
    for message in request.messages:
        if not isinstance(message.content, str) and any(isinstance(part, ImagePart) for part in message.content):
            return "this engine sends text only, and a message holds an image; `trtllm-serve` takes images"
    if request.continues:
        return "this engine continues no message; leave out `continues`, or ask another engine"
    if request.tools and request.tool_choice != "none":
        return (
            "TensorRT-LLM reads tool calls in its server only: start `trtllm-serve` with `--tool_parser` and open it "
            "by its URL, or leave `tools` out"
        )
    return None


def _wrong_parts(request: Request, adapters: Collection[str]) -> str | None:
    if not request.messages:
        return "the request has no messages"
    if not request.tools and request.tool_choice not in (None, "none", "auto"):
        return f"tool_choice={request.tool_choice!r} asks for a tool call, and there are no tools"
    if request.adapter is not None and request.adapter not in adapters:
        known = ", ".join(map(repr, sorted(adapters))) or "none"
        return (
            f"there is no adapter {request.adapter!r}; the engine was opened with {known} (`adapters={{name: path}}`)"
        )
    return None


def _wrong_value(request: Request) -> str | None:
    for name, low, high in _LIMITS:
        value = getattr(request, name)
        if value is not None and not (_is_whole(value) and low <= value <= high):
            return f"{name} has to be a whole number from {low} to {high}, not {value!r}"
    for name in ("temperature", "top_p"):
        value = getattr(request, name)
        if value is not None and not (_is_number(value) and value >= 0):
            return f"{name} has to be a number that is not negative, not {value!r}"
    if isinstance(request.stop, str) or not all(isinstance(text, str) and text for text in request.stop):
        return f"stop has to be a tuple of texts that are not empty, not {request.stop!r}"
    return None


def _wrong_extra(extra: Mapping[str, Any]) -> str | None:
    if not extra.keys() <= _EXTRA:
        unknown = ", ".join(map(repr, sorted(extra.keys() - _EXTRA)))
        return f"unknown in `extra`: {unknown}; this engine knows {', '.join(sorted(_EXTRA))}"
    for names, fits, said in (
        (_WHOLE, _is_whole, "a whole number"),
        (_NUMBERS, _is_number, "a number"),
        ((*_SWITCHES, "json_object"), lambda value: isinstance(value, bool), "True or False"),
        (_LISTS, lambda value: isinstance(value, list), "a list"),
        (("cache_salt", "grammar", "regex"), lambda value: isinstance(value, str) and value, "a text"),
        (("chat_template_kwargs",), lambda value: isinstance(value, Mapping), "a mapping"),
    ):
        for name in names:
            if name in extra and not fits(extra[name]):
                return f"{name} in `extra` has to be {said}, not {extra[name]!r}"
    return None


def _wrong_structure(request: Request, guided: bool) -> str | None:
    shapes = _structure(request)
    if len(shapes) > 1:
        return f"an answer has one structure, and {' and '.join(sorted(shapes))} are asked for"
    if shapes and not guided:
        return "the engine was opened with guided_decoding_backend=None, which keeps to no structure"
    if request.response_schema is not None:
        problem = wrong_schema(request.response_schema)
        return None if problem is None else f"response_schema cannot be kept to: {problem}"
    return None


def _structure(request: Request) -> dict[str, Any]:
    """The fields of `GuidedDecodingParams` that the request sets."""
    shapes = {name: request.extra[name] for name in _STRUCTURES if request.extra.get(name)}
    if isinstance(shapes.get("structural_tag"), Mapping):
        shapes["structural_tag"] = json.dumps(shapes["structural_tag"])
    if request.response_schema is not None:
        shapes["json"] = dict(request.response_schema)
    return shapes


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return is_number(value) and math.isfinite(value)


def sampling_params(parts: TensorRTParts, request: Request) -> Any:
    """Make TensorRT-LLM's `SamplingParams` for `request`.

    Raises:
        Exception: Whatever TensorRT-LLM raises about a value; see `translated`.
    """
    values = {name: value for name, value in request.extra.items() if name in _SAMPLING}
    asked = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed,
        "stop": list(request.stop) or None,
        # Asked for none, it reports no log-probability at all, not even that of the token itself.
        "logprobs": None if request.logprobs is None else max(request.logprobs, 1),
    }
    values |= {name: value for name, value in asked.items() if value is not None}
    values["max_tokens"] = request.max_tokens  # `None`: as many as the window holds; its own default is 32
    shapes = _structure(request)
    if shapes:
        values["guided_decoding"] = parts.GuidedDecodingParams(**shapes)
    return parts.SamplingParams(n=request.n, **values)


def prompt_tokens(tokenizer: Any, request: Request, chat_template: str | None) -> list[int]:
    """The conversation as the model's chat template writes it, in tokens.

    Raises:
        Exception: Whatever the template or the tokenizer raises; see `translated`.
    """
    conversation = [
        {**chat, "content": message.text}
        for chat, message in zip(chat_messages(request.messages), request.messages, strict=True)
    ]
    told = dict(request.extra.get("chat_template_kwargs", {}))
    if chat_template is not None:
        told["chat_template"] = chat_template
    text = tokenizer.apply_chat_template(conversation, **{"add_generation_prompt": True, **told, "tokenize": False})
    return list(tokenizer.encode(text, add_special_tokens=False))  # the template has written them


def translated(error: Exception, parts: TensorRTParts, *, engine: str, model: str | None) -> EngineError:
    """Our error for what TensorRT-LLM raised: about the request, or about the whole engine (`EngineDied`)."""
    where: dict[str, Any] = {"engine": engine, "model": model}
    text = str(error) or type(error).__name__
    low = text.lower()
    of_request = isinstance(error, parts.RequestError)
    refused = isinstance(error, (ValueError, TypeError, NotImplementedError))
    if (of_request or refused) and any(word in low for word in _TOO_LONG):
        return ContextLengthError(text, **where)
    if refused or (of_request and any(word in low for word in _REFUSED)):
        return BadRequestError(text, **where)
    if of_request or isinstance(error, (AssertionError, LookupError, AttributeError)):
        return ServerError(f"{type(error).__name__}: {text}", **where)
    # By then TensorRT-LLM has shut its workers down, or is about to.
    return EngineDied(
        f"TensorRT-LLM's workers are gone: {type(error).__name__}: {text}; the next request starts them again", **where
    )
