import dataclasses

import pytest
import torch

from stad_models import Targets, zoo
from stad_models.backbones.dla import Dla
from stad_models.detectors.moc import Moc, MocOptions
from stad_models.detectors.snippets import flow_images, padded, snippet, stacked_flow
from stad_models.detectors.two_stream_moc import StreamShares, TwoStreamMoc
from stad_models.heads.tubelet import TubeletHead
from stad_models.zoo.tubelets import TINY_DLA

NARROW = dataclasses.replace(TINY_DLA, widths=(4, 4, 6, 8, 8))


def narrow(length=5, *, classes=3, channels=3, options=None, clip_length=None) -> Moc:
    backbone = Dla(dataclasses.replace(NARROW, channels_in=channels))
    return Moc(
        backbone,
        TubeletHead(backbone.channels, length=length, centers=classes, hidden=8),
        num_classes=classes,
        exclusive=True,
        clip_length=length if clip_length is None else clip_length,
        clip_stride=1,
        options=options or MocOptions(),
    )


@pytest.mark.parametrize("length", [1, 3, 5, 7])
def test_losses_and_tubelets_of_every_length(length, random_targets):
    model = narrow(length)
    clips = torch.randn(2, 3, length, 48, 64)
    losses = model(clips, random_targets((2, 1), length=length))
    assert set(losses) == {"center", "movement", "size"}
    assert all(loss.ndim == 0 and loss.isfinite() and loss > 0 for loss in losses.values())
    sum(losses.values()).backward()
    assert all(weight.grad is not None for weight in model.parameters())
    found = model.eval()(clips)
    assert len(found) == 2
    for tubelets in found:
        assert tubelets.boxes.shape == (len(tubelets), length, 4)
        assert tubelets.scores.shape == (len(tubelets), 3)
        assert 0 < len(tubelets) <= 100
        best = tubelets.scores.amax(dim=1)
        assert (best[:-1] >= best[1:]).all()
        assert ((tubelets.scores > 0).sum(dim=1) == 1).all()
        assert tubelets.first == 0


@pytest.mark.parametrize(
    ("frames", "length", "first"), [(16, 5, 6), (16, 7, 5), (8, 1, 4), (9, 3, 3)]
)
def test_only_the_middle_frames_count(frames, length, first):
    model = narrow(length, clip_length=frames).eval()
    clips = torch.randn(1, 3, frames, 32, 48)
    (found,) = model(clips)
    assert found.first == first
    assert first + length // 2 == frames // 2
    other = torch.randn_like(clips)
    other[:, :, first : first + length] = clips[:, :, first : first + length]
    (again,) = model(other)
    assert torch.equal(again.boxes, found.boxes)
    assert torch.equal(snippet(clips, length)[0, 0], clips[0, :, first])


def test_clips_without_anyone_train_centers_only(random_targets):
    model = narrow()
    losses = model(torch.randn(2, 3, 5, 48, 64), random_targets((0, 0)))
    assert losses["center"] > 0
    assert losses["movement"] == losses["size"] == 0
    sum(losses.values()).backward()
    assert all(weight.grad is not None for weight in model.parameters())


def test_more_actors_than_tubelets_train_and_are_cut(random_targets):
    model = narrow(options=MocOptions(max_tubelets=10))
    clips = torch.randn(1, 3, 5, 48, 64)
    assert model(clips, random_targets((14,)))["movement"].isfinite()
    assert len(model.eval()(clips)[0]) <= 10


@pytest.mark.parametrize("size", [(70, 45), (33, 97), (9, 7)])
def test_frames_of_any_size(size, random_targets):
    width, height = size
    model = narrow(3)
    clips = torch.randn(1, 3, 3, height, width)
    losses = model(clips, random_targets((1,), length=3, size=size))
    assert all(loss.isfinite() for loss in losses.values())
    (found,) = model.eval()(clips)
    assert (found.boxes >= 0).all()
    assert (found.boxes <= torch.tensor((width, height, width, height))).all()


def test_padding_is_right_and_below():
    x = torch.ones(2, 3, 5, 7)
    wide = padded(x, 4)
    assert wide.shape == (2, 3, 8, 8)
    assert torch.equal(wide[..., :5, :7], x)
    assert wide.sum() == x.sum()
    assert padded(wide, 4) is wide


def test_weights_scale_the_losses(random_targets):
    options = MocOptions(center_weight=2.0, movement_weight=3.0, size_weight=0.5)
    one, other = narrow(options=MocOptions(size_weight=1.0)), narrow(options=options)
    other.load_state_dict(one.state_dict())
    clips, targets = torch.randn(1, 3, 5, 48, 64), random_targets((2,))
    plain, weighed = one(clips, targets), other(clips, targets)
    for name, factor in (("center", 2), ("movement", 3), ("size", 0.5)):
        torch.testing.assert_close(weighed[name], plain[name] * factor)


