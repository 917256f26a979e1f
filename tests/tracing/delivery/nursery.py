"""Starts programs by a fork of one process that has loaded all they need: it takes milliseconds, imports half a second.

What is forked has one thread, nothing set up, and the signals of a new process; it is `__main__`, and it ends as any
Python program does. Run it with the number of a socket. For a list of arguments, with two files (standard output and
error), it answers with the id of the process; for an id, with how that has ended, `null` while it has not.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
import types
from pathlib import Path

from llmops_sdk import Pipeline, Scripted, tracing

with contextlib.suppress(ImportError):
    pass


def begin(control: socket.socket) -> list[str] | None:
    """Serve; gives the arguments in each new process, and `None` when it is over."""
    while True:
        message, files, *_ = socket.recv_fds(control, 65536, 2)
        if not message:
            return None
        asked = json.loads(message)
        if isinstance(asked, int):
            pid, status = os.waitpid(asked, os.WNOHANG)
            control.send(json.dumps(os.waitstatus_to_exitcode(status) if pid else None).encode())
            continue
        if not (pid := os.fork()):
            control.close()
            for number, file in enumerate(files, 1):
                os.dup2(file, number)
                os.close(file)
            return asked
        for file in files:
            os.close(file)
        control.send(json.dumps(pid).encode())


assert Pipeline
assert Scripted
assert tracing.setup  # loads OpenTelemetry
assert threading.active_count() == 1
sys.argv = begin(socket.socket(fileno=int(sys.argv[1]))) or []
if sys.argv:
    program = types.ModuleType("__main__")
    program.__file__ = sys.argv[0]
    sys.modules["__main__"] = program
    exec(compile(Path(sys.argv[0]).read_text(encoding="utf-8"), sys.argv[0], "exec"), program.__dict__)
