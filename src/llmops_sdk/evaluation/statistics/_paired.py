"""Scores of two pipelines, paired by case and gathered by cluster."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from llmops_sdk.errors import ConfigurationError

__all__ = ["ROUNDED", "Bounds", "Clusters", "Floats", "Paired", "Scores", "paired"]

Floats: TypeAlias = NDArray[np.float64]
Scores: TypeAlias = "Mapping[Any, float | Sequence[float]] | NDArray[Any]"
"""Case -> its score, or its scores where it was run several times; or an array, one row for each case."""
Clusters: TypeAlias = "Mapping[Hashable, Hashable] | Sequence[Hashable] | NDArray[Any]"
Bounds: TypeAlias = tuple[float, float]

_ANY = (-math.inf, math.inf)
ROUNDED = 1e-12
"""Share of a number that may be lost to rounding."""
_HUGE = 1e150
"""The squares of what is larger are no numbers."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Paired:
    """What two pipelines scored on the cases that both have.

    Attributes:
        differences: New minus base for each case, repeats averaged; shape `(cases,)`.
        base: Mean of the base for each case, shape `(cases,)`.
        within: Variance that repeats alone give a difference, averaged over the cases; `nan` without repeats.
        repeats: Harmonic mean of the repeats of a case.
        totals: Sum of the differences of each cluster, shape `(clusters,)`.
        base_totals: Sum of the base of each cluster, shape `(clusters,)`.
        sizes: Number of cases of each cluster, shape `(clusters,)`.
        reach: The largest difference that scores can have: by their bounds, or else by those that were seen.
        bounded: Whether `reach` comes from bounds.
        step: Distance of the two values where each case was run once and all scores are one of two, such as 0 and 1;
            else 0.
        unpaired: Cases that one of the two has not scored: they are left out, and counted.
    """

    differences: Floats
    base: Floats
    within: float
    repeats: float
    totals: Floats
    base_totals: Floats
    sizes: Floats
    reach: float
    bounded: bool
    step: float
    unpaired: int

    @property
    def cases(self) -> int:
        """Number of cases."""
        return len(self.differences)

    @property
    def clusters(self) -> int:
        """Number of clusters: what is independent of each other."""
        return len(self.totals)

    @property
    def estimate(self) -> float:
        """The mean difference over the cases."""
        return float(self.totals.sum() / self.sizes.sum())

    @property
    def influence(self) -> Floats:
        """How far each cluster moves the estimate: with it minus without it (the jackknife)."""
        return _influence(self.totals, self.sizes)

    @property
    def standard_error(self) -> float:
        """Standard error of the estimate, by leaving out each cluster in turn; `nan` for a single one."""
        return _norm(self.influence) * math.sqrt(1 - 1 / self.clusters) if self.clusters > 1 else math.nan

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the standard error, `>= 1`: one less than the clusters, fewer where some are large.

        Kish's effective number: as if the clusters were as different inside as a single case.
        """
        return max(float(self.sizes.sum() ** 2 / (self.sizes**2).sum()) - 1, 1.0)

    def with_base(self) -> tuple[float, float]:
        """Variance of the base's mean, and its covariance with the difference; `nan` for a single cluster."""
        if self.clusters < 2:
            return math.nan, math.nan
        base, own = _influence(self.base_totals, self.sizes), self.influence
        share = 1 - 1 / self.clusters
        return float(share * (base**2).sum()), float(share * (base * own).sum())


def _influence(totals: Floats, sizes: Floats) -> Floats:
    apart = _settled(totals - sizes * (totals.sum() / sizes.sum()), totals)
    influence: Floats = apart / (sizes.sum() - sizes)
    return influence


def _settled(differences: Floats, of: Floats) -> Floats:
    """With 0 for what is no more than the rounding of numbers of this size."""
    return np.where(np.abs(differences) <= ROUNDED * np.abs(of), 0.0, differences)


def _norm(values: Floats) -> float:
    """Root of the sum of squares, which neither overflows nor vanishes."""
    largest = float(np.abs(values).max())
    return largest * float(np.sqrt(((values / largest) ** 2).sum())) if largest > 0 else 0.0


