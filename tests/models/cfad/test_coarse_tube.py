"""Coarse tubes: the features of spans, the two branches, and the loss over whole curves."""

import pytest
import torch

from stad_models.heads.action_tubes import action_tubes, tubes_of_span
from stad_models.heads.coarse_tube import (
    CoarseModule,
    CoarseTubes,
    coarse_boxes,
    coarse_losses,
    tube_shape_loss,
)
from stad_models.heads.tube_features import sample_spans
from stad_models.trajectories import encode_tube, fit_polynomial


def test_features_are_sampled_from_the_first_frame_to_the_last():
    # Every frame of the map holds the time of its own middle.
    times = torch.arange(6) * 4 + 2.0
    clip_map = times[None, None, :, None, None].expand(2, 1, 6, 2, 3).clone()
    clip_map[1] += 100
    spans = torch.tensor([[4.0, 21.0], [2.0, 8.0], [0.0, 24.0], [7.0, 8.0]])
    clips = torch.tensor([0, 1, 1, 0])
    found = sample_spans(clip_map, clips, spans, count=3, frame_stride=4)
    assert found.shape == (4, 1, 3, 2, 3)
    values = found[:, 0, :, 1, 2]
    assert values[0].tolist() == [4.5, 12.5, 20.5]
    assert values[1].tolist() == [102.5, 105, 107.5]
    assert values[2].tolist() == [102, 112, 122]  # before the first middle the ends stay
    assert values[3].tolist() == [7.5] * 3


def module(**numbers):
    chosen = {"outputs": 3, "stride": 8, "anchors": ((8, 8), (16, 24)), "hidden": 8, **numbers}
    return CoarseModule(4, **chosen)


def test_shapes_and_places_of_anchors():
    found = module(order=2)(torch.randn(5, 4, 4, 3, 6))
    assert found.logits.shape == (5, 36, 3)
    assert found.coefficients.shape == (5, 36, 3, 4)
    assert found.anchors[:2].tolist() == [[0, 0, 8, 8], [-4, -8, 12, 16]]
    assert found.anchors[-1].tolist() == [36, 8, 52, 32]


def test_the_branches_are_averaged_over_time_and_summed():
    network = module().eval()
    assert module(residual=False).difference is None
    torch.nn.init.normal_(network.logits.weight)
    features = torch.randn(2, 4, 5, 3, 3)
    plain = network.plain(features).mean(dim=2)
    steps = features[:, :, 1:] - features[:, :, :-1]
    expected = network.logits(plain + network.difference(steps).mean(dim=2))
    found = network(features).logits
    assert torch.allclose(found, expected.permute(0, 2, 3, 1).reshape(2, -1, 3), atol=1e-5)
    plain_alone = network.logits(plain).permute(0, 2, 3, 1).reshape(2, -1, 3)
    assert not torch.allclose(found, plain_alone, atol=1e-3)


@pytest.mark.parametrize(
    ("numbers", "word"),
    [
        ({"anchors": ()}, "at least one"),
        ({"anchors": ((8, 0),)}, "above 0"),
        ({"anchors": ((8, 8, 8),)}, "width, height"),
        ({"anchors": ((float("nan"), 8),)}, "finite"),
        ({"anchors": ((8, float("inf")),)}, "finite"),
        ({"order": -1}, "order must be at least 0"),
    ],
)
def test_numbers_that_make_no_module_are_refused(numbers, word):
    with pytest.raises(ValueError, match=word):
        module(**numbers)


def random_case(seed=0, rows=2, frames=7, order=3):
    generator = torch.Generator().manual_seed(seed)
    anchors = torch.tensor([[10.0, 10, 40, 50], [30, 5, 60, 45]], dtype=torch.float64)[:rows]
    coefficients = torch.randn((rows, order + 1, 4), generator=generator, dtype=torch.float64)
    shift = torch.randn((rows, frames, 4), generator=generator, dtype=torch.float64)
    present = torch.ones(rows, frames, dtype=torch.bool)
    present[0, 4:] = False
    boxes = (anchors[:, None] + shift * 3) * present[..., None]
    times = torch.linspace(0, 1, frames, dtype=torch.float64).expand(rows, -1)
    return coefficients, anchors, boxes, present, times


def test_gradients_of_the_tube_loss():
    coefficients, *rest = random_case()
    coefficients.requires_grad_()
    assert torch.autograd.gradcheck(lambda c: tube_shape_loss(c, *rest), (coefficients,))


def test_the_tube_loss_by_hand():
    coefficients, anchors, boxes, present, times = random_case()
    expected = 0.0
    for row in range(2):
        mine = present[row]
        wanted = encode_tube(boxes[row : row + 1, mine], anchors[row : row + 1])[0]
        powers = torch.stack([times[row, mine] ** n for n in range(4)], dim=1)
        expected += float((powers @ coefficients[row] - wanted).square().sum()) / int(mine.sum())
    found = tube_shape_loss(coefficients, anchors, boxes, present, times)
    assert float(found) == pytest.approx(expected)


def test_the_right_curve_has_no_loss():
    _, anchors, boxes, present, times = random_case(rows=1, frames=5)
    present = torch.ones_like(present)
    boxes = anchors[:, None] + torch.linspace(0, 6, 5, dtype=torch.float64)[None, :, None]
    fitted = fit_polynomial(times[0], encode_tube(boxes, anchors)[0], 4)[None]
    assert tube_shape_loss(fitted, anchors, boxes, present, times) < 1e-12
    assert torch.allclose(coarse_boxes(fitted, anchors, times), boxes)


def said(logits, coefficients, anchors):
    return CoarseTubes(logits=logits, coefficients=coefficients, anchors=anchors)


@pytest.mark.parametrize("exclusive", [True, False])
def test_losses_are_small_for_the_truth_and_large_for_its_opposite(exclusive, make_tracks):
    box = (10, 10, 30, 50)
    tracks = make_tracks((box, box, ((1, 0, 8),)), frames=8, classes=2)
    tubes = action_tubes(tracks)
    spans = [tubes_of_span(tubes, torch.tensor([0.0, 8.0])), tubes_of_span(tubes, torch.zeros(2))]
    anchors = torch.tensor([[10.0, 10, 30, 50], [70, 10, 90, 50]])
    outputs = 3 if exclusive else 2
    right = torch.full((2, 2, outputs), -20.0)
    if exclusive:
        right[..., 2] = 20
        right[0, 0] = torch.tensor([-20.0, 20, -20])
    else:
        right[0, 0, 1] = 20
    still = torch.zeros(2, 2, 3, 4)
    good = coarse_losses(said(right, still, anchors), spans, exclusive=exclusive)
    assert good["tube_class"] < 1e-6
    assert good["tube_shape"] == 0
    bad = coarse_losses(said(-right, still + 1, anchors), spans, exclusive=exclusive)
    assert bad["tube_class"] > 5
    # Errors of 1 + t + t^2 in four numbers, averaged over eight frames.
    t = torch.linspace(0, 1, 8)
    expected = 4 * (1 + t + t**2).square().mean()
    assert float(bad["tube_shape"]) == pytest.approx(float(expected), rel=1e-5)


def test_spans_without_tubes_train_the_background_alone(make_tracks):
    nobody = tubes_of_span(action_tubes(make_tracks(frames=8, classes=2)), torch.tensor([0.0, 8]))
    network = module()
    found = coarse_losses(network(torch.randn(1, 4, 4, 3, 3)), [nobody], exclusive=True)
    assert found["tube_shape"] == 0
    sum(found.values()).backward()
    assert network.curves.weight.grad.abs().max() == 0
    assert network.logits.weight.grad.abs().max() > 0
