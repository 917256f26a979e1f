"""`Logs`: a hook that writes a line for each run to the application's own log."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from llmops_sdk.calls import Aside, AttemptEnded, Call, Ended, Event, GuardChecked, Rendered, Started, event_json
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.faults import error_name
from llmops_sdk.given import is_number
from llmops_sdk.tracing._content import ContentPolicy, content_of, policy_of
from llmops_sdk.tracing._later import LATER
from llmops_sdk.tracing._text import printable

__all__ = ["Logs"]

_Level: TypeAlias = Literal["debug", "info", "warning", "error"]

_LEVELS: dict[str, _Level] = {"ok": "info", "cancelled": "info", "blocked": "warning"}
"""By outcome; every other outcome is an error."""


class Logs:
    """A hook that logs each run when it has ended, and at level DEBUG each event of it: `hooks=[tracing.Logs()]`.

    A run that went well or was cancelled is logged at INFO, one that was blocked, or was slow, at WARNING, one that
    failed at ERROR. Beside the message there are fields: `run` (its id), `pipeline`, `outcome`, `seconds`, `cost_usd`
    (decimal text), `input_tokens`, `output_tokens`, `attempts`, `engine`, `model`, `prompt`, `prompt_version`,
    `blocked_by`, `error` (a class, never its message) and `tags`; those that are not known are left out. Of an event it
    is `run` and `record`, the event as in `Call.to_json()`.

    Args:
        logger: A logger of `logging`, which gets the fields as `extra`, or of structlog (or whatever has its methods),
            which gets them as keyword arguments. By default the logger `"llmops_sdk.runs"` of `logging`.
        slow_s: Seconds from which on a run is slow, over 0.
        content: Add `question` and `answer`, as far as the guards let them pass; a `ContentPolicy` says who redacts
            them. Since that may take time, such a line is written soon after, by another thread. By default
            `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` decides, where it speaks of events.

    Raises:
        ConfigurationError: `logger` is none, or `slow_s` makes no sense.

    Example:
        >>> from llmops_sdk import Pipeline, Scripted
        >>> pipeline = Pipeline("Hello", Scripted("Hi!"), hooks=[Logs(slow_s=10)])
    """

    def __init__(
        self, logger: Any = None, *, slow_s: float | None = None, content: bool | ContentPolicy | None = None
    ) -> None:
        logger = logging.getLogger("llmops_sdk.runs") if logger is None else logger
        if isinstance(logger, type) or not all(callable(getattr(logger, name, None)) for name in set(_LEVELS.values())):
            raise ConfigurationError(
                f"{logger!r} is no logger: give one of `logging.getLogger(...)` or of `structlog.get_logger()`"
            )
        if slow_s is not None and not (is_number(slow_s) and 0 < slow_s < math.inf):
            raise ConfigurationError(f"`slow_s` is a time over 0 seconds, not {slow_s!r}")
        self._logger = logger
        self._slow_s = slow_s
        self._policy = policy_of(content, where="event")
        self._is_stdlib = isinstance(logger, logging.Logger | logging.LoggerAdapter)
        asked = getattr(logger, "isEnabledFor", None) or getattr(logger, "is_enabled_for", None)
        self._enabled: Callable[[int], bool] = asked or (lambda level: True)

    def __call__(self, event: Event, call: Call, /) -> None:
        """Log `event`."""
        if isinstance(event, Ended):
            if self._policy is None:
                self._ended(event, call)
            else:
                LATER.do(self._ended, event, call)
        elif self._enabled(logging.DEBUG):
            record = event_json(call, event)
            self._write("debug", f"{record['event']} in run {call.id[:8]}", {"run": call.id, "record": record})

    def _ended(self, event: Ended, call: Call) -> None:
        seconds = event.at - call.started
        level = _LEVELS.get(event.outcome, "error")
        slow = self._slow_s is not None and seconds >= self._slow_s
        if slow and level == "info":
            level = "warning"
        if not self._enabled(logging.getLevelNamesMapping()[level.upper()]):
            return
        fields = call.hidden_in(_fields(event, call, seconds))
        if self._policy is not None:
            shown = content_of(call, self._policy)
            fields |= {"question": shown.question, "answer": shown.answer}
        message = f"{fields['pipeline']}: {printable(event.outcome)} after {seconds:.3g} s"
        self._write(level, f"{message}, slow" if slow else message, fields)

    def _write(self, level: _Level, message: str, fields: dict[str, Any]) -> None:
        write = getattr(self._logger, level)
        known = {name: value for name, value in fields.items() if value is not None}
        if self._is_stdlib:
            write("%s", message, extra=known)
        else:
            write(message, **known)


def _fields(event: Ended, call: Call, seconds: float) -> dict[str, Any]:
    """What a line says of a run; `None` for what is not known."""
    events = list(call.events)
    attempts = [one for one in events if isinstance(one, AttemptEnded)]
    paid = [*attempts, *(one.attempt for one in events if isinstance(one, Aside))]
    last = attempts[-1] if attempts else None
    started = next((one for one in events if isinstance(one, Started)), None)
    prompt = next((one.prompt for one in events if isinstance(one, Rendered)), None)
    blocked = (one.guard for one in events if isinstance(one, GuardChecked) and one.verdict.blocked)
    counted = [one.usage for one in paid if one.usage is not None]
    model = None
    if last is not None:
        model = (last.response.model if last.response is not None else None) or last.model
    return {
        "run": call.id,
        "pipeline": "run" if started is None else printable(started.pipeline),
        "outcome": printable(event.outcome),
        "seconds": round(seconds, 6) if math.isfinite(seconds) else None,
        "cost_usd": _cost(paid),
        "input_tokens": sum(usage.input_tokens for usage in counted) if counted else None,
        "output_tokens": sum(usage.output_tokens for usage in counted) if counted else None,
        "attempts": len(attempts),
        "engine": None if last is None else printable(last.engine),
        "model": None if model is None else printable(model),
        "prompt": None if prompt is None else printable(prompt.name),
        "prompt_version": None if prompt is None or prompt.version is None else printable(prompt.version),
        "blocked_by": next(map(printable, blocked), None) if event.outcome == "blocked" else None,
        "error": None if event.error is None else error_name(event.error),
        "tags": {printable(str(key)): printable(str(value)) for key, value in call.shown_tags.items()} or None,
    }


def _cost(paid: list[AttemptEnded]) -> str | None:
    """The cost as decimal text; `None` where nobody knows what an attempt has cost."""
    if not paid or any(one.unpriced for one in paid):
        return None
    return str(sum((one.cost_usd for one in paid if one.cost_usd is not None), Decimal(0)))
