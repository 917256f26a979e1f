"""What vLLM's core does while it starts, heard from its log.

The core is a child process that says nothing to its parent before it is ready, but it logs what it does. So it is given
one more log handler, `StepHandler`, which sends the lines that begin a step, and why a start failed, through a pipe
with a name. What vLLM prints stays as it was. A step whose line vLLM words differently is missing, and its
time counts to the step before it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Failure", "Heard", "StepHandler", "hearing"]

_MARKS = (
    ("Starting to load model", "weights"),
    ("Loading weights took", "kv_cache"),
    ("Model loading took", "kv_cache"),
    ("Starting torch.compile", "compile"),
    ("torch.compile took", "<"),
    ("torch.compile and initial profiling/warmup", "<"),
    ("KV cache size:", "warm_up"),
    ("init engine (profile", "report"),
)
"""What a line of vLLM 0.32 contains -> the step that begins with it; `"<"`: the one before goes on."""

_MOST_TEXT = 600
"""Characters of an error that are sent; a line has to fit into what a pipe takes at once (4,096 bytes)."""


class Failure(NamedTuple):
    """Why the core did not come up: the error's class, and what it said."""

    kind: str
    text: str


class Heard:
    """What was heard of one start.

    Attributes:
        failure: Why the core did not come up, if it said so.
    """

    def __init__(self) -> None:
        self.failure: Failure | None = None


class StepHandler(logging.Handler):
    """In the core's process: sends what `hearing` waits for, and is silent once nobody listens any more."""

    def __init__(self, path: str) -> None:
        super().__init__(logging.INFO)
        self._path = path
        self._pipe: int | None = None
        self._over = False

    def emit(self, record: logging.LogRecord) -> None:
        """Send a line if `record` begins a step or tells of a failure; never fails."""
        if self._over:
            return
        try:
            line = _line(record)
            if line is not None:
                if self._pipe is None:
                    self._pipe = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
                os.write(self._pipe, line)
        except Exception:  # noqa: BLE001  (a log handler must not harm what it listens to; most likely the start is over)
            self._over = True
            if self._pipe is not None:
                os.close(self._pipe)


def _line(record: logging.LogRecord) -> bytes | None:
    message = record.getMessage()
    said: dict[str, Any] | None = None
    if record.levelno >= logging.ERROR:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            said = {"failed": [type(error).__name__, str(error)[:_MOST_TEXT]]}
    else:
        step = next((step for words, step in _MARKS if words in message), None)
        said = None if step is None else {"step": step}
    return None if said is None else json.dumps(said).encode() + b"\n"


def _configuration(pipe: Path, plain: Mapping[str, Any], level: str) -> dict[str, Any]:
    """`plain`, vLLM's own logging configuration, with our handler beside its own."""
    handlers = {name: dict(handler) for name, handler in plain["handlers"].items()}
    for handler in handlers.values():
        handler["level"] = level
    logger = plain["loggers"]["vllm"]
    lower = level if logging.getLevelName(level) in range(1, logging.INFO) else "INFO"
    return {
        **plain,
        "handlers": {**handlers, "steps": {"()": f"{StepHandler.__module__}.StepHandler", "path": str(pipe)}},
        "loggers": {"vllm": {**logger, "handlers": [*logger["handlers"], "steps"], "level": lower}},
    }


@contextlib.contextmanager
def hearing(
    folder: Path, plain: Mapping[str, Any], level: str, begin: Callable[[str], None], heard: Heard
) -> Iterator[str]:
    """Listen to a core that starts meanwhile; gives the path of the logging configuration that it has to be given.

    Args:
        folder: Where the pipe and the configuration are put; they stay there.
        plain: vLLM's own logging configuration.
        level: Level of what vLLM prints.
        begin: Called with each step that begins, on a thread of its own.
        heard: Filled in.
    """
    pipe = folder / "steps"
    os.mkfifo(pipe, 0o600)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(
        pipe, os.O_WRONLY
    )  # ours: while it is open the reader waits for others, and it can end the reading
    os.set_blocking(reader, True)
    configuration = folder / "logging.json"
    configuration.write_text(json.dumps(_configuration(pipe, plain, level)), encoding="utf-8")
    thread = threading.Thread(target=_listen, args=(reader, begin, heard), name="llmops-sdk-vllm-steps", daemon=True)
    thread.start()
    try:
        yield str(configuration)
    finally:
        os.write(writer, b'{"over": true}\n')
        thread.join()
        os.close(writer)


def _listen(reader: int, begin: Callable[[str], None], heard: Heard) -> None:
    steps: list[str] = []
    with os.fdopen(reader, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            with contextlib.suppress(
                ValueError, TypeError, KeyError
            ):  # another process wrote into the middle of a line
                said = json.loads(line)
                if "over" in said:
                    return
                if "failed" in said:
                    heard.failure = heard.failure or Failure(*map(str, said["failed"]))
                else:
                    _begin(str(said["step"]), steps, begin)


def _begin(step: str, steps: list[str], begin: Callable[[str], None]) -> None:
    if step == "<":
        if len(steps) < 2 or steps[-1] != "compile":
            return
        step = steps[-2]
    if steps[-1:] == [step]:  # each rank of a model on several devices says it
        return
    steps.append(step)
    begin(step)
