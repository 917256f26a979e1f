"""What a gate allows: drops of scores, and cells that fail."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.evaluation._gate.drops import Limit
from llmops_sdk.evaluation.metrics import Metric

__all__ = ["Limits"]

_OTHERS = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What may drop, and what may fail.

    Attributes:
        drops: Name of a metric or of one of its scores, `"*"` for those that are not named -> what it may drop by;
            `None`: it is reported, and takes no part.
        failures: Cells that may fail: a number, or below 1 a share.
    """

    drops: Mapping[str, Limit | None] = field(default_factory=dict)
    failures: float = 0

    @classmethod
    def of(cls, max_drop: Any, max_failures: Any, metrics: Sequence[Metric]) -> Limits:
        """As somebody wrote them.

        Raises:
            ConfigurationError: They are none, or name a metric that is not there.
        """
        return cls(failures=_failures(max_failures)).but(max_drop, None, metrics)

    def but(self, max_drop: Any, max_failures: Any, metrics: Sequence[Metric]) -> Limits:
        """These, with what is given in their place; a mapping adds to them."""
        drops = dict(self.drops)
        if isinstance(max_drop, Mapping):
            drops |= {_known(name, metrics): None if one is None else Limit.of(one) for name, one in max_drop.items()}
        elif max_drop is not None:
            drops[_OTHERS] = Limit.of(max_drop)
        failures = self.failures if max_failures is None else _failures(max_failures)
        return replace(self, drops=drops, failures=failures)

    def check_some(self, metrics: Sequence[Metric]) -> None:
        """See that anything is limited at all.

        Raises:
            ConfigurationError: Nothing is.
        """
        parts = [name for name in self.drops if name != _OTHERS]
        if not any(self.for_score(name, one) for one in metrics for name in (one.name, *_of(one, parts))):
            raise ConfigurationError(
                "nothing says how much a score may drop: write `max_drop='1%'`, or `--max-drop 1%`, or "
                "`max_drop={'exact': 0.01}` for some metrics only"
            )

    def for_score(self, score: str, metric: Metric) -> Limit | None:
        """What a score of a metric may drop by; `None`: it takes no part."""
        for name in (score, metric.name, _OTHERS):
            if name in self.drops:
                return self.drops[name]
        return None

    def failures_of(self, cells: int) -> int:
        """How many of so many cells may fail."""
        return math.floor(self.failures * cells) if self.failures < 1 else int(self.failures)


def _of(metric: Metric, names: Sequence[str]) -> list[str]:
    return [name for name in names if name.startswith(f"{metric.name}.")]


def _known(name: Any, metrics: Sequence[Metric]) -> str:
    names = [one.name for one in metrics]
    if name != _OTHERS and not any(name == one or str(name).startswith(f"{one}.") for one in names):
        near = difflib.get_close_matches(str(name), names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigurationError(f"there is no metric {name!r}; there are {', '.join(map(repr, names))}.{hint}")
    return str(name)


def _failures(given: Any) -> float:
    if isinstance(given, int) and not isinstance(given, bool) and given >= 0:
        return given
    limit = Limit.of(given) if isinstance(given, str) else None
    if limit is not None and limit.relative and limit.size < 1:
        return limit.size
    if limit is not None and limit.size.is_integer():
        return limit.size
    raise ConfigurationError(f"`max_failures` is a number of cells, or a share such as '2%', not {given!r}")
