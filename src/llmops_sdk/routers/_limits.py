"""How much may be asked: limits, and the gate that holds requests to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Protocol

from llmops_sdk.calls import Call
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.messages import Request, Usage

if TYPE_CHECKING:
    from llmops_sdk.routers._leg import Leg

__all__ = ["Gate", "Limit", "Reservation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The most that may be asked of something.

    Attributes:
        requests_per_minute: Requests begun within 60 seconds.
        tokens_per_minute: Tokens, in and out, of the requests begun within 60 seconds.
        concurrent: Requests under way at once.
        usd_per_day: US dollars spent within 24 hours.
        per: What is counted apart: `"engine"`; `"key"`, all engines with the same API key together; `"tag:NAME"`, each
            value of a run's tag; `"router"`, all together.

    Raises:
        ConfigurationError: A number is not over 0, or nothing is limited.
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    concurrent: int | None = None
    usd_per_day: Decimal | None = None
    per: str = "engine"

    def __post_init__(self) -> None:
        raise ConfigurationError("limits are not there yet")


class Reservation(Protocol):
    """Room that was set aside for one attempt. One of the two methods is called, once; neither waits."""

    def settle(self, usage: Usage | None, cost_usd: Decimal | None, /) -> None:
        """The attempt has ended and took this much; `None`: nobody said, so what was estimated counts."""
        ...

    def release(self) -> None:
        """The attempt was never sent."""
        ...


class Gate(Protocol):
    """Holds the requests of a router to its limits."""

    def refusal(self, leg: Leg, request: Request, call: Call, /) -> str | None:
        """Why `leg` has no room now, as far as this process knows; for `router.route()`. Nothing is reserved."""
        ...

    async def reserve(self, leg: Leg, request: Request, call: Call, /) -> Reservation:
        """Set room aside; does not wait for any.

        Raises:
            LimitExceeded: There is none now.
        """
        ...

    async def wait(self, legs: Sequence[Leg], request: Request, call: Call, /) -> tuple[Leg, Reservation]:
        """Wait, first come first served, until one of `legs` has room; the earlier in the order the better.

        Raises:
            LimitExceeded: There will be none before the run's deadline.
        """
        ...
