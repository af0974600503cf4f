"""Transforms: boxes follow their pixels, placements lead back, chance is the generator's."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from hypothesis import given, settings
from hypothesis import strategies as st

from stad_data import Clip, Placement, transforms
from stad_eval import InputError

TRANSFORMS = [
    transforms.FixedResize(40, 50),
    transforms.ShortSideResize(30),
    transforms.ShortSideResize(96, longest=100),
    transforms.RandomScaledCrop((32, 32), (1.0, 2.0), visible=0.0),
    transforms.RandomScaledCrop((90, 40), (0.4, 1.5), stretch=0.5, visible=0.0),
    transforms.RandomFlip(1.0),
    transforms.RepeatKeyframe(),
    transforms.ColorJitter(0.3, 0.3, 0.3, 0.2),
    transforms.Compose(
        [
            transforms.ShortSideResize(60),
            transforms.RandomFlip(0.5),
            transforms.RandomScaledCrop((48, 48), (0.7, 1.4), visible=0.0),
            transforms.RandomFlip(0.5),
            transforms.ColorJitter(0.2, 0.0, 0.2),
        ]
    ),
]


def rng(seed=0):
    return np.random.default_rng(seed)


def a_clip(boxes, size=(64, 48), length=3):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    return Clip(
        frames=np.zeros((length, size[1], size[0], 3), np.uint8),
        boxes=boxes,
        labels=np.eye(len(boxes), 3, dtype=bool),
        actors=np.arange(len(boxes)),
        video="v",
        frame=1,
        indices=np.arange(length),
        placement=Placement(size=size),
    )


@settings(deadline=None, max_examples=50)
@given(
    transform=st.sampled_from(TRANSFORMS),
    seed=st.integers(0, 10_000),
    corner=st.tuples(st.integers(0, 50), st.integers(0, 40)),
    extent=st.tuples(st.integers(1, 14), st.integers(1, 8)),
)
def test_the_placement_takes_boxes_back(transform, seed, corner, extent):
    box = (*corner, corner[0] + extent[0], corner[1] + extent[1])
    source = a_clip([box])
    clip = transform(source, rng(seed))
    width, height = clip.size
    assert clip.frames.shape == (3, height, width, 3)
    expected = clip.placement.to_clip([box])
    inside = expected.clip(0, [width, height, width, height])
    if (inside[:, 2:] > inside[:, :2]).all():
        np.testing.assert_allclose(clip.boxes, inside, atol=1e-3)
    else:
        assert len(clip.boxes) == 0
    np.testing.assert_allclose(clip.placement.to_source(expected), [box], atol=1e-9)
    if np.allclose(inside, expected):
        np.testing.assert_allclose(clip.placement.to_source(clip.boxes), [box], atol=1e-3)


@settings(deadline=None, max_examples=40)
@given(transform=st.sampled_from(TRANSFORMS[:7]), seed=st.integers(0, 10_000))
def test_a_bright_rectangle_stays_in_its_box(transform, seed):
    box = (20, 12, 44, 36)
    source = a_clip([box])
    source.frames[:, box[1] : box[3], box[0] : box[2]] = 255
    clip = transform(source, rng(seed))
    if not len(clip.boxes):
        return
    bright = clip.frames[0, :, :, 0] > 127
    columns, rows = np.flatnonzero(bright.any(0)), np.flatnonzero(bright.any(1))
    found = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    np.testing.assert_allclose(clip.boxes[0], found, atol=1.0)
    source_box = clip.placement.to_source([found], clip=True)[0]
    scale = max(abs(clip.placement.scale_x), clip.placement.scale_y, 1e-9)
    cut = clip.placement.to_source(clip.boxes, clip=True)[0]
    np.testing.assert_allclose(source_box, cut, atol=1.5 / min(scale, 1.0))


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda t: type(t).__name__)
def test_the_same_generator_gives_the_same_clip(transform, make_clip):
    first, second = (transform(make_clip(), rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first.frames, second.frames)
    np.testing.assert_array_equal(first.boxes, second.boxes)
    assert first.placement == second.placement


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda t: type(t).__name__)
def test_the_given_clip_is_left_alone(transform, make_clip):
    clip = make_clip()
    frames, boxes = clip.frames.copy(), clip.boxes.copy()
    transform(clip, rng(1))
    np.testing.assert_array_equal(clip.frames, frames)
    np.testing.assert_array_equal(clip.boxes, boxes)


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda t: type(t).__name__)
def test_clips_without_actors_pass(transform, make_clip):
    clip = transform(make_clip(()), rng(2))
    assert clip.boxes.shape == (0, 4)
    assert clip.labels.shape == (0, 3)


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda t: type(t).__name__)
def test_read_only_and_mirrored_frames_pass(transform, make_clip):
    clip = make_clip()
    expected = transform(clip, rng(3))
    frames = clip.frames.copy()
    frames.flags.writeable = False
    np.testing.assert_array_equal(
        transform(replace(clip, frames=frames), rng(3)).frames, expected.frames
    )
    twice = replace(clip, frames=clip.frames[:, :, ::-1].copy()[:, :, ::-1])
    np.testing.assert_array_equal(transform(twice, rng(3)).frames, expected.frames)


def test_short_side_keeps_the_shape(make_clip):
    assert transforms.ShortSideResize(24)(make_clip(), rng()).size == (32, 24)
    tall = make_clip(size=(30, 90))
    assert transforms.ShortSideResize(60)(tall, rng()).size == (60, 180)
    assert transforms.ShortSideResize(60, longest=120)(tall, rng()).size == (40, 120)


def test_resizing_to_the_same_size_changes_nothing(make_clip):
    clip = make_clip()
    same = transforms.FixedResize(*clip.size)(clip, rng())
    np.testing.assert_array_equal(same.frames, clip.frames)
    assert same.placement == clip.placement


def test_resizing_agrees_with_torchvision(make_clip):
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    clip = make_clip()
    ours = transforms.FixedResize(31, 20)(clip, rng()).frames
    theirs = functional.resize(
        torch.from_numpy(clip.frames).permute(0, 3, 1, 2), [20, 31], antialias=True
    )
    np.testing.assert_array_equal(ours, theirs.permute(0, 2, 3, 1).numpy())


def test_boxes_that_leave_the_crop_are_cut_or_dropped(make_clip):
    """At factor 1 of a square window on 64x48 the whole height stays; x is cut to 48 columns."""
    boxes = [(0, 0, 10, 10), (14, 0, 40, 40), (54, 0, 64, 10)]
    for seed in range(20):
        crop = transforms.RandomScaledCrop((48, 48), (1.0, 1.0), visible=0.5)
        clip = crop(make_clip(boxes), rng(seed))
        left = round(-clip.placement.shift_x)
        shares = [np.clip(10 - left, 0, 10) / 10, np.clip(40 - max(left, 14), 0, 26) / 26]
        shares.append(np.clip(left + 48 - 54, 0, 10) / 10)
        assert clip.actors.tolist() == [i for i, share in enumerate(shares) if share >= 0.5]
        assert clip.labels.tolist() == np.eye(3, dtype=bool)[clip.actors].tolist()
        assert clip.boxes.min(initial=0) >= 0
        assert clip.boxes.max(initial=0) <= 48


def test_crops_meet_the_whole_range_and_every_place(make_clip):
    crop = transforms.RandomScaledCrop((32, 24), (1.0, 2.0))
    placements = [crop(make_clip(), rng(seed)).placement for seed in range(200)]
    scales = [placement.scale_x for placement in placements]
    assert min(scales) < 0.53
    assert max(scales) > 0.95
    lefts = [-p.shift_x for p in placements if p.scale_x > 0.9]
    assert min(lefts) < 4
    assert max(lefts) > 24


def test_stretching_changes_the_form_both_ways_and_not_the_area(make_clip):
    crop = transforms.RandomScaledCrop((64, 48), (0.5, 0.5), stretch=0.5)
    placements = [crop(make_clip(), rng(seed)).placement for seed in range(200)]
    forms = [p.scale_x / p.scale_y for p in placements]
    assert 1 / 1.6 < min(forms) < 1 / 1.4
    assert 1.4 < max(forms) < 1.6
    np.testing.assert_allclose([p.scale_x * p.scale_y for p in placements], 0.25, rtol=0.06)


def test_zooming_out_leaves_black_borders(make_clip):
    clip = make_clip(((0, 0, 64, 48),))
    small = transforms.RandomScaledCrop((64, 48), (0.5, 0.5))(clip, rng(4))
    assert small.size == (64, 48)
    np.testing.assert_allclose(small.boxes[0, 2:] - small.boxes[0, :2], (32, 24))
    x1, y1, x2, y2 = small.boxes[0].astype(int)
    outside = small.frames.copy()
    outside[:, y1:y2, x1:x2] = 0
    assert not outside.any()
    assert small.frames.any()


def test_flips_exchange_sides_and_their_labels(make_clip):
    clip = make_clip(((10, 5, 40, 30), (0, 0, 20, 20)))
    flipped = transforms.RandomFlip(1.0, label_pairs=((0, 2),))(clip, rng())
    np.testing.assert_array_equal(flipped.frames, clip.frames[:, :, ::-1])
    assert flipped.boxes.tolist() == [[24, 5, 54, 30], [44, 0, 64, 20]]
    assert flipped.labels.tolist() == [[False, False, True], [False, True, False]]
    assert flipped.placement.mirrored
    never = transforms.RandomFlip(0.0)(clip, rng())
    assert never is clip


def test_flips_come_as_often_as_asked(make_clip):
    clip = make_clip()
    flip = transforms.RandomFlip(0.3)
    share = np.mean([flip(clip, rng(seed)).placement.mirrored for seed in range(1000)])
    assert 0.25 < share < 0.35


def test_colours_change_alike_in_all_frames(make_clip):
    clip = make_clip(length=5)
    clip.frames[:] = clip.frames[0]
    jittered = transforms.ColorJitter(0.4, 0.4, 0.4)(clip, rng(3)).frames
    assert (jittered == jittered[0]).all()
    assert (jittered[0] != clip.frames[0]).any()


def test_colour_jitter_does_what_torchvision_does(make_clip):
    """Away from 0 and 255, where the order of cutting values matters, the results agree."""
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    clip = make_clip(size=(64, 48), length=2)
    clip.frames[:] = 90 + clip.frames // 4
    clip.frames[:] = clip.frames.repeat(4, 1)[:, :48].repeat(4, 2)[:, :, :64]
    for seed in range(5):
        generator = rng(seed)
        brightness, contrast, saturation = 1 + 0.2 * generator.uniform(-1, 1, 3)
        pixels = torch.from_numpy(clip.frames).permute(0, 3, 1, 2).float() / 255
        # Torchvision takes each frame's mean grey; one tall picture makes it the clip's.
        tall = torch.cat(list(pixels), dim=1)
        expected = functional.adjust_brightness(tall, brightness)
        expected = functional.adjust_contrast(expected, contrast)
        expected = functional.adjust_saturation(expected, saturation) * 255
        expected = torch.stack(expected.split(48, dim=1)).permute(0, 2, 3, 1).numpy()
        found = transforms.ColorJitter(0.2, 0.2, 0.2)(clip, rng(seed)).frames
        np.testing.assert_allclose(found, expected, atol=1.0)


def test_a_turn_of_hues_keeps_greys_and_luma(make_clip):
    clip = make_clip(length=2)
    luma = np.array((0.299, 0.587, 0.114))
    clip.frames[:] = 100 + clip.frames // 5
    turned = transforms.ColorJitter(hue=0.5)(clip, rng(1)).frames
    assert np.abs(turned.astype(int) - clip.frames).max() > 10
    np.testing.assert_allclose(turned @ luma, clip.frames @ luma, atol=1.0)
    clip.frames[:] = clip.frames[..., :1]
    np.testing.assert_allclose(transforms.ColorJitter(hue=0.5)(clip, rng(1)).frames, clip.frames)


def test_half_a_turn_of_hues_exchanges_colours_with_their_complements():
    class Most(np.random.Generator):
        def uniform(self, low=0.0, high=1.0, size=None):
            return high if size is None else np.full(size, high)

    clip = a_clip([])
    clip.frames[:] = (140, 100, 100)
    turned = transforms.ColorJitter(hue=0.5)(clip, Most(np.random.PCG64())).frames[0, 0, 0]
    # Luma is 112; what lies above and below it changes sign.
    np.testing.assert_allclose(turned, (84, 124, 124), atol=1)


def test_repeating_the_keyframe_removes_motion(make_clip):
    clip = make_clip(length=5)
    still = transforms.RepeatKeyframe()(clip, rng())
    assert (still.frames == clip.frames[2]).all()
    assert still.indices.tolist() == [2] * 5
    assert still.frames.shape == clip.frames.shape


@pytest.mark.parametrize(
    "make",
    [
        lambda: transforms.FixedResize(0, 4),
        lambda: transforms.ShortSideResize(0),
        lambda: transforms.ShortSideResize(4, longest=0),
        lambda: transforms.RandomScaledCrop((0, 4)),
        lambda: transforms.RandomScaledCrop((4, 4), (0.0, 1.0)),
        lambda: transforms.RandomScaledCrop((4, 4), (2.0, 1.0)),
        lambda: transforms.RandomScaledCrop((4, 4), visible=2),
        lambda: transforms.RandomFlip(1.5),
        lambda: transforms.RandomFlip(label_pairs=((0, 1), (1, 2))),
        lambda: transforms.RandomScaledCrop((4, 4), stretch=-0.1),
        lambda: transforms.ColorJitter(brightness=-1),
        lambda: transforms.ColorJitter(hue=0.6),
    ],
)
def test_settings_that_cannot_be_are_refused(make):
    with pytest.raises(InputError):
        make()


def test_a_flip_pair_beyond_the_classes_is_refused(make_clip):
    with pytest.raises(InputError, match="does not have"):
        transforms.RandomFlip(1.0, label_pairs=((0, 9),))(make_clip(), rng())
