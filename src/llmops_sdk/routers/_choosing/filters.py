"""Which engines can take a request at all; decided before any strategy."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, NamedTuple

from llmops_sdk.calls import Call
from llmops_sdk.errors import BudgetExceeded, ContextLengthError, LlmopsError, UnsupportedError
from llmops_sdk.messages import ImagePart, Request
from llmops_sdk.protocols import Capabilities
from llmops_sdk.routers._choosing.tokens import fewest_tokens
from llmops_sdk.routers._legs.leg import Leg

__all__ = ["Filters", "Refusals", "Refused", "Remedy", "nobody", "together"]

_FRESH_S = 1.0
_MOST = 256
_TOOLS, _IMAGES, _SCHEMA, _CONTINUES = 1, 2, 4, 8


class Remedy(Enum):
    """What would let an engine take the request after all."""

    NONE = "another engine"
    SHORTER = "a shorter request"
    MONEY = "a higher budget"


class Refused(NamedTuple):
    """An engine that is not asked, and why."""

    leg: Leg
    reason: str
    remedy: Remedy = Remedy.NONE


class Refusals(tuple[Refused, ...]):  # noqa: SLOT001  (what it keeps, it keeps in its dictionary)
    """Engines that are not asked; one kind of requests shares one of these."""

    @functools.cached_property
    def named(self) -> tuple[tuple[str, str], ...]:
        """Names and reasons, as the record of a run holds them."""
        return tuple((one.leg.name, one.reason) for one in self)


class _Sorted(NamedTuple):
    """The legs, parted by what they are. `smallest`: the smallest context window among the able ones, in tokens."""

    able: tuple[Leg, ...]
    refused: Refusals
    smallest: float


class Filters:
    """Parts the legs of a table into those that can take a request and those that cannot.

    What an engine is asked for (tools, images, a schema, tags) is worked out once for each kind of request and kept for
    a second, since engines learn what they can do when they start. So a plain request costs one look-up for any number
    of legs, and requests of the same kind get the same tuple. What depends on the single request (its length, adapter
    and budget) is looked at leg by leg, and only where it could matter.
    """

    __slots__ = ("_fresh_until", "_kinds", "_legs", "_tags", "_tuples")

    def __init__(self, legs: tuple[Leg, ...]) -> None:
        self._legs = legs
        self._tags = tuple(dict.fromkeys(name for leg in legs for name in leg.tags))
        self._kinds: dict[Any, _Sorted] = {}
        self._tuples: dict[tuple[Leg, ...], tuple[Leg, ...]] = {legs: legs}
        self._fresh_until = -math.inf

    def __call__(self, request: Request, call: Call) -> tuple[tuple[Leg, ...], Refusals]:
        """The legs that can take `request` as far as anybody knows, in their order; and the others."""
        asked, characters = _looked_at(request)
        able, refused, smallest = self._sorted(asked, call)
        # There are at most half as many words as letters: most requests need not be counted.
        if characters * 0.5 + 1 + (request.max_tokens or 0) > smallest:
            able, refused = self._with_room(able, refused, request)
        if request.adapter is not None:
            able, refused = self._without(able, refused, _adapter_reasons(request.adapter))
        if call.budget_usd is not None:
            able, refused = self._without(able, refused, _budget_reasons(request, call))
        return able, refused

    def _sorted(self, asked: int, call: Call) -> _Sorted:
        if call.started > self._fresh_until:
            self._kinds.clear()
            self._fresh_until = call.started + _FRESH_S
        kind: Any = asked
        if self._tags and call.tags:
            kind = asked, *(call.tags.get(name) for name in self._tags)
        try:
            found = self._kinds.get(kind)
        except TypeError:  # a tag that cannot be a key: worked out each time
            return self._parted(asked, call)
        if found is None:
            if len(self._kinds) >= _MOST:
                self._kinds.clear()
            found = self._kinds[kind] = self._parted(asked, call)
        return found

    def _parted(self, asked: int, call: Call) -> _Sorted:
        reasons = [(leg, _lacks(leg, asked) or _other_tag(leg, call)) for leg in self._legs]
        able = self.same(tuple(leg for leg, reason in reasons if reason is None))
        return _Sorted(
            able,
            Refusals(Refused(leg, reason) for leg, reason in reasons if reason is not None),
            min((leg.capabilities.context_window or math.inf for leg in able), default=math.inf),
        )

    def _with_room(
        self, able: tuple[Leg, ...], refused: Refusals, request: Request
    ) -> tuple[tuple[Leg, ...], Refusals]:
        prompt = fewest_tokens(request)
        found = self._without(able, refused, _window_reasons(prompt, request.max_tokens or 1))
        # Where nobody has room for all of an answer, some cut it there instead of refusing it.
        return found if found[0] else self._without(able, refused, _window_reasons(prompt, 1))

    def _without(
        self, able: tuple[Leg, ...], refused: Refusals, judge: Callable[[Leg], Refused | None]
    ) -> tuple[tuple[Leg, ...], Refusals]:
        found = tuple(one for leg in able if (one := judge(leg)) is not None)
        if not found:
            return able, refused
        out = {one.leg for one in found}
        return self.same(tuple(leg for leg in able if leg not in out)), Refusals(refused + found)

    def same(self, legs: tuple[Leg, ...]) -> tuple[Leg, ...]:
        """One tuple for the same legs, so that strategies know it again."""
        if len(self._tuples) >= _MOST and legs not in self._tuples:
            self._tuples = {self._legs: self._legs}
        return self._tuples.setdefault(legs, legs)


def nobody(router: str, refused: Sequence[Refused], request: Request, call: Call) -> LlmopsError:
    """The error when no engine may be asked; it lists them all, and its class says what would help.

    `BudgetExceeded` if only money is missing for one of them, else `ContextLengthError` if one would take a shorter
    request, else `UnsupportedError`.
    """
    reasons = "; ".join(f"{one.leg.name}: {one.reason}" for one in refused)
    message = f"no engine of {router!r} can take the request ({reasons})"
    remedies = {one.remedy for one in refused}
    if Remedy.MONEY in remedies:
        return BudgetExceeded(message, budget_usd=call.budget_usd, spent_usd=call.spent_usd)
    if Remedy.SHORTER in remedies:
        windows = [one.leg.capabilities.context_window or 0 for one in refused if one.remedy is Remedy.SHORTER]
        return ContextLengthError(message, engine=router, tokens=fewest_tokens(request), window=max(windows))
    return UnsupportedError(message, engine=router)


def together(legs: Sequence[Leg]) -> Capabilities:
    """What can be asked of a router of `legs`: what one of them can; the largest window."""
    windows = [leg.capabilities.context_window for leg in legs]
    known = [window for window in windows if window is not None]
    said = {
        name: {getattr(leg.capabilities, name) for leg in legs}
        for name in ("tools", "images", "json_schema", "continues")
    }
    return Capabilities(
        **{name: True if True in some else None if None in some else False for name, some in said.items()},
        context_window=max(known) if len(known) == len(windows) else None,
    )


def _looked_at(request: Request) -> tuple[int, int]:
    """What the request asks for, as bits, and its characters."""
    asked = 0
    characters = 0
    for message in request.messages:
        content = message.content
        if isinstance(content, str):
            characters += len(content)
        else:
            for part in content:
                if isinstance(part, ImagePart):
                    asked |= _IMAGES
                else:
                    characters += len(part.text)
    if request.tools and request.tool_choice != "none":
        asked |= _TOOLS
    if request.response_schema is not None:
        asked |= _SCHEMA
    if request.continues:
        asked |= _CONTINUES
    return asked, characters


def _lacks(leg: Leg, asked: int) -> str | None:
    can = leg.capabilities
    if asked & _TOOLS and can.tools is False:
        return "it has no tools"
    if asked & _IMAGES and can.images is False:
        return "it reads no images"
    if asked & _SCHEMA and can.json_schema is False:
        return "it does not answer by a JSON schema"
    if asked & _CONTINUES and can.continues is False:
        return "it does not continue a message"
    return None


def _other_tag(leg: Leg, call: Call) -> str | None:
    for name, own in leg.tags.items():
        asked = call.tags.get(name)
        if asked is not None and asked != own and not (isinstance(own, (set, frozenset, list, tuple)) and asked in own):
            return f"its tag {name!r} is {own!r}, that of the run {asked!r}"
    return None


def _window_reasons(prompt: int, answer: int) -> Callable[[Leg], Refused | None]:
    def reason(leg: Leg) -> Refused | None:
        window = leg.capabilities.context_window
        if window is None or prompt + answer <= window:
            return None
        and_answer = f", and {answer:,} for the answer" if answer > 1 else ""
        return Refused(
            leg,
            f"its window of {window:,} tokens is smaller than the request ({prompt:,} tokens at least{and_answer})",
            Remedy.SHORTER,
        )

    return reason


def _adapter_reasons(adapter: str) -> Callable[[Leg], Refused | None]:
    def reason(leg: Leg) -> Refused | None:
        known = getattr(leg.engine, "adapters", None)
        if known is None or adapter in known:
            return None
        return Refused(leg, f"it has no adapter {adapter!r}")

    return reason


def _budget_reasons(request: Request, call: Call) -> Callable[[Leg], Refused | None]:
    def reason(leg: Leg) -> Refused | None:
        over = leg.over_budget(request, call)
        return None if over is None else Refused(leg, str(over), Remedy.MONEY)

    return reason
