"""LiteLLM's exceptions as ours, class by class, with no key in any message.

LiteLLM's classes are known here by name: this module is read before LiteLLM is imported.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from llmops_sdk import environment
from llmops_sdk.engines._refusals import come_back_s
from llmops_sdk.errors import (
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ContentFilteredError,
    ContextLengthError,
    EngineConnectionError,
    EngineError,
    EngineTimeout,
    InvalidResponseError,
    LlmopsError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    UnsupportedError,
)

__all__ = ["BY_NAME", "ErrorMapper"]

BY_NAME: dict[str, type[EngineError]] = {
    "APIConnectionError": EngineConnectionError,
    "APIError": ServerError,
    "APIResponseValidationError": InvalidResponseError,
    "AuthenticationError": AuthenticationError,
    "BadGatewayError": ServerError,
    "BadRequestError": BadRequestError,
    "BlockedPiiEntityError": ContentFilteredError,
    "BudgetExceededError": PermissionDeniedError,
    "ContentPolicyViolationError": ContentFilteredError,
    "ContextWindowExceededError": ContextLengthError,
    "GuardrailRaisedException": ContentFilteredError,
    "ImageFetchError": BadRequestError,
    "InternalServerError": ServerError,
    "InvalidRequestError": BadRequestError,
    "JSONSchemaValidationError": InvalidResponseError,
    "LiteLLMUnknownProvider": BadRequestError,
    "MidStreamFallbackError": EngineConnectionError,
    "MockException": ServerError,
    "ModelNotMappedError": BadRequestError,
    "ModifyResponseException": ContentFilteredError,
    "NotFoundError": NotFoundError,
    "OpenAIError": ServerError,
    "PaymentRequiredError": PermissionDeniedError,
    "PermissionDeniedError": PermissionDeniedError,
    "RateLimitError": RateLimitError,
    "RejectedRequestError": BadRequestError,
    "SensitiveDataRouteException": ContentFilteredError,
    "ServiceUnavailableError": ServerError,
    "Timeout": EngineTimeout,
    "UnprocessableEntityError": BadRequestError,
    "UnsupportedParamsError": UnsupportedError,
    "VectorStoreSearchError": BadRequestError,
}
"""Every exception class of `litellm.exceptions`; a test walks that module and compares."""

_BY_STATUS: dict[int, type[EngineError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: PermissionDeniedError,
    403: PermissionDeniedError,
    404: NotFoundError,
    408: EngineTimeout,
    413: BadRequestError,
    422: BadRequestError,
    429: RateLimitError,
}

_VAGUE = (BadRequestError, EngineConnectionError, ServerError)
"""What LiteLLM also says where it knows no better; the status, or what lies below, says more."""

_NO_KEY = ("missing credentials", "api_key client option must be set", "no api key", "missing api key")


class ErrorMapper:
    """Turns what LiteLLM raises into our errors, for one engine.

    Args:
        engine: Name of the engine.
        model: The model that it asks for.
        secrets: What must never stand in a message.
    """

    def __init__(self, *, engine: str, model: str, secrets: Collection[str]) -> None:
        self._engine = engine
        self._model = model
        self._secrets = [secret for secret in secrets if len(secret) >= _SHORTEST_SECRET]

    def error_of(self, exc: Exception, missing_keys: Callable[[], list[str]]) -> LlmopsError:
        """Our error for `exc`, which is its cause, unless `exc` holds a key: then it has none.

        `missing_keys` gives the names of the environment variables that the provider needs and that are not set.
        Raise the error outside of the `except` block, so that nothing else hangs on it.
        """
        error = self._error_of(exc, missing_keys)
        secrets = self._all_secrets()
        leaks = any(secret in f"{link} {link.args!r}" for link in _chain(exc) for secret in secrets)
        error.__cause__ = None if leaks else exc
        return error

    def _error_of(self, exc: Exception, missing_keys: Callable[[], list[str]]) -> LlmopsError:
        if isinstance(exc, LlmopsError):
            return exc
        exc = getattr(exc, "original_exception", None) or exc  # what LiteLLM's stream has wrapped
        message = self._message(exc)
        lacking = next((link for link in _chain(exc) if isinstance(link, ImportError)), None)
        if lacking is not None and not _headers(exc):
            return ConfigurationError(
                f"LiteLLM needs a package for {self._model!r} that is not installed: {lacking}; "
                "LiteLLM's page of the provider names it"
            )
        cls, status = self._class_of(exc, message)
        details: dict[str, Any] = {"engine": self._engine, "model": self._model, "status_code": status}
        headers = _headers(exc)
        details["request_id"] = headers.get("x-request-id") or headers.get("request-id")
        details["retry_after_s"] = come_back_s(headers, status)
        if issubclass(cls, AuthenticationError) and (names := missing_keys()):
            message = f"no key for {self._model!r}: pass `api_key=` or set {' and '.join(names)} ({message})"
        if issubclass(cls, InvalidResponseError):
            body = str(getattr(exc, "raw_response", ""))
            return cls(message, body=self._scrubbed(body).encode("utf-8", "replace"), **details)
        return cls(message, **details)

    def _class_of(self, exc: Exception, message: str) -> tuple[type[EngineError], int | None]:
        names = (cls.__name__ for cls in type(exc).__mro__ if cls.__module__.partition(".")[0] == "litellm")
        cls = next((BY_NAME[name] for name in names if name in BY_NAME), EngineError)
        status = getattr(exc, "status_code", None)
        status = status if isinstance(status, int) else None
        if any(said in message.lower() for said in _NO_KEY):
            return AuthenticationError, status
        if cls not in {EngineError, *_VAGUE}:
            return cls, status
        below = _below(exc)
        if below is not None:
            # Whatever status LiteLLM says, the provider has not sent one.
            return below, None
        if "Empty or invalid response" in message:
            return InvalidResponseError, status
        if status is None or cls is EngineConnectionError:
            return cls, status
        return _BY_STATUS.get(status) or (ServerError if status >= 500 else cls), status

    def _message(self, exc: Exception) -> str:
        message = str(getattr(exc, "message", None) or exc) or type(exc).__name__
        return self._scrubbed(message.partition("\nTraceback")[0].strip()[:2000])

    def _scrubbed(self, text: str) -> str:
        for secret in self._all_secrets():
            text = text.replace(secret, "***")
        return text

    def _all_secrets(self) -> list[str]:
        found = [one for one in environment.credentials() if len(one) >= _SHORTEST_SECRET]
        return sorted({*self._secrets, *found}, key=len, reverse=True)


_SHORTEST_SECRET = 8
"""Shorter ones would be found in any text."""


def _chain(exc: BaseException) -> Iterator[BaseException]:
    """`exc`, and what it was raised from."""
    link: BaseException | None = exc
    for _ in range(20):
        if link is None:
            return
        yield link
        link = link.__cause__ or link.__context__


def _below(exc: Exception) -> type[EngineError] | None:
    """What really happened, where LiteLLM calls everything a server error."""
    for link in _chain(exc):
        names = {cls.__name__ for cls in type(link).__mro__}
        if "HTTPStatusError" in names:
            return None
        if isinstance(link, TimeoutError) or names & {"TimeoutException", "APITimeoutError"}:
            return EngineTimeout
        if isinstance(link, json.JSONDecodeError):
            return InvalidResponseError
        if isinstance(link, OSError) or names & {"TransportError", "ClientConnectionError"}:
            return EngineConnectionError
    return None


def _headers(exc: Exception) -> Mapping[str, str]:
    """Headers of the provider's refusal, names in lower case."""
    for link in _chain(exc):
        for found in (
            getattr(link, "litellm_response_headers", None),
            getattr(link, "headers", None),
            getattr(getattr(link, "response", None), "headers", None),
        ):
            if found:
                return {str(name).lower(): str(value) for name, value in dict(found).items()}
    return {}
