"""Means over seeds and what can be said about them: Student's t, two-sided 95 %."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean and its 95 % interval.

    Attributes:
        mean: Of the values.
        half: Half the interval's width; None for a single value, which tells nothing of spread.
        values: Number of values.
    """

    mean: float
    half: float | None
    values: int

    @property
    def leaves_out_zero(self) -> bool:
        """Whether the interval says which side of zero the mean lies on."""
        return self.half is not None and abs(self.mean) > self.half


def estimate(values: Sequence[float]) -> Estimate | None:
    """The mean of some values with the 95 % interval by Student's t; None of none.

    half = t(0.975, n - 1) * s / sqrt(n), s the standard deviation with n - 1 in its denominator.
    """
    count = len(values)
    if not count:
        return None
    mean = math.fsum(values) / count
    if count == 1:
        return Estimate(mean=mean, half=None, values=1)
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    half = _quantile(count - 1) * math.sqrt(variance / count)
    return Estimate(mean=mean, half=half, values=count)


@cache
def _quantile(freedom: int) -> float:
    return float(stats.t.ppf(0.5 + CONFIDENCE / 2, freedom))