def paired(base: Scores, new: Scores, *, clusters: Clusters | None = None, bounds: Bounds = _ANY) -> Paired:
    """Pair the scores of two pipelines by case.

    Args:
        base: The scores of the one that is there: case -> score or scores; or an array of shape `(cases,)` or
            `(cases, repeats)`, in which `nan` is a run that has no score.
        new: The scores of the one that may take its place, in the same form.
        clusters: Case -> the cluster that it belongs to, for cases that are not independent (questions about the same
            document, turns of the same conversation). A case that is not in it, or has `None`, stands alone. For
            arrays one cluster for each row.
        bounds: Smallest and largest score that is possible.

    Raises:
        ConfigurationError: No case has both scores, a case has no score, or a score is no finite number in the bounds.

    Example:
        >>> paired({"a": 0.0, "b": 1.0, "c": 0.0}, {"a": 1.0, "b": [1.0, 0.0]}).estimate
        0.25
    """
    if isinstance(base, Mapping) != isinstance(new, Mapping):
        raise ConfigurationError("give both scores as mappings of cases, or both as arrays")
    if isinstance(base, Mapping) and isinstance(new, Mapping):
        cases: list[Any] = [case for case in base if case in new]
        runs = _runs(cases, base), _runs(cases, new)
        unpaired = len(base.keys() ^ new.keys())
        belongs = None if clusters is None else _belongs(clusters, cases)
    else:
        kept, *runs_of = _rows(np.asarray(base), np.asarray(new))
        runs = (runs_of[0], runs_of[1])
        unpaired = int((~kept).sum())
        belongs = None if clusters is None else _rows_belong(clusters, kept)
    if not len(runs[0].means):
        raise ConfigurationError("no case has a score of both: compare pipelines that were run on the same cases")
    return _gathered(*runs, index=belongs, bounds=bounds, unpaired=unpaired)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Runs:
    """The runs of each case by one pipeline: how many, their mean, smallest and largest, and the variance of one."""

    counts: Floats
    means: Floats
    lowest: float
    highest: float
    noise: float

    @classmethod
    def of(cls, values: Floats, counts: Floats) -> _Runs:
        if not values.size:
            return cls(counts=counts, means=values, lowest=math.nan, highest=math.nan, noise=math.nan)
        means, noise = values, math.nan
        if len(values) > len(counts):
            whose = np.repeat(np.arange(len(counts)), counts.astype(int))
            scale = float(np.abs(values).max()) or 1.0
            means = np.bincount(whose, values / scale) / counts * scale
            squares = float((((values - means[whose]) / scale) ** 2).sum())
            noise = squares / float((counts - 1).sum()) * scale**2
        return cls(counts=counts, means=means, lowest=float(values.min()), highest=float(values.max()), noise=noise)


def _runs(cases: Sequence[Hashable], scores: Mapping[Hashable, Any]) -> _Runs:
    given = [scores[case] for case in cases]
    try:
        values = np.asarray(given)
    except ValueError:  # of unequal length
        values = np.empty(0, dtype=object)
    if values.dtype.kind in "biuf" and values.ndim in (1, 2) and values.size:
        counts = np.full(len(given), values.size / len(given))
    else:
        lists = [_list(one, case) for one, case in zip(given, cases, strict=True)]
        counts = np.fromiter(map(len, lists), dtype=float, count=len(lists))
        values = np.fromiter(chain.from_iterable(lists), dtype=float)
    values = values.astype(float).ravel()
    if (counts == 0).any() or not (np.abs(values) < _HUGE).all():
        wrong = next(case for case, one in zip(cases, given, strict=True) if not _fine(one))
        raise ConfigurationError(
            f"the scores of the case {wrong!r} are {scores[wrong]!r}: a case needs one finite number below 1e150; "
            "leave out what failed, so that it is counted as missing"
        )
    return _Runs.of(values, counts)


