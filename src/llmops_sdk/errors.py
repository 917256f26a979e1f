"""Every error that llmops_sdk raises, in one tree.

::

    LlmopsError
    ├─ ConfigurationError (ValueError)      wrong wiring; raised when an object is built, never in mid-call
    ├─ SyncOnLoopError (RuntimeError)       a sync method was called on the SDK's own event loop
    ├─ ClosedError (RuntimeError)           the engine or pipeline was closed before
    ├─ MissingDependencyError (ImportError) .package .extra: which extra to install
    ├─ DeadlineExceeded (TimeoutError)      .deadline_s: the whole run took longer than the caller allowed
    ├─ BudgetExceeded                       .budget_usd .spent_usd: the next attempt could cost too much
    ├─ LimitExceeded                        .limit .retry_after_s: refused before sending; when to come back
    ├─ PromptError (ValueError)             .prompt .variable: missing, unknown or wrong variables, broken files
    ├─ GuardError                           .guard
    │  ├─ GuardBlocked                      .verdict: a decision; raised by `Result.raise_for_verdict()` only
    │  └─ GuardFailed                       the guard itself broke, and is not allowed to fail open
    │     └─ GuardTimeout                   .budget_ms: it took longer than it may
    ├─ AllEnginesFailed (ExceptionGroup)    .attempts: every attempt with engine, error and duration
    ├─ CassetteError                        replay found no recorded answer
    ├─ CacheError                           the store of a cache cannot be reached or read
    ├─ CheckpointError                      .path: the file of a `map` is of other rows, damaged, or in use
    ├─ LockError                            .path .differences: a lock is broken, or not what is found here
    ├─ DatasetError (ValueError)            .path .row: a data set is broken, empty, or has an id twice
    ├─ EvaluationError                      .path: an experiment cannot be run, found or compared
    │  └─ JudgementError                    .cost_usd: a judge gave no grade
    └─ EngineError                          .engine .model .status_code .request_id .retryable .retry_after_s
       ├─ EngineConnectionError  retryable  .stage: no connection, or it broke
       │  └─ StreamInterrupted   retryable  .partial_text .usage: the stream broke after text had arrived
       ├─ EngineTimeout (TimeoutError)      retryable
       ├─ EngineDied             retryable  the in-process engine's core is gone
       ├─ RateLimitError         retryable
       ├─ ServerError            retryable
       ├─ InvalidResponseError   retryable  .body: what came instead, 500 bytes at most
       ├─ AuthenticationError
       ├─ PermissionDeniedError
       ├─ NotFoundError
       ├─ ContentFilteredError
       └─ BadRequestError
          ├─ ContextLengthError             .tokens .window
          └─ UnsupportedError               this engine cannot do it; another one may

Provider words (`RateLimitError`, `AuthenticationError`, ...) are those of the OpenAI client, which readers know.
Errors that end in no "Error" are decisions. Every error survives `pickle`, so it can cross process pools.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

if TYPE_CHECKING:
    from decimal import Decimal

    from llmops_sdk.messages import Usage
    from llmops_sdk.pipelines import Difference
    from llmops_sdk.verdicts import Verdict

__all__ = [
    "AllEnginesFailed",
    "Attempt",
    "AuthenticationError",
    "BadRequestError",
    "BudgetExceeded",
    "CacheError",
    "CassetteError",
    "CheckpointError",
    "ClosedError",
    "ConfigurationError",
    "ContentFilteredError",
    "ContextLengthError",
    "DatasetError",
    "DeadlineExceeded",
    "EngineConnectionError",
    "EngineDied",
    "EngineError",
    "EngineTimeout",
    "EvaluationError",
    "GuardBlocked",
    "GuardError",
    "GuardFailed",
    "GuardTimeout",
    "InvalidResponseError",
    "JudgementError",
    "LimitExceeded",
    "LlmopsError",
    "LockError",
    "MissingDependencyError",
    "NotFoundError",
    "PermissionDeniedError",
    "PromptError",
    "RateLimitError",
    "ServerError",
    "StreamInterrupted",
    "SyncOnLoopError",
    "UnsupportedError",
]


def _rebuild(cls: type[BaseException], args: tuple[Any, ...], state: dict[str, Any]) -> BaseException:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class LlmopsError(Exception):
    """The root of all errors of this library: `except LlmopsError` catches every one.

    Attributes:
        shared: Whether it is that of an equal request, for which a cache let this one wait: this one was not sent.
    """

    shared: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        # The default calls `cls(*args)`, which drops keyword-only arguments; rebuild from the state instead.
        return _rebuild, (type(self), self.args, self.__dict__.copy())


class ConfigurationError(LlmopsError, ValueError):
    """An object was wired wrongly. Raised while it is built; the message says what to write instead."""


class SyncOnLoopError(LlmopsError, RuntimeError):
    """A sync method was called on the SDK's own event-loop thread, where it would wait for itself."""


