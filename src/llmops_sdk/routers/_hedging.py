"""When a second engine is asked beside a slow one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmops_sdk.errors import ConfigurationError

if TYPE_CHECKING:
    from llmops_sdk.routers._leg import Leg

__all__ = ["Hedge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hedge:
    """Ask a second engine when the first one is slow; the first answer wins, and the other request is cancelled.

    Attributes:
        after_s: Seconds to wait for the first engine, `> 0`; `None`: as long as `quantile` of its answers took.
        quantile: `0 < quantile < 1`.
    """

    after_s: float | None = None
    quantile: float = 0.95

    def __post_init__(self) -> None:
        raise ConfigurationError("`hedge` is not there yet; leave it out")

    def after(self, leg: Leg, now: float) -> float | None:
        """Seconds to wait for `leg`; `None`: no other engine is asked beside it."""
        return self.after_s
