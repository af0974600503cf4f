"""Clips of one object that is followed from its mask: what they show, and what they do not tell."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

from stad_data import Track, VideoAnnotation, transforms
from stad_data.loading import ClipDataset, collate
from stad_data.object_clips import (
    ObjectMasks,
    covering_samples,
    given_objects,
    labelled_objects,
    object_clip,
    object_samples,
)
from stad_eval import InputError

FRAMES, WIDTH, HEIGHT = 9, 21, 15


class Stack:
    """Masks in memory, which remember the frames that were asked for."""

    def __init__(self, masks):
        self.masks, self.asked = masks, []

    def read(self, frames):
        self.asked += list(frames)
        return self.masks[list(frames)]


class Numbered:
    """Frames that tell their own number."""

    def read(self, indices):
        frames = np.zeros((len(indices), HEIGHT, WIDTH, 3), np.uint8)
        frames[...] = np.asarray(indices)[:, None, None, None]
        return frames


def video(*, keyframes=None, masks=True):
    """Object 1 from frame 0 to 5, object 2 from frame 3 to the last; a corner is undecided."""
    found = np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8)
    found[:6, 2:6, 3:8] = 1
    found[3:, 8:12, 10:16] = 2
    found[:, 0, 0] = 255
    keyframes = list(range(FRAMES)) if keyframes is None else keyframes
    boxes = {0: (3, 2, 8, 6), 1: (10, 8, 16, 12)}
    spans = {0: range(6), 1: range(3, FRAMES)}
    tracks = []
    for actor, box in boxes.items():
        frames = [frame for frame in spans[actor] if frame in keyframes]
        table = np.eye(2, dtype=bool)[[actor] * len(frames)]
        tracks.append(Track(actor=actor, frames=frames, boxes=[box] * len(frames), labels=table))
    return VideoAnnotation(
        video="two",
        path="two",
        num_frames=FRAMES,
        size=(WIDTH, HEIGHT),
        fps=None,
        tracks=tuple(tracks),
        keyframes=np.array(keyframes),
        masks=Stack(found) if masks else None,
    )


def clip(one, frame, *, length=3, stride=1):
    return object_clip(one, frame, length=length, stride=stride, source=Numbered())


def test_every_object_is_alone_with_its_masks():
    first, second = labelled_objects(video())
    assert [one.video for one in (first, second)] == ["two", "two"]
    assert [[track.actor for track in one.tracks] for one in (first, second)] == [[0], [1]]
    masks = second.masks.read([2, 3])
    assert set(np.unique(masks)) == {0, 1, 255}
    assert (masks == 1).sum() == 4 * 6
    assert not (masks[0] == 1).any()


def test_of_given_objects_no_mask_is_told_but_the_first():
    whole = video()
    for one, first in zip(given_objects(whole), (0, 3), strict=True):
        assert one.tracks[0].frames.tolist() == [first]
        assert one.keyframes.tolist() == list(range(FRAMES))
        whole.masks.asked.clear()
        masks = one.masks.read(list(range(FRAMES)))
        assert whole.masks.asked == [first]
        assert (masks == 1).any(axis=(1, 2)).tolist() == [n == first for n in range(FRAMES)]
        assert one.masks.read([8]).shape == (1, HEIGHT, WIDTH)
        assert not one.masks.read([8]).any()


def test_a_clip_is_the_reference_and_the_frames_from_one_on():
    (first, second), given_ones = labelled_objects(video()), given_objects(video())
    found = clip(first, 3)
    assert found.indices.tolist() == [2, 3, 4, 5]
    assert (found.frame, found.keyframe, found.given) == (2, 0, True)
    assert found.frames[:, 0, 0, 0].tolist() == [2, 3, 4, 5]
    assert found.actors.tolist() == [0]
    assert found.boxes.tolist() == [[3, 2, 8, 6]]
    assert (found.masks == 1).sum(axis=(1, 2)).tolist() == [20] * 4
    # The mask that is known may lie further back, or be the only one.
    assert clip(first, 8).indices.tolist() == [5, 8, 8, 8]
    assert clip(given_ones[0], 4).indices.tolist() == [0, 4, 5, 6]
    assert clip(second, 4, stride=2).indices.tolist() == [3, 4, 6, 8]
    gone = clip(first, 5)
    assert (gone.masks == 1).any(axis=(1, 2)).tolist() == [True, True, False, False]


def test_references_lie_near_and_far_before_their_clips():
    made = np.ones((1, 2), bool)
    frames = list(range(40))
    track = Track(actor=0, frames=frames, boxes=[(1, 1, 4, 4)] * 40, labels=made.repeat(40, 0))
    long = replace(video(masks=False), num_frames=40, keyframes=np.arange(40), tracks=(track,))
    (one,) = labelled_objects(long)
    gaps = np.array([[s - clip(one, s).frame, s] for s in range(1, 40)])
    assert (gaps[:, 0] >= 1).all()
    assert (gaps[:, 0] <= gaps[:, 1]).all()
    shares = gaps[10:, 0] / gaps[10:, 1]
    assert [((shares > low) & (shares <= low + 0.25)).sum() for low in (0, 0.25, 0.5, 0.75)] == (
        pytest.approx([7.25] * 4, abs=2)
    )


def test_labelled_clips_step_through_annotated_frames():
    (first, _) = labelled_objects(video(keyframes=[0, 2, 4, 6, 8]))
    assert clip(first, 2).indices.tolist() == [0, 2, 4, 6]
    assert clip(first, 2, stride=2).indices.tolist() == [0, 2, 6, 8]
    (asked, _) = given_objects(video(keyframes=[0, 2, 4, 6, 8]))
    assert clip(asked, 2).indices.tolist() == [0, 2, 3, 4]


def test_what_cannot_be_followed_is_refused():
    first, second = labelled_objects(video())
    for one, frame in ((second, 3), (second, 1), (first, 0), (first, FRAMES)):
        with pytest.raises(InputError, match="cannot be followed"):
            clip(one, frame)


def test_samples_are_frames_after_the_first_one():
    objects = labelled_objects(video())
    rows = object_samples(objects)
    assert rows[rows[:, 0] == 0, 1].tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert rows[rows[:, 0] == 1, 1].tolist() == [4, 5, 6, 7, 8]
    there = object_samples(objects, empty=False)
    assert there[there[:, 0] == 0, 1].tolist() == [1, 2, 3, 4, 5]
    assert object_samples(objects, every=3)[:, 1].tolist() == [2, 5, 8, 5, 8]
    assert object_samples([]).shape == (0, 2)
    with pytest.raises(InputError, match="every"):
        object_samples(objects, every=0)


def test_an_object_of_the_last_frame_alone_gives_no_sample():
    late = video(keyframes=[0, 8])
    (_, second) = labelled_objects(late)
    assert object_samples([second]).shape == (0, 2)
    assert covering_samples([second], length=4, stride=1).shape == (0, 2)
    assert labelled_objects(replace(late, tracks=())) == ()


@settings(deadline=None, max_examples=60)
@given(
    frames=st.integers(1, 25),
    first=st.integers(0, 24),
    length=st.integers(1, 6),
    stride=st.integers(1, 4),
)
def test_covering_clips_show_every_later_frame(frames, first, length, stride):
    first = min(first, frames - 1)
    track = Track(actor=0, frames=[first], boxes=[(1, 1, 4, 4)], labels=np.ones((1, 1), bool))
    one = VideoAnnotation(
        video="one",
        path="one",
        num_frames=frames,
        size=(WIDTH, HEIGHT),
        fps=None,
        tracks=(track,),
        keyframes=np.array([first]),
    )
    (asked,) = given_objects(one)
    rows = covering_samples([asked], length=length, stride=stride)
    shown = set()
    for _, frame in rows.tolist():
        made = clip(asked, frame, length=length, stride=stride)
        assert made.indices[0] == first
        assert len(made.indices) == 1 + length
        assert (made.indices[1:] > first).all()
        shown |= set(made.indices[1:].tolist())
    assert shown == set(range(first + 1, frames))


def test_boxes_stand_for_masks_where_a_video_has_none():
    first, second = labelled_objects(video(masks=False))
    assert isinstance(second.masks, ObjectMasks)
    assert (clip(second, 5).masks == 1).sum(axis=(1, 2)).tolist() == [24] * 4
    assert (clip(first, 8).masks == 1).sum(axis=(1, 2)).tolist() == [20, 0, 0, 0]


def test_a_batch_gives_the_first_masks_which_move_with_their_frames():
    objects = labelled_objects(video())
    batch = collate([clip(objects[0], 2), clip(objects[1], 5)])
    assert batch.given.shape == (2, HEIGHT, WIDTH)
    assert [int(mask.sum()) for mask in batch.given] == [20, 24]
    assert [info.actors for info in batch.clips_info] == [(0,), (1,)]
    mirrored = transforms.RandomFlip(1.0)(clip(objects[0], 2), np.random.default_rng(0))
    turned = collate([mirrored]).given[0]
    assert turned.numpy().tolist() == batch.given[0].numpy()[:, ::-1].tolist()


def test_a_batch_of_clips_with_and_without_a_given_mask_is_refused():
    made = clip(labelled_objects(video())[0], 2)
    with pytest.raises(InputError, match="given mask"):
        collate([made, replace(made, given=False)])
    assert collate([replace(made, given=False)]).given is None


def test_a_dataset_draws_them():
    objects = labelled_objects(video())
    made = ClipDataset(
        objects,
        object_samples(objects, empty=False),
        length=2,
        stride=(1, 3),
        caches={"two": Numbered()},
        make=object_clip,
    )
    shown = [made[(0, row)] for row in range(len(made))]
    assert {each.actors.tolist()[0] for each in shown} == {0, 1}
    assert all((each.masks[0] == 1).any() for each in shown)
