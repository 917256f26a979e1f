"""The process that `FaultServer.in_subprocess` starts, by `python -m llmops_sdk.testing._fault_server_process`.

Reads the pickled behaviours from its standard input, prints its URL, and ends when the input is closed.
"""

from __future__ import annotations

import asyncio
import pickle
import struct
import sys

from llmops_sdk.testing._fault_server import FaultServer

__all__: list[str] = []


async def _serve() -> None:
    given = sys.stdin.buffer
    size = struct.unpack("!I", given.read(4))[0]
    # Only the process that started this one can write here.
    path, behaviours, models = pickle.loads(given.read(size))  # noqa: S301
    sys.path[:] = path
    async with FaultServer(*behaviours, models=models) as server:
        sys.stdout.write(server.url + "\n")
        sys.stdout.flush()
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(given.fileno(), ended.set)
        await ended.wait()
        loop.remove_reader(given.fileno())


if __name__ == "__main__":
    asyncio.run(_serve())
