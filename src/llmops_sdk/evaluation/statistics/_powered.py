"""Human labels on a part of the cases put right what a judge says of all: prediction-powered inference.

Unlike a calibration it asks nothing of the judge's errors, which may differ between pipelines; but the labelled cases
are a random part of the experiment's own. A poor judge costs nothing: it is weighted by how well it predicts people.

Source: Angelopoulos et al., Science 382 (2023); the weight is that of Angelopoulos, Duchi and Zrnic, PPI++ (2023,
arXiv:2311.01453), section 6.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from scipy import stats

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.evaluation.statistics._corrected import Corrected
from llmops_sdk.evaluation.statistics._paired import Floats

__all__ = ["prediction_powered"]

_FEWEST = 10


def prediction_powered(
    judged: Mapping[Any, float],
    human: Mapping[Any, float],
    /,
    *,
    clusters: Mapping[Any, Hashable] | None = None,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    level: float = 0.95,
) -> Corrected:
    """The mean of what people would have said of all cases, from the judge on all and people on some.

    For a difference of two pipelines give the differences, case by case.

    Args:
        judged: Case -> the judge's value.
        human: Case -> people's value, for a random part of these cases.
        clusters: Case -> its cluster; people label whole clusters then.
        bounds: Smallest and largest mean that is possible.
        level: Probability of the interval to cover the truth.

    Raises:
        ConfigurationError: People have labelled fewer than 10 cases (or clusters), a case that the judge has not
            judged, or a part of a cluster.

    Example:
        >>> judged = {case: float(case % 4 > 0) for case in range(400)}
        >>> human = {case: float(case % 4 > 1) for case in range(80)}
        >>> print(prediction_powered(judged, human))
        +0.5 (95% interval +0.4041 to +0.5959)
    """
    unknown = [case for case in human if case not in judged]
    if unknown:
        raise ConfigurationError(f"people have labelled {unknown[0]!r}, which the judge has not judged")
    names = {case: ("", case) if clusters is None or case not in clusters else ("c", clusters[case]) for case in judged}
    chosen = {names[case] for case in human}
    rest = [case for case in judged if case not in human]
    parts = [case for case in rest if names[case] in chosen]
    if parts:
        raise ConfigurationError(f"people have labelled a part of the cluster of {parts[0]!r}: label all of it")
    if len(chosen) < _FEWEST:
        raise ConfigurationError(f"people have labelled {len(chosen)} cases or clusters: 10 are the fewest")
    labels = np.array([human[case] for case in human], dtype=float)
    predicted = np.array([judged[case] for case in human], dtype=float)
    unseen = np.array([judged[case] for case in rest], dtype=float)
    groups, others = _index([names[case] for case in human]), _index([names[case] for case in rest])
    weight = _weight(labels, predicted, groups, unseen, others)
    value, variance = _mean(labels - weight * predicted, groups)
    if rest:
        more, spread = _mean(unseen, others)
        value, variance = value + weight * more, variance + weight**2 * spread
    reach = float(stats.t.ppf((1 + level) / 2, len(chosen) - 1)) * math.sqrt(variance)
    low, high = bounds
    everything = np.concatenate([predicted, unseen])
    return Corrected(
        value=min(max(value, low), high),
        low=min(max(value - reach, low), high),
        high=min(max(value + reach, low), high),
        level=level,
        judged=float(everything.mean()),
    )


def _weight(labels: Floats, predicted: Floats, groups: Floats, unseen: Floats, others: Floats) -> float:
    """How much the judge's word counts: what makes the variance smallest, from 0 to 1."""
    if not unseen.size:
        return 0.0
    own, of_labels = _influence(predicted, groups), _influence(labels, groups)
    covariance = float((own * of_labels).sum())
    total = float((own**2).sum()) + _mean(unseen, others)[1]
    return min(max(covariance / total, 0.0), 1.0) if total > 0 else 0.0


def _index(names: list[tuple[str, Hashable]]) -> Floats:
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], dtype=float)


def _influence(values: Floats, groups: Floats) -> Floats:
    return np.bincount(groups.astype(int), values - values.mean()) / values.size


def _mean(values: Floats, groups: Floats) -> tuple[float, float]:
    """The mean and its variance, over clusters."""
    influence = _influence(values, groups)
    count = influence.size
    return float(values.mean()), float((influence**2).sum()) * count / max(count - 1, 1)
