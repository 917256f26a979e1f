"""Tools that the application executes for an answer, on the record of its run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from llmops_sdk.calls._events import ToolExecuted
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.messages import ToolCall

if TYPE_CHECKING:
    from llmops_sdk.calls._call import Call

__all__ = ["Execution", "executing"]


class Execution:
    """A tool at work.

    Attributes:
        result: What it returned; set it before the block ends.
    """

    __slots__ = ("result",)

    def __init__(self) -> None:
        self.result: object = None


@contextlib.contextmanager
def executing(call: Call, tool_call: ToolCall) -> Iterator[Execution]:
    """See `Call.executing`."""
    if not isinstance(tool_call, ToolCall):
        raise ConfigurationError(
            f"{tool_call!r} is no ToolCall: write `with call.executing(result.response.tool_calls[0]) as execution:`"
        )
    execution = Execution()
    error: BaseException | None = None
    started = call.clock()
    try:
        with call.inside():
            yield execution
    except BaseException as exc:
        error = exc
        raise
    finally:
        result = execution.result if error is None else None
        call.record(ToolExecuted(started, call.clock(), tool_call, result, error))
