"""Child processes that end with this one, however it ends: by SIGTERM, by SIGKILL, for lack of memory.

vLLM's core is a child process. When its parent is killed it goes on, computes what nobody reads any more, and keeps its
memory. So a shell, which costs nothing, waits at a pipe; the kernel closes the pipe when this process is gone.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterable
from pathlib import Path

__all__ = ["EndWithMe"]

_SCRIPT = """
read -r _
while [ $# -gt 1 ]; do
  now=$(cut -d' ' -f22 "/proc/$1/stat" 2>/dev/null)
  [ "$now" = "$2" ] && kill -KILL "$1" 2>/dev/null
  shift 2
done
[ -n "$1" ] && rm -rf -- "$1"
"""
"""Arguments are pairs of a process id and its start time, so that an id which was given out again harms nobody,
and last a folder to remove, or nothing."""


class EndWithMe:
    """Sees to it that `pids`, children of this process, end when it does. Linux only; elsewhere it does nothing.

    Args:
        pids: The children.
        folder: A folder to remove then, too.
    """

    def __init__(self, pids: Iterable[int], folder: Path | None = None) -> None:
        pairs = [part for pid in pids for part in (str(pid), _start_time(pid))]
        self._shell: subprocess.Popen[bytes] | None = None
        if all(pairs):
            self._shell = subprocess.Popen(  # noqa: S603  (the arguments are numbers made here)
                ["/bin/sh", "-c", _SCRIPT, "llmops-sdk", *pairs, str(folder or "")],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # what a terminal sends to this process's group must not end the watch
            )

    def cancel(self) -> None:
        """Call it off; idempotent."""
        shell, self._shell = self._shell, None
        if shell is not None:
            shell.kill()
            with contextlib.suppress(OSError):
                shell.communicate()


def _start_time(pid: int) -> str:
    """Field 22 of `/proc/PID/stat` (proc(5)); empty where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[21]
    except (OSError, IndexError):
        return ""