class ClosedError(LlmopsError, RuntimeError):
    """An engine or a pipeline was used after it had been closed."""


class MissingDependencyError(LlmopsError, ImportError):
    """A part needs a library that is not installed; the message names the extra (or the command) that brings it."""

    def __init__(self, feature: str, *, package: str, extra: str, command: str | None = None) -> None:
        command = command or f'pip install "llmops-sdk[{extra}]"'
        super().__init__(f"{feature} needs the package {package!r}, which is not installed; run `{command}`")
        self.package = package
        self.extra = extra


class DeadlineExceeded(LlmopsError, TimeoutError):
    """The run did not end within `deadline_s` seconds.

    `partial_text` is what a stream had emitted by then (empty otherwise).
    """

    def __init__(self, message: str, *, deadline_s: float, partial_text: str = "") -> None:
        super().__init__(message)
        self.deadline_s = deadline_s
        self.partial_text = partial_text


class BudgetExceeded(LlmopsError):
    """Refused before sending: the run's `budget_usd` (US dollars) is spent, or the next attempt cannot fit."""

    def __init__(self, message: str, *, budget_usd: Any, spent_usd: Any) -> None:
        super().__init__(message)
        self.budget_usd = budget_usd
        self.spent_usd = spent_usd


class LimitExceeded(LlmopsError):
    """Refused before sending: a limit of the application itself is reached, and waiting would pass the deadline.

    `limit` names it; `retry_after_s` says in how many seconds there may be room again, `None` where nobody can know.
    """

    def __init__(self, message: str, *, limit: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.limit = limit
        self.retry_after_s = retry_after_s


class PromptError(LlmopsError, ValueError):
    """A prompt cannot be found, read or rendered; `prompt` and `variable` name what is wrong."""

    def __init__(self, message: str, *, prompt: str | None = None, variable: str | None = None) -> None:
        super().__init__(message)
        self.prompt = prompt
        self.variable = variable


class GuardError(LlmopsError):
    """Anything about a guard; `guard` is its name."""

    def __init__(self, message: str, *, guard: str) -> None:
        super().__init__(message)
        self.guard = guard


class GuardBlocked(GuardError):
    """A guard blocked the run. Raised only where the caller asked for it, by `Result.raise_for_verdict()`."""

    def __init__(self, message: str, *, guard: str, verdict: Verdict) -> None:
        super().__init__(message, guard=guard)
        self.verdict = verdict


class GuardFailed(GuardError):
    """The guard itself broke. A pipeline turns this into a block unless the guard says `on_error="allow"`."""


class GuardTimeout(GuardFailed, TimeoutError):
    """The guard took longer than it may; `budget_ms` is what it may, in milliseconds."""

    def __init__(self, message: str, *, guard: str, budget_ms: float) -> None:
        super().__init__(message, guard=guard)
        self.budget_ms = budget_ms


_OneError = TypeVar("_OneError", bound=Exception)


class Attempt(NamedTuple):
    """One try at one engine, as `AllEnginesFailed.attempts` lists it."""

    engine: str
    error: Exception
    duration_s: float


class AllEnginesFailed(LlmopsError, ExceptionGroup[Exception]):
    """Every engine that a router could try has failed; works with `except` and with `except*`."""

    attempts: tuple[Attempt, ...]
    _summary: str

    def __new__(cls, message: str, attempts: Sequence[Attempt]) -> Self:
        """Make a group of the attempts' errors."""
        self = super().__new__(cls, message, [attempt.error for attempt in attempts])
        self.attempts = tuple(attempts)
        self._summary = message
        return self

    def __init__(self, message: str, attempts: Sequence[Attempt]) -> None:
        """See `__new__`, which makes the group."""

    @property
    def message(self) -> str:
        """What happened, with the message of each attempt."""
        # Made when it is read: what a guard found may have to be taken out of an attempt's message later.
        lines = "; ".join(f"{a.engine}: {type(a.error).__name__}: {a.error}" for a in self.attempts)
        return f"{self._summary} ({lines})"

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return AllEnginesFailed, (self._summary, self.attempts), self.__dict__.copy()

    def derive(self, excs: Sequence[_OneError], /) -> ExceptionGroup[_OneError]:  # type: ignore[override]
        """Make the group for a part of the errors, as `except*` does."""
        return ExceptionGroup(self.message, excs)


class CassetteError(LlmopsError):
    """Replay met a request that no cassette holds; the message shows how it differs from the nearest one."""


class CacheError(LlmopsError):
    """The store of a cache cannot be reached or read. A call is never ended by it: then the engine is asked."""


class CheckpointError(LlmopsError):
    """The checkpoint `path` of a `map` cannot be used: other rows or another pipeline, damaged, or in use elsewhere."""

    def __init__(self, message: str, *, path: str) -> None:
        super().__init__(message)
        self.path = path


class LockError(LlmopsError):
    """The lock `path` cannot be read or written, or what is here is not what it says: `differences` lists how."""

    def __init__(self, message: str, *, path: str, differences: Sequence[Difference] = ()) -> None:
        super().__init__(message)
        self.path = path
        self.differences = tuple(differences)


class DatasetError(LlmopsError, ValueError):
    """The data set from `path` cannot be used: it is broken, empty, or has an id twice; `row` counts from 1."""

    def __init__(self, message: str, *, path: str | None = None, row: int | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.row = row


class EvaluationError(LlmopsError):
    """An experiment cannot be run, found or compared; `path` is the file that keeps experiments."""

    def __init__(self, message: str, *, path: str | None = None) -> None:
        super().__init__(message)
        self.path = path


class JudgementError(EvaluationError):
    """A judge gave no grade; `cost_usd` is what was paid for that, `None` where it is not known."""

    def __init__(self, message: str, *, cost_usd: Decimal | None = None) -> None:
        super().__init__(message)
        self.cost_usd = cost_usd


class EngineError(LlmopsError):
    """An engine could not answer.

    Attributes:
        engine: Name of the engine, `None` while it is not known.
        model: Model that was asked.
        status_code: HTTP status, where there was one.
        request_id: The provider's id of the request, for its support.
        retryable: Whether the same request may succeed when it is sent again, here or elsewhere.
        retry_after_s: Seconds to wait before that, as the provider said.
    """

    retryable: bool = False

    def __init__(
        self,
        message: str,
        *,
        engine: str | None = None,
        model: str | None = None,
        status_code: int | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.engine = engine
        self.model = model
        self.status_code = status_code
        self.request_id = request_id
        self.retry_after_s = retry_after_s


class EngineConnectionError(EngineError):
    """No connection could be made, or it broke before the answer was complete.

    `stage` says where: `"look-up"` (the host's name), `"connect"` (nothing listens, no route), `"tls"` (handshake,
    certificate) or `"exchange"` (the connection stood); `None` where that is not known.
    """

    retryable = True

    def __init__(self, message: str, *, stage: str | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.stage = stage


class StreamInterrupted(EngineConnectionError):
    """A stream broke after text had arrived; `partial_text` is that text (of the first choice).

    `usage` holds the tokens that were reported until then; `None` when nobody did, as most engines count at the end.
    """

    def __init__(self, message: str, *, partial_text: str = "", usage: Usage | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.partial_text = partial_text
        self.usage = usage


class EngineTimeout(EngineError, TimeoutError):
    """The engine took longer than its share of the deadline, or than its own time limit."""

    retryable = True


class EngineDied(EngineError):
    """The core of an in-process engine is gone (killed, out of memory). Another engine may still answer."""

    retryable = True


class RateLimitError(EngineError):
    """The provider asks to slow down (HTTP 429); `retry_after_s` says for how long, when it said so."""

    retryable = True


class ServerError(EngineError):
    """The provider failed (HTTP 5xx)."""

    retryable = True


class InvalidResponseError(EngineError):
    """What came back is not an answer by the protocol; `body` holds its first 500 bytes."""

    retryable = True

    def __init__(self, message: str, *, body: bytes = b"", **details: Any) -> None:
        super().__init__(message, **details)
        self.body = body[:500]


class AuthenticationError(EngineError):
    """The key is missing, wrong or expired (HTTP 401)."""


class PermissionDeniedError(EngineError):
    """The key may not do this (HTTP 403)."""


class NotFoundError(EngineError):
    """The model, adapter or URL does not exist (HTTP 404)."""


class ContentFilteredError(EngineError):
    """The provider's own filter refused the request or the answer."""


class BadRequestError(EngineError):
    """The request is wrong and stays wrong when it is repeated (HTTP 400, 413, 422)."""


class ContextLengthError(BadRequestError):
    """The prompt and the answer do not fit the model's window; `tokens` and `window` where they are known."""

    def __init__(self, message: str, *, tokens: int | None = None, window: int | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.tokens = tokens
        self.window = window


class UnsupportedError(BadRequestError):
    """The request is right, and asks for what this engine does not have: images, tools, a seed. A router goes on."""
