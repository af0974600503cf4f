import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_ssl import cosine, early_momentum, linear_ramp_up, sigmoid_ramp_up

steps = st.floats(-100, 300, allow_nan=False)


def test_values_by_hand():
    assert linear_ramp_up(5, 20) == 0.25
    assert sigmoid_ramp_up(0, 10) == pytest.approx(math.exp(-5))
    assert sigmoid_ramp_up(5, 10) == pytest.approx(math.exp(-1.25))
    assert cosine(5, 10, start=1.0, end=0.0) == pytest.approx(0.5)
    assert cosine(10, 10, start=0.1, end=0.02) == pytest.approx(0.02)
    assert early_momentum(0, 0.999) == pytest.approx(0.1)
    assert early_momentum(100_000, 0.999) == 0.999


@pytest.mark.parametrize("rise", [linear_ramp_up, sigmoid_ramp_up])
@given(a=steps, b=steps)
@settings(deadline=None, max_examples=50)
def test_ramps_rise_from_their_start_to_one_and_stay(rise, a, b):
    low, high = sorted((a, b))
    assert rise(low, 200) <= rise(high, 200) <= 1.0
    assert rise(max(a, 200), 200) == 1.0
    assert rise(min(a, 0), 200) == rise(0, 200)


@pytest.mark.parametrize("schedule", [linear_ramp_up, sigmoid_ramp_up, cosine])
def test_zero_length_is_the_end_and_nonsense_is_refused(schedule):
    assert schedule(0, 0) == (0.0 if schedule is cosine else 1.0)
    with pytest.raises(ValueError, match="length"):
        schedule(1, -1)
    with pytest.raises(ValueError, match="finite"):
        schedule(float("nan"), 10)
