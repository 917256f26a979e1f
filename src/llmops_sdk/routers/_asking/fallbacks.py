"""To whom a request goes when an engine has failed: the fallbacks, and those that can take what it could not."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

from llmops_sdk.errors import ConfigurationError, ContentFilteredError, ContextLengthError
from llmops_sdk.routers._legs.leg import Leg

__all__ = ["checked_fallbacks", "rearranged", "too_small"]


def checked_fallbacks(given: Mapping[str, Sequence[str]] | None, legs: Sequence[Leg]) -> Mapping[str, tuple[Leg, ...]]:
    """`fallbacks=` of a router, with the legs in place of their names.

    Raises:
        ConfigurationError: An engine is not one of the router's, or falls back on itself in the end.
    """
    if not given:
        return {}
    by_name = {leg.name: leg for leg in legs}
    if not isinstance(given, Mapping) or any(not isinstance(after, list | tuple) for after in given.values()):
        raise ConfigurationError(f"`fallbacks` is like {{'small': ['large', 'other']}}, not {given!r}")
    for name in (*given, *(one for after in given.values() for one in after)):
        if not isinstance(name, str) or name not in by_name:
            near = difflib.get_close_matches(str(name), by_name, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigurationError(
                f"`fallbacks` names {name!r}, and the engines of the router are {', '.join(by_name)}{hint}"
            )
    cycle = _cycle(given)
    if cycle:
        raise ConfigurationError(
            f"`fallbacks` go in a circle: {' -> '.join(map(repr, cycle))}; take one of the arrows out"
        )
    return {name: tuple(by_name[one] for one in after) for name, after in given.items()}


def _cycle(graph: Mapping[str, Sequence[str]]) -> list[str]:
    """A way through `graph` that comes back to where it began, empty if there is none."""
    done: set[str] = set()
    for start in graph:
        way = [start]
        onward = [iter(graph.get(start, ()))]
        while onward:
            following = next(onward[-1], None)
            if following is None:
                onward.pop()
                done.add(way.pop())
            elif following in way:
                return [*way[way.index(following) :], following]
            elif following not in done:
                way.append(following)
                onward.append(iter(graph.get(following, ())))
    return []


def rearranged(legs: Iterable[Leg], failed: Leg, error: Exception, fallbacks: Sequence[Leg], now: float) -> list[Leg]:
    """`legs` in the order in which they are asked after `failed` has given `error`.

    Its fallbacks come first. After a `ContextLengthError` those whose window is known to be larger come before the
    unknown ones, and after a `ContentFilteredError` other providers before its own: they filter differently. An engine
    that has gone quiet comes after the others.
    """
    rank = {leg.name: place for place, leg in enumerate(fallbacks)}
    others = len(rank)
    context = isinstance(error, ContextLengthError)
    filtered = isinstance(error, ContentFilteredError)

    def place(leg: Leg) -> tuple[bool, bool, int, bool]:
        return (
            context and leg.capabilities.context_window is None,
            filtered and leg.provider == failed.provider,
            rank.get(leg.name, others),
            leg.quiet(now),
        )

    return sorted(legs, key=place)


def too_small(leg: Leg, failed: Leg, error: ContextLengthError) -> str | None:
    """Why `leg` cannot take what was too long for `failed`, `None` when it can as far as anybody knows."""
    window = leg.capabilities.context_window
    if window is None:
        return None
    if error.tokens is not None:
        if window < error.tokens:
            return f"its window of {window} tokens is smaller than the {error.tokens} of the request"
        return None
    known = error.window or failed.capabilities.context_window
    if known is not None and window <= known:
        return f"its window of {window} tokens is no larger than that of {failed.name!r}"
    return None