def _list(given: Any, case: Hashable) -> list[float]:
    try:
        found = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
        return [math.nan if one is None or isinstance(one, str) else float(one) for one in found]
    except (TypeError, ValueError):
        raise ConfigurationError(f"the scores of the case {case!r} are {given!r}: give numbers") from None


def _fine(given: Any) -> bool:
    values = np.atleast_1d(np.asarray(given, dtype=float)) if not isinstance(given, str) else np.array([math.nan])
    return values.size > 0 and bool((np.abs(values) < _HUGE).all())


def _rows(base: NDArray[Any], new: NDArray[Any]) -> tuple[NDArray[np.bool_], _Runs, _Runs]:
    if any(one.ndim not in (1, 2) or one.dtype.kind not in "biuf" for one in (base, new)) or len(base) != len(new):
        raise ConfigurationError(
            f"scores are mappings, or arrays of numbers of shape (cases,) or (cases, repeats) with as many cases: not "
            f"{base.dtype} {base.shape} and {new.dtype} {new.shape}"
        )
    tables = [one.astype(float).reshape(len(one), -1) for one in (base, new)]
    if any((np.abs(one) >= _HUGE).any() for one in tables):
        raise ConfigurationError("a score is 1e150 or more; write `nan` for a run that has none")
    present = [~np.isnan(one) for one in tables]
    kept = present[0].any(axis=1) & present[1].any(axis=1)
    found = [
        _Runs.of(table[kept][there[kept]], there[kept].sum(axis=1).astype(float))
        for table, there in zip(tables, present, strict=True)
    ]
    return kept, found[0], found[1]


def _belongs(clusters: Clusters, cases: Sequence[Hashable]) -> NDArray[np.int64]:
    if not isinstance(clusters, Mapping):
        raise ConfigurationError("`clusters` maps cases to clusters where scores are mappings, too")
    return _numbers((clusters.get(case), case) for case in cases)


def _rows_belong(clusters: Clusters, kept: NDArray[np.bool_]) -> NDArray[np.int64]:
    if isinstance(clusters, Mapping) or len(clusters) != len(kept):
        raise ConfigurationError(f"`clusters` has one cluster for each of the {len(kept)} rows where scores are arrays")
    return _numbers((cluster, row) for row, cluster in enumerate(clusters) if kept[row])


def _numbers(belongs: Iterable[tuple[Hashable, Hashable]]) -> NDArray[np.int64]:
    numbers: dict[Hashable, int] = {}
    return np.array(
        [
            numbers.setdefault(("alone", case) if cluster is None else ("of", cluster), len(numbers))
            for cluster, case in belongs
        ],
        dtype=np.int64,
    )


def _gathered(base: _Runs, new: _Runs, *, index: NDArray[np.int64] | None, bounds: Bounds, unpaired: int) -> Paired:
    low, high = bounds
    lowest, highest = min(base.lowest, new.lowest), max(base.highest, new.highest)
    if not low < high or lowest < low or highest > high:
        raise ConfigurationError(f"scores go from {lowest!r} to {highest!r}, beyond their bounds {bounds!r}")
    bounded = math.isfinite(low) and math.isfinite(high)
    differences = _settled(new.means - base.means, np.maximum(np.abs(base.means), np.abs(new.means)))
    once = bool((base.counts == 1).all() and (new.counts == 1).all())
    two = once and all(((one == lowest) | (one == highest)).all() for one in (base.means, new.means))
    span = high - low if bounded else 1.0 if two and lowest == highest and lowest in (0.0, 1.0) else highest - lowest
    counts = [float((1 / one.counts).mean()) for one in (base, new)]
    return Paired(
        differences=differences,
        base=base.means,
        within=base.noise * counts[0] + new.noise * counts[1],
        repeats=2 / sum(counts),
        totals=_sums(index, differences),
        base_totals=_sums(index, base.means),
        sizes=_sums(index, np.ones(len(differences))),
        reach=span,
        bounded=bounded,
        step=(highest - lowest if highest > lowest else span) if two else 0.0,
        unpaired=unpaired,
    )


def _sums(index: NDArray[np.int64] | None, values: Floats) -> Floats:
    return values if index is None else np.bincount(index, values).astype(float)
