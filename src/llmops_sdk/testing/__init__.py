"""The testing kit, for your own test suite: no key, no network, no GPU.

`FaultServer` is a server with the APIs of OpenAI and Anthropic that misbehaves as it is told to. `Cassette` records an
engine once and replays it, timings and errors included. `EngineContract` and `GuardContract` are suites that your own
engines and guards inherit. `llmops_sdk.testing.plugin` brings all of it to pytest as fixtures.

The names are found on first use, so that importing this room loads neither pytest nor a server.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmops_sdk.testing._cassettes import Cassette
    from llmops_sdk.testing._engine_contract import EngineContract
    from llmops_sdk.testing._evaluated import Evaluated
    from llmops_sdk.testing._fault_server import FaultServer, SeenRequest
    from llmops_sdk.testing._faults import INVALID_UTF8, Behaviour, Hang, Raw, Reply, Status, huge_line
    from llmops_sdk.testing._guard_contract import GuardContract
    from llmops_sdk.testing._network import NetworkBlockedError, network_blocked
    from llmops_sdk.testing._scrubbing import scrub_keys
    from llmops_sdk.tracing import Memory as MemoryTrace

__all__ = [
    "INVALID_UTF8",
    "Behaviour",
    "Cassette",
    "EngineContract",
    "Evaluated",
    "FaultServer",
    "GuardContract",
    "Hang",
    "MemoryTrace",
    "NetworkBlockedError",
    "Raw",
    "Reply",
    "SeenRequest",
    "Status",
    "huge_line",
    "network_blocked",
    "scrub_keys",
]

_HOMES = {
    "INVALID_UTF8": ("testing._faults", "INVALID_UTF8"),
    "Behaviour": ("testing._faults", "Behaviour"),
    "Cassette": ("testing._cassettes", "Cassette"),
    "EngineContract": ("testing._engine_contract", "EngineContract"),
    "Evaluated": ("testing._evaluated", "Evaluated"),
    "FaultServer": ("testing._fault_server", "FaultServer"),
    "GuardContract": ("testing._guard_contract", "GuardContract"),
    "Hang": ("testing._faults", "Hang"),
    "MemoryTrace": ("tracing", "Memory"),
    "NetworkBlockedError": ("testing._network", "NetworkBlockedError"),
    "Raw": ("testing._faults", "Raw"),
    "Reply": ("testing._faults", "Reply"),
    "SeenRequest": ("testing._fault_server", "SeenRequest"),
    "Status": ("testing._faults", "Status"),
    "huge_line": ("testing._faults", "huge_line"),
    "network_blocked": ("testing._network", "network_blocked"),
    "scrub_keys": ("testing._scrubbing", "scrub_keys"),
}
"""Public name -> the module that defines it, and its name there."""


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, defined_as = _HOMES[name]
    value: object = getattr(importlib.import_module(f"llmops_sdk.{module}"), defined_as)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
