"""One value from several votes."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

from llmops_sdk.errors import ConfigurationError

__all__ = ["Vote", "decided", "vote_of"]

Vote: TypeAlias = Literal["majority", "mean", "median"]


def decided(values: Sequence[float], vote: Vote) -> float:
    """The value of several votes, one at least.

    The majority is the value that most have given. Where several values have as many votes, it is the one nearest to
    0: an answer is not passed, and none of two answers preferred, without a majority for it.

    Example:
        >>> decided([1, 1, 0], "majority"), decided([1, -1], "majority"), decided([1, 1, 0], "median")
        (1.0, 0.0, 1.0)
    """
    if vote == "mean":
        return statistics.fmean(values)
    if vote == "median":
        return float(statistics.median(values))
    counts = Counter(map(float, values)).most_common()
    most = [value for value, count in counts if count == counts[0][1]]
    if min(most) < 0 < max(most):
        return 0.0
    return min(most, key=abs)


def vote_of(given: object) -> Vote:
    """Check the name of a way to vote.

    Raises:
        ConfigurationError: It is none.
    """
    for one in get_args(Vote):
        if one == given:
            return one  # type: ignore[no-any-return]
    raise ConfigurationError(f"`vote` is one of {', '.join(map(repr, get_args(Vote)))}, not {given!r}")
