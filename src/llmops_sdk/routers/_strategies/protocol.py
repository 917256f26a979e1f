"""What a strategy is. Write your own: an object with `order(legs, request)` and `reason(leg)`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol, TypeAlias

from llmops_sdk.messages import Request, Response
from llmops_sdk.routers._legs.leg import Leg

__all__ = ["Escalates", "Strategy"]


class Strategy(Protocol):
    """Puts engines in order, the one to ask first at the front. `reason` says why, for `router.route()`.

    Only the legs that can take the request are handed over, as a tuple; for the same ones it is the same tuple, so what
    was worked out for it may be kept beside it. Where `order` is a generator, the work for the second leg is done
    only when the first one has failed. Legs that are left out are asked after the others, in the order given; one
    that is none of `legs` is a `ConfigurationError`.

    `router.route()`, and the check when a router is built, ask a shallow copy (`copy.copy`), so that looking changes
    nothing. A strategy that changes lists or mappings of its own in `order` writes `__copy__`, too.
    """

    def order(self, legs: Sequence[Leg], request: Request, /) -> Iterable[Leg]:
        """All of `legs`, in order. `request.call` knows the run: its clock, tags, deadline and budget."""
        ...

    def reason(self, leg: Leg, /) -> str:
        """Why `leg` stands where it stands, by the last `order` of this object."""
        ...


Escalates: TypeAlias = Callable[[Leg, Request, Response], Awaitable[str | None]]
"""A strategy may have a method `escalates(leg, request, response)`, which judges each answer but the last engine's.

It gives the reason why the next engine has to be asked, too, or `None` when the answer is good enough. When the others
fail, the last answer is returned whatever was said of it. With a method `judged_form(request)` it changes what is asked
of engines that are judged; engines of its own (a judge) are `Leg`s in an attribute `legs`.
"""
