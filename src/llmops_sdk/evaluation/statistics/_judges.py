"""What a judge says, with its known errors taken out.

Source: Rogan and Gladen, American Journal of Epidemiology 107 (1978), for the estimate; Lang and Reiczigel, Preventive
Veterinary Medicine 113 (2014), for the interval, which counts that sensitivity and specificity are estimates, too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from scipy import stats

from llmops_sdk.errors import ConfigurationError

__all__ = ["CorrectedRate", "corrected_rate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectedRate:
    """A rate of passes as people would have judged it.

    Attributes:
        rate: The estimate, 0 to 1.
        low: Lower end of its interval.
        high: Upper end.
        judged: The rate as the judge says it.
        sensitivity: How often the judge passes what people pass, estimated.
        specificity: How often it fails what people fail, estimated.
    """

    rate: float
    low: float
    high: float
    judged: float
    sensitivity: float
    specificity: float


def corrected_rate(
    passed: float,
    judged: float,
    /,
    *,
    true_passes: tuple[float, float],
    true_fails: tuple[float, float],
    level: float = 0.95,
) -> CorrectedRate:
    """The rate of passes that people would have found, from what a judge has found.

    Args:
        passed: Answers that the judge passed. Counts may be fractions: of how many independent answers would say as
            much as those that are not.
        judged: Answers that it judged.
        true_passes: Of answers that people passed: how many the judge passed, and how many there were.
        true_fails: Of answers that people failed: how many the judge failed, and how many there were.
        level: Probability of the interval to cover the truth.

    Raises:
        ConfigurationError: The counts make no sense, or the judge is no better than a coin.

    Example:
        >>> found = corrected_rate(60, 100, true_passes=(45, 50), true_fails=(40, 50))
        >>> round(found.rate, 3), round(found.low, 3), round(found.high, 3)
        (0.571, 0.396, 0.743)
    """
    for hits, of, what in ((passed, judged, "judged"), (*true_passes, "true_passes"), (*true_fails, "true_fails")):
        if not 0 <= hits <= of or of == 0:
            raise ConfigurationError(f"`{what}`: {hits} of {of} makes no sense; give counts, such as 45 of 50")
    z = float(stats.norm.ppf((1 + level) / 2))
    sensitivity, specificity = true_passes[0] / true_passes[1], true_fails[0] / true_fails[1]
    if sensitivity + specificity <= 1:
        raise ConfigurationError(
            f"the judge agrees with people no more than a coin (sensitivity {sensitivity:.2f}, specificity "
            f"{specificity:.2f}): nothing can be corrected; improve its rubric, and calibrate it again"
        )
    # Lang and Reiczigel: one success and one failure more for the judge, z*z/2 of each for what it judged.
    n = judged + z**2
    p = (passed + z**2 / 2) / n
    n_se, n_sp = true_passes[1] + 2, true_fails[1] + 2
    se, sp = (true_passes[0] + 1) / n_se, (true_fails[0] + 1) / n_sp
    youden = se + sp - 1
    plain = (passed / judged + specificity - 1) / (sensitivity + specificity - 1)
    found = CorrectedRate(
        rate=min(max(plain, 0.0), 1.0),
        low=0.0,
        high=1.0,
        judged=passed / judged,
        sensitivity=sensitivity,
        specificity=specificity,
    )
    if youden <= 0:  # with so few labels it may be a coin
        return found
    rate = (p + sp - 1) / youden
    shift = 2 * z**2 * (rate * se * (1 - se) / n_se - (1 - rate) * sp * (1 - sp) / n_sp)
    variance = p * (1 - p) / n + rate**2 * se * (1 - se) / n_se + (1 - rate) ** 2 * sp * (1 - sp) / n_sp
    half = z * math.sqrt(variance) / youden
    low, high = (min(max(rate + shift + side * half, 0.0), 1.0) for side in (-1, 1))
    return replace(found, low=low, high=high)
