"""Masks and maps: they move with the pixels, and the way back is exact to one pixel."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_data import Clip, Placement, transforms, windows
from stad_data.clip_masks import BoxMasks, with_masks
from stad_data.clip_tracks import ClipTracks
from stad_data.rotation import rotated
from stad_data.views import carried, views
from stad_data.warping import View, transfer, undo
from stad_eval import InputError

SIZE = (64, 48)
GEOMETRY = [
    transforms.FixedResize(100, 60),
    transforms.FixedResize(32, 24),
    transforms.ShortSideResize(70),
    transforms.RandomScaledCrop((60, 40), (1.0, 1.6), visible=0.0),
    transforms.RandomScaledCrop((90, 80), (0.5, 1.2), stretch=0.4, visible=0.0),
    transforms.RandomFlip(1.0),
    transforms.TemporalFlip(1.0),
    transforms.RandomRotation(30, visible=0.0),
    transforms.Compose(
        [
            transforms.RandomRotation(15, visible=0.0),
            transforms.ShortSideResize(60),
            transforms.RandomFlip(0.5),
            transforms.RandomRotation(15, visible=0.0),
            transforms.TemporalFlip(0.5),
            transforms.RandomScaledCrop((56, 56), (0.8, 1.3), visible=0.0),
        ]
    ),
]
BOX = (20, 14, 44, 34)


def rng(seed=0):
    return np.random.default_rng(seed)


def a_clip(length=3, box=BOX, kind=np.uint8):
    """A white rectangle that is object 7, its box at the keyframe, and a tube of it."""
    x1, y1, x2, y2 = box
    frames = np.zeros((length, SIZE[1], SIZE[0], 3), np.uint8)
    frames[:, y1:y2, x1:x2] = 255
    masks = np.where(frames[..., 0] > 0, 7 if kind is np.uint8 else 1, 0).astype(kind)
    boxes = np.array([box], np.float32)
    return Clip(
        frames=frames,
        boxes=boxes,
        labels=np.array([[True, False]]),
        actors=np.array([3]),
        video="v",
        frame=length // 2,
        indices=np.arange(length),
        placement=Placement(size=SIZE),
        masks=masks,
        tracks=ClipTracks(
            frames=np.arange(length),
            actors=np.array([3]),
            boxes=np.repeat(boxes[None], length, axis=1),
            present=np.ones((1, length), bool),
            labels=np.tile([True, False], (1, length, 1)),
        ),
    )


def away_from_edges(mask, reach):
    """Pixels within whose reach the mask does not change."""
    padded = np.pad(mask, reach, mode="edge")
    h, w = mask.shape
    span = range(2 * reach + 1)
    around = np.array([padded[y : y + h, x : x + w] for y in span for x in span])
    return around.all(axis=0) | ~around.any(axis=0)


@settings(deadline=None, max_examples=60)
@given(transform=st.sampled_from(GEOMETRY), seed=st.integers(0, 9999))
def test_masks_cover_their_pixels(transform, seed):
    clip = transform(a_clip(), rng(seed))
    assert clip.masks.shape == clip.frames.shape[:3]
    assert set(np.unique(clip.masks)) <= {0, 7}
    # Several transforms in a row round the place of a pixel several times.
    reach = 2 if isinstance(transform, transforms.Compose) else 1
    for mask, frame in zip(clip.masks > 0, clip.frames[..., 0] > 127, strict=True):
        assert not ((mask != frame) & away_from_edges(frame, reach)).any()


@settings(deadline=None, max_examples=60)
@given(
    transform=st.sampled_from(GEOMETRY),
    seed=st.integers(0, 9999),
    kind=st.sampled_from([np.uint8, np.float32]),
)
def test_the_way_back_is_exact_to_one_pixel(transform, seed, kind):
    """To a pixel of the source or, where the clip is smaller, of the clip."""
    source = a_clip(kind=kind)
    clip = transform(source, rng(seed))
    back, seen = undo(torch.from_numpy(clip.masks.copy()), clip)
    assert back.shape == (3, SIZE[1], SIZE[0])
    assert seen.shape == (SIZE[1], SIZE[0])
    assert not back[:, ~seen].any()
    zoom = np.sqrt(abs(np.linalg.det(clip.placement.matrix)))
    reach = max(1, int(np.ceil(1 / zoom - 0.01))) + isinstance(transform, transforms.Compose)
    wanted = source.masks[0] > 0.5
    sure = away_from_edges(wanted, reach) & seen.numpy()
    for mask in back.numpy() > 0.5:
        assert not ((mask != wanted) & sure).any()


@settings(deadline=None, max_examples=60)
@given(transform=st.sampled_from(GEOMETRY), seed=st.integers(0, 9999))
def test_tracks_go_where_the_boxes_go(transform, seed):
    clip = transform(a_clip(), rng(seed))
    if not len(clip.boxes):
        assert not len(clip.tracks)
        return
    assert clip.tracks.actors.tolist() == [3]
    for column in range(3):
        np.testing.assert_allclose(clip.tracks.boxes[:, column], clip.boxes, atol=1e-3)
    width, height = clip.size
    expected = clip.placement.to_clip([BOX])
    inside = expected.clip(0, [width, height, width, height])
    np.testing.assert_allclose(clip.boxes, inside, atol=1e-2)
    if np.allclose(inside, expected):
        np.testing.assert_allclose(clip.placement.to_source(clip.boxes), [BOX], atol=1e-2)


def test_time_runs_backwards_and_back():
    clip = a_clip(length=4)
    clip.masks[0] = 0
    clip = replace(clip, frame=2)
    turned = transforms.TemporalFlip(1.0)(clip, rng())
    assert turned.indices.tolist() == [3, 2, 1, 0]
    assert turned.indices[turned.keyframe] == clip.frame == 2
    assert turned.keyframe == 1
    assert not turned.masks[3].any()
    assert turned.tracks.frames.tolist() == [3, 2, 1, 0]
    back, _ = undo(torch.from_numpy(turned.masks.copy()), turned)
    np.testing.assert_array_equal(back.numpy(), clip.masks)
    again = transforms.TemporalFlip(1.0)(turned, rng())
    np.testing.assert_array_equal(again.frames, clip.frames)
    assert again.placement == clip.placement
    assert transforms.TemporalFlip(0.0)(clip, rng()) is clip


@pytest.mark.parametrize("flip", [transforms.TemporalFlip, transforms.RandomFlip])
def test_flips_exchange_the_labels_of_tracks_too(flip):
    turned = flip(1.0, label_pairs=((0, 1),))(a_clip(), rng())
    assert turned.labels.tolist() == [[False, True]]
    assert turned.tracks.labels.tolist() == [[[False, True]] * 3]
    with pytest.raises(InputError, match="does not have"):
        flip(1.0, label_pairs=((0, 2),))(a_clip(), rng())


def test_neighbours_change_places_when_time_is_reversed(annotation, numbered_source):
    video = replace(
        annotation,
        tracks=(),
        keyframes=np.array([4, 12]),
    )
    clip = windows.between(video, 6, length=3, stride=1, source=numbered_source((200, 100)))
    turned = transforms.TemporalFlip(1.0)(clip, rng())
    assert turned.tracks.frames.tolist() == [12, 4]
    assert clip.tracks.fraction(6) == pytest.approx(0.25)
    assert turned.tracks.fraction(6) == pytest.approx(0.75)


def test_a_rotation_keeps_the_middle_and_blackens_the_corners():
    clip = a_clip()
    clip.frames[:] = 200
    turned = transforms.RandomRotation(40)(clip, rng(3))
    assert turned.size == SIZE
    assert (turned.frames[:, 20:28, 28:36] == 200).all()
    assert (turned.frames[:, 0, 0] == 0).all() or (turned.frames[:, 0, -1] == 0).all()
    assert transforms.RandomRotation(40, p=0.0)(clip, rng()) is clip
    angles = [
        transforms.RandomRotation(20, visible=0.0)(a_clip(length=1), rng(s)).placement.shear_y
        for s in range(60)
    ]
    assert -np.sin(np.deg2rad(20)) <= min(angles) < -0.2
    assert 0.2 < max(angles) <= np.sin(np.deg2rad(20))


def test_a_rotation_by_hand():
    """Clockwise: what was to the right of the middle comes down."""
    turned = rotated(a_clip(box=(50, 22, 54, 26)), 40, visible=0.0)
    angle = np.deg2rad(40)
    x, y = 32 + 20 * np.cos(angle), 24 + 20 * np.sin(angle)
    np.testing.assert_allclose((turned.boxes[0, :2] + turned.boxes[0, 2:]) / 2, (x, y), atol=1e-4)
    rows, columns = np.nonzero(turned.masks[0])
    assert abs(rows.mean() + 0.5 - y) < 0.5
    assert abs(columns.mean() + 0.5 - x) < 0.5


def test_cutout_hides_one_place_in_all_frames():
    clip = a_clip(length=4)
    clip.frames[:] = 200
    before = clip.frames.copy()
    for seed in range(20):
        cut = transforms.Cutout(2, (0.05, 0.1), fill=9)(clip, rng(seed))
        hidden = (cut.frames == 9).all(axis=-1)
        assert (hidden == hidden[0]).all()
        assert 0.04 < hidden[0].mean() < 0.21
        assert (cut.frames[~hidden] == 200).all()
        assert cut.placement == clip.placement
        assert cut.masks is clip.masks
    np.testing.assert_array_equal(clip.frames, before)
    whole = transforms.Cutout(1, (1.0, 1.0))(clip, rng(1))
    assert (whole.frames == 0).all(axis=-1).mean() > 0.7


@pytest.mark.parametrize(
    "make",
    [
        lambda: transforms.RandomRotation(41),
        lambda: transforms.RandomRotation(-1),
        lambda: transforms.RandomRotation(5, p=2),
        lambda: transforms.RandomRotation(5, visible=-1),
        lambda: transforms.Cutout(0),
        lambda: transforms.Cutout(area=(0.0, 0.1)),
        lambda: transforms.Cutout(area=(0.3, 0.1)),
        lambda: transforms.Cutout(fill=256),
        lambda: transforms.TemporalFlip(1.5),
        lambda: transforms.TemporalFlip(label_pairs=((0, 0),)),
    ],
)
def test_settings_that_cannot_be_are_refused(make):
    with pytest.raises(InputError, match="cannot use"):
        make()


def test_maps_of_any_resolution_and_with_gradients():
    clip = transforms.FixedResize(128, 96)(a_clip(), rng())
    maps = torch.rand(2, 5, 3, 12, 16, dtype=torch.float64, requires_grad=True)
    back, seen = undo(maps, clip, size=(16, 12))
    assert seen.all()
    torch.testing.assert_close(back, maps)
    back.sum().backward()
    torch.testing.assert_close(maps.grad, torch.ones_like(maps))
    half, _ = undo(maps.half(), clip, size=(32, 24))
    assert half.dtype == torch.float16
    assert half.shape == (2, 5, 3, 24, 32)


def test_maps_go_from_view_to_view():
    pair = views(
        a_clip(),
        transforms.RandomScaledCrop((60, 40), (1.0, 1.2), visible=0.0),
        transforms.Compose([transforms.RandomFlip(1.0), transforms.TemporalFlip(1.0)]),
        rng(4),
    )
    maps = torch.from_numpy(pair.strong.masks.copy())
    there, seen = transfer(maps, pair.strong, pair.weak)
    assert seen.all()
    np.testing.assert_array_equal(there.numpy(), pair.weak.masks)
    same = View(placement=pair.weak.placement, size=pair.weak.size)
    np.testing.assert_array_equal(transfer(maps, pair.strong, same)[0].numpy(), pair.weak.masks)


def test_maps_that_cannot_be_moved_are_refused():
    clip = a_clip()
    with pytest.raises(InputError, match="maps"):
        undo(torch.zeros(4, 4), clip)
    with pytest.raises(InputError, match="maps"):
        undo(torch.zeros(3, 0, 4), clip)
    other = View(placement=Placement(size=(9, 9)), size=(9, 9))
    with pytest.raises(InputError, match="one video"):
        transfer(torch.zeros(3, 4, 4), clip, other)


def test_photometric_views_share_their_geometry():
    weak = transforms.RandomFlip(1.0)
    strong = transforms.Compose([transforms.ColorJitter(0.4, 0.4, 0.4), transforms.Cutout()])
    pair = views(a_clip(), weak, strong, rng(1))
    assert pair.weak.placement == pair.strong.placement
    np.testing.assert_array_equal(pair.weak.boxes, pair.strong.boxes)
    assert (pair.weak.frames != pair.strong.frames).any()
    other = views(a_clip(), weak, transforms.RepeatKeyframe(), rng(1))
    np.testing.assert_array_equal(other.weak.frames, pair.weak.frames)


@settings(deadline=None, max_examples=40)
@given(transform=st.sampled_from(GEOMETRY), seed=st.integers(0, 9999))
def test_boxes_are_carried_from_view_to_view(transform, seed):
    pair = views(a_clip(), transforms.RandomFlip(0.5), transform, rng(seed))
    found, kept = carried(
        np.concatenate([pair.weak.boxes, [[-90, -90, -80, -80]]]),
        pair.weak.placement,
        pair.strong.placement,
        size=pair.strong.size,
        visible=0.0,
    )
    assert kept.tolist() == ([0] if len(pair.strong.boxes) else [])
    np.testing.assert_allclose(found, pair.strong.boxes, atol=1e-2)
    none, kept = carried(np.zeros((0, 4)), pair.weak.placement, pair.strong.placement, size=(5, 5))
    assert none.shape == (0, 4)
    assert kept.shape == (0,)


def test_boxes_become_masks(annotation, numbered_source):
    masks = BoxMasks(annotation=annotation)
    read = masks.read([5, 1])
    assert read.shape == (2, 100, 200)
    assert not read[1].any()
    assert (read[0, 20:80, 50:90] == 1).all()
    assert (read[0] == 1).sum() == 60 * 40
    assert (read[0, 10:90, 150:180] == 8).all()
    clip = windows.tubelet(annotation, 5, length=3, source=numbered_source((100, 50)))
    masked = with_masks(clip, masks)
    assert masked.masks.shape == (3, 50, 100)
    assert (masked.masks[1, 10:40, 25:45] == 1).all()
    flip = transforms.Compose([transforms.RandomFlip(1.0), transforms.TemporalFlip(1.0)])
    np.testing.assert_array_equal(
        with_masks(flip(clip, rng()), masks).masks, flip(masked, rng()).masks
    )


def test_half_covered_pixels_belong_where_their_middle_is(annotation):
    track = annotation.tracks[0]
    box = np.tile([10.4, 3.5, 12.6, 5.5], (len(track), 1))
    video = replace(annotation, tracks=(replace(track, boxes=box),))
    rows, columns = np.nonzero(BoxMasks(annotation=video).read([4])[0])
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (10, 12, 3, 4)


def test_actors_that_do_not_fit_into_a_mask_are_refused(annotation):
    video = replace(annotation, tracks=(replace(annotation.tracks[0], actor=254),))
    with pytest.raises(InputError, match="does not fit"):
        BoxMasks(annotation=video)


def test_real_masks_lie_in_their_boxes_after_all_transforms(real_jhmdb, real_data):
    """The published boxes reach up to a pixel beyond the mask on the right and below."""
    chain = transforms.Compose(
        [
            transforms.RandomScaledCrop((200, 160), (0.6, 0.8), visible=0.0),
            transforms.RandomFlip(1.0),
            transforms.TemporalFlip(1.0),
        ]
    )
    for annotation in real_jhmdb.test[::90]:
        frame = int(annotation.keyframes[len(annotation.keyframes) // 2])
        clip = windows.tubelet(annotation, frame, length=3)
        clip = with_masks(chain(clip, rng(frame)), annotation.masks)
        for column, mask in enumerate(clip.masks):
            rows, columns = np.nonzero(mask)
            found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            np.testing.assert_allclose(clip.tracks.at(column).boxes[0], found, atol=2.5)
