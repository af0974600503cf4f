"""How a weight or a momentum changes over training: pure functions of the step.

All take the step (0-based; floats allowed), are constant outside their span, and accept a length of
0, which means "already at the end".
"""

import math


def linear_ramp_up(step: float, length: float) -> float:
    """Rise from 0 at step 0 to 1 at step `length` along a straight line; 1 afterwards."""
    return _fraction(step, length)


def sigmoid_ramp_up(step: float, length: float) -> float:
    """Rise from exp(-5) at step 0 to 1 at step `length` as exp(-5 (1 - x)^2); 1 afterwards.

    Source: Laine and Aila, "Temporal ensembling for semi-supervised learning", Sec. 3.1.
    """
    return math.exp(-5.0 * (1.0 - _fraction(step, length)) ** 2)


def exponential_ramp_up(step: float, length: float, *, rate: float = 5.0) -> float:
    """Rise from 0 at step 0 to 1 at step `length` as (exp(rate x) - 1) / (exp(rate) - 1).

    Late: half-way it is at 0.08 for the rate of 5. 1 after `length`.

    Source: End-to-end semi-supervised learning for video action detection, Sec. 3.3, which begins
    at 0 and rises exponentially over the whole training, without giving a rate.

    Raises:
        ValueError: a rate that is not positive.
    """
    if not rate > 0:
        raise ValueError(f"exponential_ramp_up: the rate must be positive, found {rate}")
    return math.expm1(rate * _fraction(step, length)) / math.expm1(rate)


def cosine(step: float, length: float, *, start: float = 1.0, end: float = 0.0) -> float:
    """Go from `start` at step 0 to `end` at step `length` along half a cosine; `end` afterwards.

    Source: Loshchilov and Hutter, "SGDR", Eq. 5 without restarts.
    """
    return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * _fraction(step, length)))


def early_momentum(updates: int, momentum: float) -> float:
    """Momentum of the update that follows `updates` earlier ones: min(momentum, (1+n)/(10+n)).

    A young average forgets its random start quickly: 0.1, 0.18, 0.25, ... up to `momentum`.

    Source: the decay rule of TensorFlow's ExponentialMovingAverage.
    """
    return min(momentum, (1.0 + updates) / (10.0 + updates))


def _fraction(step: float, length: float) -> float:
    if not (math.isfinite(step) and math.isfinite(length)) or length < 0:
        raise ValueError(
            f"a schedule needs a finite step and a length of at least 0; got {step=}, {length=}"
        )
    if length == 0:
        return 1.0
    return min(max(step / length, 0.0), 1.0)
