"""A Redis (or Valkey) of the benchmarks' own on this machine, in memory only."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator


@contextlib.contextmanager
def local_redis() -> Iterator[int | None]:
    """The port of a server that listens, `None` where the program is not installed."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        yield None
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
            try:
                end = time.monotonic() + 10
                while not _listens(port):
                    if server.poll() is not None or time.monotonic() > end:
                        raise RuntimeError(f"{program} did not start")
                    time.sleep(0.02)  # it says nothing when it is ready
                yield port
            finally:
                server.kill()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
