"""The engine that has seen the beginning of a prompt before, so that its prefix cache is hit."""

from __future__ import annotations

import hashlib
import heapq
import itertools
import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.messages import Request
from llmops_sdk.routers._legs.leg import Leg
from llmops_sdk.routers._strategies.per_legs import PerLegs

__all__ = ["PrefixAffinity"]

_TOP = 8
_MOST_RANKED = 64
_PRIME = 2**61 - 1
_EXACT_UP_TO = 64


class PrefixAffinity:
    """Prompts that begin alike go to the same engine, unless it is busy; then to their second, third, ... engine.

    Rendezvous hashing (Thaler and Ravishankar, 1998) by the engines' names and weights: routers in other processes
    choose the same, and an engine that comes or goes moves only its own share of the prefixes. "Consistent hashing
    with bounded loads" (Mirrokni, Thorup, Zadimoghaddam, 2018, https://arxiv.org/abs/1608.01350) keeps a popular prefix
    from drowning its engine: none is given more than `load` times the mean of the requests in flight.

    Args:
        characters: How much of a prompt is its prefix. `None`: all up to the end of the first message of the user, so
            that a conversation stays where it is. A number also cuts that, so that questions about the same long
            beginning stay together.
        load: Most requests in flight on one engine, as a multiple of the mean (for its weight), `> 1`.
        at_least: Requests in flight that never count as busy, `>= 0`: engines batch, so a few are better together.
        cache: Prefixes whose engines are kept in memory (about 300 bytes each), `>= 1`.

    Raises:
        ConfigurationError: A number is out of its range.
    """

    def __init__(
        self, *, characters: int | None = None, load: float = 1.25, at_least: int = 8, cache: int = 8192
    ) -> None:
        if not isinstance(load, int | float) or isinstance(load, bool) or not 1 < load < math.inf:
            raise ConfigurationError(f"`load` is a multiple of the mean load, over 1, not {load!r}")
        for name, value, least in (("characters", characters, 1), ("at_least", at_least, 0), ("cache", cache, 1)):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
                raise ConfigurationError(f"`{name}` is a whole number, {least} or more, not {value!r}")
        self._characters = characters
        self._load = float(load)
        self._at_least = at_least
        self._most = cache
        self._crowds = PerLegs(_Crowd)
        # Ordered, since the front of a plain dict from which much was taken is slow to find.
        self._tops: OrderedDict[tuple[int, bytes], tuple[_Crowd, tuple[Leg, ...]]] = OrderedDict()
        self._last: tuple[_Crowd, bytes, float] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        # For copies, too: an empty cache gives the same answers.
        return _again, (type(self), self._characters, self._load, self._at_least, self._most)

    def order(self, legs: Sequence[Leg], request: Request, /) -> Iterator[Leg]:
        """See `Strategy.order`."""
        crowd = self._crowds[legs]
        prefix = self._prefix(request)
        limit = self._load * (crowd.in_flight() + 1) / crowd.weight
        self._last = crowd, prefix, limit
        full = []
        for leg in itertools.chain(self._top(crowd, prefix), crowd.beyond_top(prefix)):
            if leg.in_flight < self._room(leg, limit):
                yield leg
            else:
                full.append(leg)
        yield from full

    def _room(self, leg: Leg, limit: float) -> int:
        return max(self._at_least, math.ceil(limit * leg.weight))

    def _top(self, crowd: _Crowd, prefix: bytes) -> tuple[Leg, ...]:
        key = id(crowd), prefix
        kept = self._tops.get(key)
        if kept is not None:
            self._tops.move_to_end(key)
            return kept[1]
        top = crowd.top(prefix)
        self._tops[key] = crowd, top  # with the crowd, so that its `id` stays its own
        if len(self._tops) > self._most:
            self._tops.popitem(last=False)
        return top

    def reason(self, leg: Leg, /) -> str:
        """See `Strategy.reason`."""
        if self._last is None:
            return "no prefix was seen yet"
        crowd, prefix, limit = self._last
        choice = crowd.ranked(prefix).index(leg) + 1
        return f"choice {choice} for this prefix; {leg.in_flight} in flight, at most {self._room(leg, limit)}"

    def _prefix(self, request: Request) -> bytes:
        digest = hashlib.blake2b(digest_size=8)
        left = self._characters
        for message in request.messages:
            text = message.text if left is None else message.text[:left]
            digest.update(f"{message.role}\0{text}\0".encode("utf-8", "surrogatepass"))
            if left is not None:
                left -= len(text)
            if message.role == "user" or left == 0:
                break
        return digest.digest()


class _Crowd:
    """Legs among which prefixes are shared out."""

    __slots__ = ("_alike", "_asked", "_numbers", "_ranked", "_total", "legs", "weight")

    def __init__(self, legs: Sequence[Leg]) -> None:
        self.legs = legs
        self.weight = sum(leg.weight for leg in legs)
        self._alike = len({leg.weight for leg in legs}) < 2
        self._numbers = [_number(hashlib.blake2b(leg.name.encode(), digest_size=8).digest()) for leg in legs]
        self._ranked: dict[bytes, list[Leg]] = {}
        self._total = 0
        self._asked = 0

    def in_flight(self) -> int:
        """Requests in flight on all. Among more than 64 legs it is counted anew only each so many picks.

        Each pick between two counts adds one to the truth at most, so the mean is off by less than 1 / 64.
        """
        if self._asked <= 0:
            self._total = sum([leg.in_flight for leg in self.legs])
            self._asked = len(self.legs) // _EXACT_UP_TO
        else:
            self._asked -= 1
        return self._total

    def top(self, prefix: bytes) -> tuple[Leg, ...]:
        scores = self._scores(prefix)
        return tuple(self.legs[i] for i in heapq.nsmallest(_TOP, range(len(scores)), key=scores.__getitem__))

    def beyond_top(self, prefix: bytes) -> Iterator[Leg]:
        if len(self.legs) > _TOP:
            yield from itertools.islice(self.ranked(prefix), _TOP, None)

    def ranked(self, prefix: bytes) -> list[Leg]:
        """All, for the few prefixes that are so popular that they spill beyond their first choices."""
        ranked = self._ranked.get(prefix)
        if ranked is None:
            if len(self._ranked) >= _MOST_RANKED:
                del self._ranked[next(iter(self._ranked))]
            scores = self._scores(prefix)
            ranked = [self.legs[i] for i in sorted(range(len(scores)), key=scores.__getitem__)]
            self._ranked[prefix] = ranked
        return ranked

    def _scores(self, prefix: bytes) -> Sequence[float]:
        """The lowest is the first choice."""
        number = _number(prefix)
        # Multiples of numbers by chance, modulo a prime, are as good as independent, and cheap among a thousand legs.
        mixed = [own * number % _PRIME for own in self._numbers]
        if self._alike:
            return mixed
        return [-math.log(one / _PRIME) / leg.weight for one, leg in zip(mixed, self.legs, strict=True)]


def _number(digest: bytes) -> int:
    return int.from_bytes(digest) % (_PRIME - 1) + 1


def _again(cls: type[PrefixAffinity], characters: int | None, load: float, at_least: int, cache: int) -> PrefixAffinity:
    return cls(characters=characters, load=load, at_least=at_least, cache=cache)
