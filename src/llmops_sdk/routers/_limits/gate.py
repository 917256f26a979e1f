"""What a router's plan knows of limits: a gate with reservations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from llmops_sdk.calls import Call
from llmops_sdk.messages import RateLimit, Request, Usage

if TYPE_CHECKING:
    from decimal import Decimal

    from llmops_sdk.routers._legs.leg import Leg

__all__ = ["Gate", "Reservation"]


class Reservation(Protocol):
    """Room that was set aside for one attempt. One of the two methods is called, once; neither waits."""

    def settle(
        self,
        usage: Usage | None,
        cost_usd: Decimal | None,
        /,
        *,
        error: BaseException | None = None,
        rate_limit: RateLimit | None = None,
    ) -> None:
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
