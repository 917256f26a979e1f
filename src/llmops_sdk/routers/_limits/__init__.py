"""How much may be asked: limits, what counts them, and the gate that holds requests to them."""

from llmops_sdk.routers._limits.admission import Limits
from llmops_sdk.routers._limits.counters import LocalLimits
from llmops_sdk.routers._limits.declared import Adaptive, Limit
from llmops_sdk.routers._limits.gate import Gate, Reservation
from llmops_sdk.routers._limits.meters import LimitStore

__all__ = ["Adaptive", "Gate", "Limit", "LimitStore", "Limits", "LocalLimits", "Reservation"]
