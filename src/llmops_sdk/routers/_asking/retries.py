"""Which errors are worth asking the same engine again, how often, and after what wait."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from llmops_sdk.errors import (
    AllEnginesFailed,
    BadRequestError,
    ConfigurationError,
    ContextLengthError,
    InvalidResponseError,
    LlmopsError,
    UnsupportedError,
)
from llmops_sdk.given import is_number

__all__ = ["Retries", "Rule", "retries_of"]

Rule: TypeAlias = int | Literal["never"]
"""How many attempts may precede one at an engine that was asked before; 0: only other engines; `"never"`: nobody."""

_DEFAULTS: Mapping[type[BaseException], Rule] = {
    BadRequestError: "never",
    ContextLengthError: 0,
    UnsupportedError: 0,
    InvalidResponseError: 1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """Which errors are asked again, and where.

    Engines that have not been asked always come first, and at once. An engine that failed is asked again when no other
    one is left, after a wait with exponential back-off and full jitter: by chance between 0 and `first_s`, then twice
    that, and so on up to `most_s` (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter). Where the
    engine said `Retry-After`, exactly that long.

    ============================================ =====================================================================
    error                                        what is done unless `on` says otherwise
    ============================================ =====================================================================
    connection, time-out, 5xx, 429, engine died  other engines, then the same ones again: `times` attempts may follow
    `InvalidResponseError` (garbage)             other engines; the same one once, if it is alone
    key, permission, not found, filter, context  only other engines: the same one says the same again
    `UnsupportedError`                           only other engines
    `BadRequestError`                            raised at once: the request is wrong everywhere
    ============================================ =====================================================================

    Attributes:
        times: How many attempts may follow the first one if there are fewer engines than attempts, `>= 0`.
        on: Class of errors -> the same number for them; 0: only other engines are asked; `"never"`: the error is raised
            at once. The nearest base class counts.
        first_s: Most seconds of the first wait, `> 0`.
        most_s: Most seconds of any wait, `>= first_s`. A longer `Retry-After` is waited for if the deadline allows it.

    Raises:
        ConfigurationError: A number makes no sense, or a key of `on` is no error of this library.

    Example:
        >>> from llmops_sdk.errors import RateLimitError, ServerError
        >>> Retries(on={RateLimitError: 5, ServerError: 0}).rule(RateLimitError("slow down"))
        5
    """

    times: int = 2
    on: Mapping[type[BaseException], Rule] = field(default_factory=dict)
    first_s: float = 0.1
    most_s: float = 10.0

    def __post_init__(self) -> None:
        if not _is_count(self.times):
            raise ConfigurationError(f"`retries` is a number of attempts, 0 or more, not {self.times!r}")
        if not isinstance(self.on, Mapping):
            raise ConfigurationError(f"`on` of `Retries` is like {{RateLimitError: 5}}, not {self.on!r}")
        for error, rule in self.on.items():
            if not (isinstance(error, type) and issubclass(error, LlmopsError)):
                raise ConfigurationError(f"{error!r} in `Retries.on` is no error class; take one of llmops_sdk.errors")
            if not _is_count(rule) and rule != "never":
                raise ConfigurationError(
                    f"the rule for {error.__name__} in `Retries.on` is a number of attempts, 0 or more, or 'never', "
                    f"not {rule!r}"
                )
        if not (is_number(self.first_s) and is_number(self.most_s) and 0 < self.first_s <= self.most_s < math.inf):
            raise ConfigurationError(
                f"`first_s` and `most_s` of `Retries` are times over 0 seconds, the first one not the longer one, "
                f"not {self.first_s!r} and {self.most_s!r}"
            )

    def rule(self, error: BaseException) -> Rule:
        """What is done after `error`: see `Rule`."""
        for base in type(error).__mro__:
            if base in self.on:
                return self.on[base]
            rule = _DEFAULTS.get(base)
            if rule is not None:
                return rule if rule == "never" else min(rule, self.times)
        if isinstance(error, AllEnginesFailed):  # a router among the engines: it is what became of its own engines
            again = any(getattr(attempt.error, "retryable", True) for attempt in error.attempts)
            return self.times if again else 0
        return self.times if getattr(error, "retryable", True) else 0

    def back_off_s(self, nth: int) -> float:
        """Seconds to wait before the `nth` time (from 1) that an engine is asked again; another number each time."""
        import tenacity  # noqa: PLC0415  (costs 20 ms; only failures need it)

        state = tenacity.RetryCallState(retry_object=None, fn=None, args=(), kwargs={})  # type: ignore[arg-type]
        state.attempt_number = nth
        return float(tenacity.wait_random_exponential(multiplier=self.first_s, max=self.most_s)(state))


def retries_of(given: Any) -> Retries:
    """`retries=` of a router, which may be a number or the mapping alone.

    Raises:
        ConfigurationError: It is neither.
    """
    if isinstance(given, Retries):
        return given
    if isinstance(given, Mapping):
        return Retries(on=given)
    return Retries(times=given)


def _is_count(given: object) -> bool:
    return isinstance(given, int) and not isinstance(given, bool) and given >= 0