def test_a_bfloat16_autocast_gives_float32_losses(random_targets):
    model = zoo.moc_tiny(3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = model(torch.randn(1, 3, 5, 48, 64), random_targets((1,)))
        (found,) = model.eval()(torch.randn(1, 3, 5, 48, 64))
    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())
    assert found.boxes.dtype == torch.float32


def test_bad_clips_are_refused(random_targets):
    model = narrow()
    with pytest.raises(ValueError, match=r"at least the 5 frames of a tubelet, found 4; repeat"):
        model(torch.randn(1, 3, 4, 32, 32))
    with pytest.raises(ValueError, match=r"must be \[N, 3, T, H, W\], found \[1, 15, 5, 32, 32\]"):
        model(torch.randn(1, 15, 5, 32, 32))
    with pytest.raises(ValueError, match=r"found \[5\]"):
        model(torch.randn(5))
    with pytest.raises(TypeError, match="divide frames by 255"):
        model(torch.zeros((1, 3, 5, 32, 32), dtype=torch.uint8))


def test_bad_targets_are_refused(random_targets):
    model, clips = narrow(), torch.randn(1, 3, 5, 48, 64)
    with pytest.raises(ValueError, match="targets of 2 clips for a batch of 1"):
        model(clips, random_targets((1, 1)))
    with pytest.raises(ValueError, match="3 frames and 3 classes, the model has 5 and 3"):
        model(clips, random_targets((1,), length=3))
    with pytest.raises(ValueError, match="5 frames and 7 classes"):
        model(clips, random_targets((1,), classes=7))
    keyframe = Targets(boxes=(torch.zeros(0, 4),), labels=(torch.zeros(0, 3),))
    with pytest.raises(ValueError, match="tracks over the 5 middle frames"):
        model(clips, keyframe)


def test_parts_that_do_not_fit_are_refused():
    backbone = Dla(NARROW)
    numbers = {"exclusive": True, "clip_stride": 1, "options": MocOptions()}
    head = TubeletHead(backbone.channels, length=5, centers=3, hidden=8)
    with pytest.raises(ValueError, match="4 kinds of centers and sides, found 3 and sides"):
        Moc(backbone, head, num_classes=4, clip_length=5, **numbers)
    with pytest.raises(ValueError, match="at least the 5 frames of a tubelet, found 4"):
        Moc(backbone, head, num_classes=3, clip_length=4, **numbers)
    with pytest.raises(ValueError, match="max_tubelets must be positive, found 0"):
        MocOptions(max_tubelets=0)
    with pytest.raises(ValueError, match="must be positive, found 0 and 3"):
        TubeletHead(8, length=0, centers=3)


def test_flow_is_stacked_forward_in_time():
    images = torch.arange(6.0)[None, None, :, None, None].expand(1, 3, 6, 2, 2)
    stacked = stacked_flow(images)
    assert stacked.shape == (1, 15, 6, 2, 2)
    assert stacked[0, ::3, 1, 0, 0].tolist() == [1, 2, 3, 4, 5]
    assert stacked[0, ::3, 4, 0, 0].tolist() == [4, 5, 5, 5, 5]


def test_flow_becomes_images_by_hand():
    flow = torch.tensor([[0.0, 3.0, -4.0, 100.0], [0.0, 4.0, 3.0, -100.0]])
    images = flow_images(flow[None, :, :, None, None])
    wanted = [[128, 176, 64, 255], [128, 192, 176, 0], [128, 208, 208, 255]]
    assert images[0, :, :, 0, 0].tolist() == wanted
    with pytest.raises(ValueError, match=r"\[N, 2, T, H, W\], found \[1, 3, 1, 2, 2\]"):
        flow_images(torch.zeros(1, 3, 1, 2, 2))


def test_two_streams_mix_their_maps(random_targets):
    colour, flow = narrow(3).eval(), narrow(3, channels=15).eval()
    clips = torch.randn(2, 18, 3, 32, 48)
    alone = TwoStreamMoc(colour, flow, shares=StreamShares(centers=1.0, movement=1.0, sizes=1.0))
    for found, wanted in zip(alone.eval()(clips), colour(clips[:, :3]), strict=True):
        torch.testing.assert_close(found.boxes, wanted.boxes)
        torch.testing.assert_close(found.scores, wanted.scores)
    mixed = TwoStreamMoc(colour, flow)
    losses = mixed(clips, random_targets((1, 1), length=3, size=(48, 32)))
    assert len(losses) == 6
    apart = flow(clips[:, 3:], random_targets((1, 1), length=3, size=(48, 32)))
    torch.testing.assert_close(losses["flow_center"], apart["center"])
    assert mixed.channels_in == 18


def test_two_streams_need_the_same_form():
    with pytest.raises(ValueError, match="same tubelet_length, found 3 and 5"):
        TwoStreamMoc(narrow(3), narrow(5, channels=15))
    with pytest.raises(ValueError, match="same num_classes, found 3 and 4"):
        TwoStreamMoc(narrow(3), narrow(3, classes=4, channels=15))
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        StreamShares(sizes=1.2)
