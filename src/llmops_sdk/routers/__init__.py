"""Routers: an engine made of engines, which decides whom to ask, and goes on elsewhere when one fails."""

from llmops_sdk.routers._breaker import Breaker
from llmops_sdk.routers._hedging import Hedge
from llmops_sdk.routers._leg import Leg
from llmops_sdk.routers._limits import Limit
from llmops_sdk.routers._retries import Retries
from llmops_sdk.routers._router import Candidate, Route, Router
from llmops_sdk.routers._strategies import Latency, LeastBusy, Priority, RoundRobin, Strategy

__all__ = [
    "Breaker",
    "Candidate",
    "Hedge",
    "Latency",
    "LeastBusy",
    "Leg",
    "Limit",
    "Priority",
    "Retries",
    "RoundRobin",
    "Route",
    "Router",
    "Strategy",
]
