"""Routers: an engine made of engines, which decides whom to ask, and goes on elsewhere when one fails."""

from llmops_sdk.routers._breaker import Breaker
from llmops_sdk.routers._hedging import Hedge
from llmops_sdk.routers._leg import Leg
from llmops_sdk.routers._limits import Adaptive, Limit, LimitStore
from llmops_sdk.routers._reloading import Reloaded
from llmops_sdk.routers._retries import Retries
from llmops_sdk.routers._route import Candidate, Route
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

__all__ = [
    "Adaptive",
    "Breaker",
    "Candidate",
    "Cascade",
    "Cost",
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
    "Strategy",
    "Weighted",
]
