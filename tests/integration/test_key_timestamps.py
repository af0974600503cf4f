"""Key timestamps of real tubes: greedy selection against exhaustive search."""

from itertools import combinations

import numpy as np
import pytest
import torch

from stad_data import action_tubes
from stad_data.datasets import ucf24
from stad_models import trajectories as curves

EVERY = 60


def lost(times, boxes, count):
    """How much more IoU the best choice of as many timestamps reaches."""
    keys = curves.key_timestamps(times, boxes, count=count, threshold=0.8)
    stamps = curves.evenly(count, like=boxes)
    at_stamps = curves.linear(times, boxes, stamps)
    inner = combinations(range(1, count - 1), int(keys.sum()) - 2)
    rows = torch.tensor([[0, *chosen, count - 1] for chosen in inner])
    found = curves.mean_iou(curves.spline(stamps[rows], at_stamps[rows], times), boxes)
    return float(found.max() - curves.mean_iou(curves.interpolated(at_stamps, keys, times), boxes))


@pytest.fixture(scope="module")
def tubes(real_data):
    """Times and boxes of some tubes of UCF101-24."""
    whole = ucf24.read(real_data / "ucf24", missing="keep")
    found = [tube for video in (*whole.train, *whole.test) for tube in action_tubes(video)]
    result = []
    for tube in found[::EVERY]:
        frames = torch.tensor(tube.frames, dtype=torch.float64)
        span = torch.tensor([[tube.frames[0], tube.frames[-1] + 1]], dtype=torch.float64)
        boxes = torch.tensor(tube.boxes, dtype=torch.float64)
        result.append((curves.normalised_times(frames, span)[0], boxes))
    return result


@pytest.mark.parametrize(("count", "many"), [(4, 0.0), (5, 0.05), (6, 0.10), (8, 0.15)])
def test_greedy_selection_loses_less_than_a_hundredth_on_average(tubes, count, many):
    losses = np.array([lost(times, boxes, count) for times, boxes in tubes])
    assert len(losses) > 50
    assert losses.min() > -1e-9
    assert losses.mean() < 0.01
    assert (losses > 0.01).mean() <= many
