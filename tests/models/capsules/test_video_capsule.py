"""The whole network: what goes in and comes out, who is decoded, and what is refused."""

import pytest
import torch

from stad_models import flops, zoo
from stad_models.backbones.i3d import I3dShape
from stad_models.detectors.map_outputs import MapOutputs
from stad_models.detectors.video_capsule import (
    VideoCapsuleOptions,
    clip_labels,
    decoded_classes,
)
from stad_models.structures import Maps, Targets


def clips(count=2, *, size=(32, 48), frames=8):
    return torch.randn(count, 3, frames, *size, generator=torch.Generator().manual_seed(1))


def test_maps_of_any_size_in_evaluation(small):
    model = small().eval()
    for size in ((32, 48), (37, 41)):
        with torch.inference_mode():
            found = model(clips(size=size))
        assert len(found) == 2
        assert isinstance(found[0], Maps)
        assert found[0].localisation.shape == (8, *size)
        assert 0 <= float(found[0].localisation.min()) <= float(found[0].localisation.max()) <= 1
        assert found[0].scores.shape == (3,)


def test_losses_in_training_reach_every_weight(small, targets):
    model = small(options=VideoCapsuleOptions(margin_steps=10)).train()
    wanted = targets([0, 2])
    losses = model(clips(), wanted)
    assert set(losses) == {"class", "cross_entropy", "dice"}
    torch.stack([*losses.values()]).sum().backward()
    missing = [name for name, weight in model.named_parameters() if weight.grad is None]
    assert missing == []
    assert all(bool(weight.grad.isfinite().all()) for weight in model.parameters())
    assert int(model.passes) == 1
    before = model(clips(), wanted)["class"].item()
    assert int(model.passes) == 2
    model.passes += 8
    assert model(clips(), wanted)["class"].item() > before  # a wider margin
    assert "passes" in model.state_dict()


def test_outputs_give_the_same_losses_and_are_cut_by_rows(small, targets):
    model = small()
    wanted = targets([0, 2])
    labels = clip_labels(wanted, 3)
    outputs = model(clips(), labels=labels)
    assert isinstance(outputs, MapOutputs)
    assert outputs.features.shape == (2, 3 * 16)
    other = small()
    for name, loss in other(clips(), wanted).items():
        assert loss.item() == pytest.approx(model.losses(outputs, wanted)[name].item(), rel=1e-5)
    assert len(outputs[:1]) == 1
    assert outputs[1:].logits.shape == (1, 8, 32, 48)


def test_the_map_is_decoded_from_the_labelled_class_or_else_the_best(small):
    scores = torch.tensor([[0.1, 0.9, 0.3], [0.8, 0.1, 0.2], [0.1, 0.2, 0.3]])
    labels = torch.tensor([[1.0, 0, 0], [0, 0, 0], [0.3, 0.7, 0]])
    found = decoded_classes(scores, labels)
    assert found.tolist() == [[True, False, False], [True, False, False], [False, True, False]]
    model = small().eval()
    with torch.inference_mode():
        free = model(clips(1), labels=torch.zeros(1, 3))
        best = int(free.scores.argmax())
        same = model(clips(1), labels=torch.eye(3)[best : best + 1])
        other = model(clips(1), labels=torch.eye(3)[(best + 1) % 3][None])
    assert torch.equal(free.logits, same.logits)
    assert not torch.equal(free.logits, other.logits)


def test_a_clip_with_nobody_in_it_trains_the_map_alone(small, targets):
    model = small()
    losses = model(clips(1), targets([None]))
    assert float(losses["class"].detach()) == 0.0
    assert float(losses["dice"].detach()) > 0.0


def test_longer_clips_have_longer_maps(small):
    model = small(clip_length=16).eval()
    with torch.inference_mode():
        assert model(clips(1, frames=16))[0].localisation.shape == (16, 32, 48)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model, _: model(clips(frames=12)), "multiple of 8"),
        (lambda model, _: model(clips()[:, :2]), r"\[N, 3, T, H, W\]"),
        (lambda model, _: model(clips(), labels=torch.zeros(2, 4)), r"labels must be \[2, 3\]"),
        (lambda model, t: model(clips(), t([0, 1], classes=4)), "4 classes"),
        (lambda model, t: model(clips(), t([0, 1], size=(32, 40))), "masks"),
        (
            lambda model, t: model(
                clips(), Targets(boxes=t([0, 1]).boxes, labels=t([0, 1]).labels)
            ),
            'form "map"',
        ),
    ],
)
def test_what_makes_no_sense_is_refused(call, message, small, targets):
    with pytest.raises(ValueError, match=message):
        call(small(), targets)


def test_parts_that_do_not_fit_are_refused(small):
    with pytest.raises(ValueError, match="multiple of 8"):
        small(clip_length=12)
    with pytest.raises(ValueError, match="margins"):
        VideoCapsuleOptions(margins=(0.2, 1.9))
    with pytest.raises(ValueError, match="strides 2, 4 and 8"):
        zoo.video_capsule_tiny(3, trunk=I3dShape(last="mixed_5b", width=0.1))


def test_the_published_network_has_the_layout_of_videocapsulenet():
    with torch.device("meta"):
        model = zoo.video_capsule_i3d(24)
    found = {name: tuple(weight.shape) for name, weight in model.named_parameters()}
    assert found["primary.pose.weight"] == (512, 832, 9, 9)
    assert found["primary.activation.weight"] == (32, 832, 9, 9)
    assert found["capsules.weights"] == (24, 32, 4, 4)
    assert found["capsules.beta_use"] == (24, 16)
    assert found["capsules.beta_activation"] == (24,)
    assert found["decoder.grow1.weight"] == (384, 64, 9, 9)
    assert found["decoder.grow2.weight"] == found["decoder.grow3.weight"] == (128, 64, 3, 3, 3)
    assert found["decoder.grow4.weight"] == (128, 128, 3, 3, 3)
    assert found["decoder.skip8.weight"] == (64, 832, 3, 3)
    assert found["decoder.skip4.weight"] == (64, 192, 3, 3, 3)
    assert found["decoder.skip2.weight"] == (64, 64, 3, 3, 3)
    with torch.device("meta"):
        found = model(torch.empty(1, 3, 8, 224, 224), labels=torch.empty(1, 24))
    assert found.logits.shape == (1, 8, 224, 224)


def test_parts_add_up_and_the_small_model_stays_small():
    with torch.device("meta"):
        model = zoo.video_capsule_i3d(24)
    cost = flops.count(model, 224, 8)
    for figures in (cost.macs, cost.params):
        assert set(figures) == {"total", "backbone", "primary", "capsules", "decoder"}
        assert figures["total"] == sum(n for part, n in figures.items() if part != "total")
    cells = 20 * 20
    assert cost.macs["primary"] == cells * 9 * 9 * 832 * 32 * 17
    small = flops.count(zoo.video_capsule_tiny(21), (128, 96), 8)
    assert small.macs["total"] < 1e9
    assert small.params["total"] < 0.5e6
