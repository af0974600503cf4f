"""Clips: windows with repeated edges, boxes that follow their frames, placements that invert."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_data import Clip, Placement, VideoReader, clips
from stad_eval import InputError

NUMBER = st.floats(-500, 500)
SCALE = st.floats(0.05, 20)
PLACEMENTS = st.builds(
    lambda sx, sy, tx, ty, mirrored: Placement(
        size=(320, 240), scale_x=-sx if mirrored else sx, scale_y=sy, shift_x=tx, shift_y=ty
    ),
    SCALE,
    SCALE,
    NUMBER,
    NUMBER,
    st.booleans(),
)
BOXES = st.lists(
    st.tuples(NUMBER, NUMBER, st.floats(0.5, 300), st.floats(0.5, 300)).map(
        lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
    ),
    max_size=4,
)


def test_the_keyframe_sits_in_the_middle():
    assert clips.window(10, length=4, stride=2, num_frames=40).tolist() == [6, 8, 10, 12]
    assert clips.window(10, length=5, stride=1, num_frames=40).tolist() == [8, 9, 10, 11, 12]
    assert clips.window(0, length=1, stride=9, num_frames=1).tolist() == [0]


@settings(deadline=None, max_examples=50)
@given(
    num_frames=st.integers(1, 30),
    length=st.integers(1, 20),
    stride=st.integers(1, 9),
    data=st.data(),
)
def test_windows_repeat_the_edges(num_frames, length, stride, data):
    frame = data.draw(st.integers(0, num_frames - 1))
    indices = clips.window(frame, length=length, stride=stride, num_frames=num_frames)
    assert indices.dtype == np.int64
    assert len(indices) == length
    assert indices[length // 2] == frame
    for position, index in enumerate(indices):
        wanted = frame + (position - length // 2) * stride
        assert index == min(max(wanted, 0), num_frames - 1)


@pytest.mark.parametrize(
    ("frame", "length", "stride"), [(-1, 4, 1), (10, 4, 1), (3, 0, 1), (3, 4, 0)]
)
def test_windows_that_cannot_be_are_refused(frame, length, stride):
    with pytest.raises(InputError):
        clips.window(frame, length=length, stride=stride, num_frames=10)


def test_centred_takes_the_keyframes_actors(annotation, numbered_source):
    source = numbered_source((200, 100))
    clip = clips.centred(annotation, 6, length=4, stride=3, source=source)
    assert clip.frames[:, 0, 0, 0].tolist() == [0, 3, 6, 9]
    assert clip.indices.tolist() == [0, 3, 6, 9]
    assert clip.boxes.dtype == np.float32
    assert clip.boxes.tolist() == [[60, 20, 100, 80], [150, 10, 180, 90]]
    assert clip.actors.tolist() == [0, 7]
    assert (clip.video, clip.frame, clip.size, clip.keyframe) == ("folder/name", 6, (200, 100), 2)


def test_boxes_are_scaled_to_the_sources_size(annotation, numbered_source):
    clip = clips.centred(annotation, 2, length=2, stride=1, source=numbered_source((100, 25)))
    assert clip.boxes.tolist() == [[10, 5, 30, 20]]
    assert clip.placement.to_source(clip.boxes).tolist() == [[20, 20, 60, 80]]
    assert clip.placement.size == (200, 100)


def test_a_clip_without_actors_is_a_clip(annotation, numbered_source):
    clip = clips.centred(annotation, 0, length=2, stride=1, source=numbered_source((200, 100)))
    assert clip.boxes.shape == (0, 4)
    assert clip.labels.shape == (0, 3)
    assert clip.actors.shape == (0,)


def test_without_a_source_the_file_is_read(annotation, put_video, tmp_path):
    path = put_video(tmp_path / "v.mp4", number=3)
    real = replace(annotation, path=path, num_frames=12, tracks=(), keyframes=np.arange(12))
    clip = clips.centred(real, 11, length=4, stride=2)
    with VideoReader(path) as reader:
        expected = reader.read([7, 9, 11, 11])
    np.testing.assert_array_equal(clip.frames, expected)


def test_an_absent_file_is_the_users_to_mend(annotation):
    with pytest.raises(InputError, match=r"nowhere\.mp4"):
        clips.centred(annotation, 3, length=4, stride=1)


@pytest.mark.parametrize(
    "changes",
    [
        {"frames": np.zeros((4, 8, 8, 3), np.float32)},
        {"frames": np.zeros((4, 3, 8, 8), np.uint8)},
        {"boxes": np.zeros((2, 4), np.float32)},
        {"actors": np.zeros(3, np.int64)},
        {"indices": np.zeros(3, np.int64)},
    ],
)
def test_clips_whose_parts_disagree_are_refused(make_clip, changes):
    with pytest.raises(InputError, match="noise"):
        replace(make_clip(), **changes)


@settings(deadline=None, max_examples=50)
@given(placement=PLACEMENTS, boxes=BOXES)
def test_to_source_inverts_to_clip(placement, boxes):
    there = placement.to_clip(boxes)
    assert there.shape == (len(boxes), 4)
    assert (there[:, 2:] > there[:, :2]).all()
    back = placement.to_source(there)
    np.testing.assert_allclose(back, np.array(boxes).reshape(-1, 4), atol=1e-6)


@settings(deadline=None, max_examples=50)
@given(
    placement=PLACEMENTS,
    boxes=BOXES,
    factors=st.tuples(SCALE, SCALE),
    shift=st.tuples(NUMBER, NUMBER),
    width=st.integers(1, 500),
)
def test_steps_after_a_placement_act_on_clip_pixels(placement, boxes, factors, shift, width):
    x1, y1, x2, y2 = placement.to_clip(boxes).T
    scaled = placement.scaled(*factors).to_clip(boxes)
    expected = np.stack([x1 * factors[0], y1 * factors[1], x2 * factors[0], y2 * factors[1]], 1)
    np.testing.assert_allclose(scaled, expected, rtol=1e-9, atol=1e-6)
    shifted = placement.shifted(*shift).to_clip(boxes)
    expected = np.stack([x1 + shift[0], y1 + shift[1], x2 + shift[0], y2 + shift[1]], 1)
    np.testing.assert_allclose(shifted, expected, rtol=1e-9, atol=1e-6)
    flipped = placement.flipped(width)
    assert flipped.mirrored != placement.mirrored
    np.testing.assert_allclose(
        flipped.to_clip(boxes), np.stack([width - x2, y1, width - x1, y2], 1), atol=1e-6
    )


def test_to_source_cuts_at_the_frame_where_asked():
    placement = Placement(size=(100, 50), scale_x=2, scale_y=2)
    assert placement.to_source([[-10, 20, 900, 110]], clip=True).tolist() == [[0, 10, 100, 50]]
    assert placement.to_source([[-10, 20, 900, 110]]).tolist() == [[-5, 10, 450, 55]]


@pytest.mark.parametrize(
    "scales", [{"scale_x": 0}, {"scale_y": 0}, {"scale_y": -1}, {"shift_x": float("nan")}]
)
def test_placements_without_an_inverse_are_refused(scales):
    with pytest.raises(InputError, match="invertible"):
        Placement(size=(4, 4), **scales)


def test_clip_is_what_the_package_exports():
    assert clips.Clip is Clip


@settings(deadline=None, max_examples=60)
@given(
    placement=PLACEMENTS,
    boxes=BOXES,
    degrees=st.one_of(st.floats(-40, 40), st.sampled_from([90.0, 180.0, -90.0])),
    centre=st.tuples(NUMBER, NUMBER),
    factors=st.tuples(st.floats(0.5, 2), st.floats(0.5, 2)),
)
def test_turned_placements_invert_too(placement, boxes, degrees, centre, factors):
    placement = replace(placement, scale_y=abs(placement.scale_x))
    turned = placement.rotated(degrees, centre)
    assert turned.mirrored == placement.mirrored
    for step in (turned, turned.flipped(100), turned.shifted(3, -4)):
        there = step.to_clip(boxes)
        back = step.to_source(there)
        np.testing.assert_allclose(back, np.array(boxes).reshape(-1, 4), atol=1e-5)
        corners = np.array(boxes).reshape(-1, 4)[:, [0, 1, 2, 1, 0, 3, 2, 3]].reshape(-1, 4, 2)
        moved = corners @ step.matrix[:2, :2].T + step.matrix[:2, 2]
        hull = np.concatenate([moved.min(axis=1), moved.max(axis=1)], axis=1)
        np.testing.assert_allclose(there, hull, rtol=1e-7, atol=1e-5)
    scaled = turned.scaled(*factors).matrix
    np.testing.assert_allclose(scaled, np.diag([*factors, 1.0]) @ turned.matrix)


def test_a_quarter_turn_by_hand():
    """Clockwise about the middle of a 100x50 frame: what was left comes up."""
    turned = Placement(size=(100, 50)).rotated(90, (50, 25))
    np.testing.assert_allclose(turned.to_clip([[0, 0, 10, 20]]), [[55, -25, 75, -15]], atol=1e-9)
    assert turned.turned
    assert not Placement(size=(4, 4)).turned
    assert turned.rotated(-90, (50, 25)).to_clip([[1, 2, 3, 4]]).tolist() == [
        pytest.approx([1, 2, 3, 4])
    ]


def test_boxes_too_thin_for_the_turn_have_no_side_left():
    turned = Placement(size=(100, 100)).rotated(30, (50, 50))
    thin = turned.to_source([[10, 50, 90, 51]])[0]
    assert thin[3] - thin[1] == pytest.approx(0)
    assert thin[2] > thin[0]
    cut = turned.to_source([[-500, -500, 500, 500]], clip=True)
    assert cut.tolist() == [[0, 0, 100, 100]]


def test_a_turn_by_45_degrees_has_no_inverse_for_boxes():
    with pytest.raises(InputError, match="invertible"):
        Placement(size=(10, 10)).rotated(45, (5, 5))


def test_time_reversed_twice_is_time():
    placement = Placement(size=(10, 10))
    assert placement.reversed().backwards
    assert placement.reversed().reversed() == placement


@pytest.mark.parametrize(
    "masks",
    [
        np.zeros((4, 48, 63), np.uint8),
        np.zeros((3, 48, 64), np.uint8),
        np.zeros((4, 48, 64), np.float64),
    ],
)
def test_masks_that_do_not_fit_are_refused(make_clip, masks):
    with pytest.raises(InputError, match="masks"):
        replace(make_clip(), masks=masks)


def test_the_keyframe_is_in_the_middle_unless_told(make_clip):
    assert make_clip(length=5).keyframe == 2
    assert replace(make_clip(length=4), keyframe=1).keyframe == 1
    with pytest.raises(InputError, match="keyframe"):
        replace(make_clip(length=4), keyframe=4)
