"""Which engines can take a request at all; decided before any strategy."""

from __future__ import annotations

from llmops_sdk.calls import Call
from llmops_sdk.messages import Request
from llmops_sdk.routers._leg import Leg

__all__ = ["refusal"]


def refusal(leg: Leg, request: Request, call: Call) -> str | None:
    """Why `leg` cannot take `request`, `None` when it can as far as anybody knows."""
    can = leg.capabilities
    if request.tools and can.tools is False:
        return "it has no tools"
    if request.response_schema is not None and can.json_schema is False:
        return "it does not answer by a JSON schema"
    if request.continues and can.continues is False:
        return "it does not continue a message"
    for name, own in leg.tags.items():
        asked = call.tags.get(name)
        if asked is not None and asked != own and not (isinstance(own, (set, frozenset, list, tuple)) and asked in own):
            return f"its tag {name!r} is {own!r}, that of the run {asked!r}"
    return None
