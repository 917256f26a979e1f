"""Routers: an engine made of engines, which decides whom to ask, and goes on elsewhere when one fails.

`simulate` shows beforehand what a router's policy makes of a traffic.
"""

import importlib
from typing import TYPE_CHECKING

from llmops_sdk.routers._asking.retries import Retries
from llmops_sdk.routers._choosing.route import Candidate, Route
from llmops_sdk.routers._hedging.hedge import Hedge
from llmops_sdk.routers._legs.breaker import Breaker
from llmops_sdk.routers._legs.leg import Leg
from llmops_sdk.routers._limits import Adaptive, Limit, LimitStore
from llmops_sdk.routers._reloading import Reloaded
from llmops_sdk.routers._router import Router
from llmops_sdk.routers._strategies import (
    Cascade,
    Cost,
    Latency,
    LeastBusy,
    PrefixAffinity,
    Priority,
    RoundRobin,
    Strategy,
    Weighted,
)

if TYPE_CHECKING:
    from llmops_sdk.routers._simulation import EngineModel, Simulation, Traffic, simulate

__all__ = [
    "Adaptive",
    "Breaker",
    "Candidate",
    "Cascade",
    "Cost",
    "EngineModel",
    "Hedge",
    "Latency",
    "LeastBusy",
    "Leg",
    "Limit",
    "LimitStore",
    "PrefixAffinity",
    "Priority",
    "Reloaded",
    "Retries",
    "RoundRobin",
    "Route",
    "Router",
    "Simulation",
    "Strategy",
    "Traffic",
    "Weighted",
    "simulate",
]

_SIMULATION = ("EngineModel", "Simulation", "Traffic", "simulate")


def __getattr__(name: str) -> object:
    # Found on first use: most programs simulate nothing.
    if name not in _SIMULATION:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module("llmops_sdk.routers._simulation"), name)
    globals()[name] = value
    return value
