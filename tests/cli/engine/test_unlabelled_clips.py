"""The stream of unlabelled clips: which there are, their two views, what is known around them."""

import numpy as np
import pytest
import torch

from stad_cli.engine.dataset import dataset_of, frame_caches
from stad_cli.engine.distributed import Processes
from stad_cli.engine.methods import PseudoLabelling, TrainingData
from stad_cli.engine.methods.annotated_frames import (
    annotated_videos,
    hidden_truth,
    with_keyframes,
)
from stad_cli.engine.methods.pseudo_labels import carried_targets
from stad_cli.engine.methods.unlabelled_clips import unlabelled_batches
from stad_ssl import PseudoLabels

# Keyframes 1, 4 and 7 of 8; between them 2, 3, 5 and 6.
SPARSE = ("optim.ema=0", "data.every_nth_frame=3", "method.name=pseudo_labels", "augment.mix=0")


def alone(rank=0, ranks=1) -> Processes:
    return Processes(rank=rank, ranks=ranks, local_ranks=1, device=torch.device("cpu"))


@pytest.fixture
def data(recipe, dataset):
    """`data("optim.batch=4", ..., rank=0, ranks=1)`: what a method is given to draw from."""

    def make(*overrides, rank=0, ranks=1) -> TrainingData:
        chosen = recipe(*SPARSE, *overrides)
        found = dataset_of(chosen, dataset)
        return TrainingData(
            recipe=chosen,
            dataset=found,
            root=dataset,
            group=alone(rank, ranks),
            caches=frame_caches(found.train, chosen.data),
        )

    return make


def drawn(data, *overrides, count=4, start=0, **place):
    batches = unlabelled_batches(data(*overrides, **place), start=start)
    return [next(batches) for _ in range(count)]


def bright(clip: torch.Tensor) -> list[float]:
    """The box of the bright actor in the middle frame of a clip uint8 [3, T, H, W]."""
    red = clip[0, clip.shape[1] // 2].float()
    ys, xs = (red > 150).nonzero(as_tuple=True)
    return [float(edge) for edge in (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)]


PLAIN = (
    "augment.brightness=0", "method.strong.brightness=0", "method.strong.contrast=0",
    "method.strong.saturation=0", "method.strong.hue=0", "method.strong.cutout=0",
)  # fmt: skip


def test_an_epoch_holds_every_frame_between_annotated_ones_once(data):
    seen = [
        (info.video, info.frame)
        for batch in drawn(data, "optim.batch=4", count=4)
        for info in batch.weak.clips_info
    ]
    assert len(set(seen)) == len(seen) == 16
    assert {frame for _, frame in seen} == {2, 3, 5, 6}
    few = drawn(data, "optim.batch=4", "method.per_gap=1", count=2)
    assert {info.frame for batch in few for info in batch.weak.clips_info} == {3, 6}


def test_neighbours_are_the_annotated_frames_around_in_pixels_of_the_weak_view(data):
    for batch in drawn(data, *PLAIN):
        assert all(len(boxes) == 0 for boxes in (*batch.weak.boxes, *batch.strong.boxes))
        for row, (info, near) in enumerate(
            zip(batch.weak.clips_info, batch.neighbours, strict=True)
        ):
            assert near.size == (48, 64)
            assert near.position == pytest.approx({2: 1, 3: 2, 5: 1, 6: 2}[info.frame] / 3)
            walks = info.video.startswith("walk")
            for frame in (near.before, near.after):
                assert frame.labels.tolist() == [[not walks, walks]]
                assert frame.persons.tolist() == [0]
            truth = batch.hidden[row]
            found = bright(batch.weak.clips[row])
            # Resized and compressed pixels blur the sides.
            assert truth.boxes[0].tolist() == pytest.approx(found, abs=2.5)
            middle = torch.lerp(near.before.boxes, near.after.boxes, near.position)
            torch.testing.assert_close(middle, truth.boxes, atol=2.0, rtol=0)  # views cut boxes


def test_the_strong_view_is_the_weak_one_changed(data):
    for batch in drawn(data, count=2):
        assert batch.weak.clips.shape == batch.strong.clips.shape == (2, 3, 4, 48, 64)
        for weak, strong in zip(batch.weak.clips_info, batch.strong.clips_info, strict=True):
            assert weak.placement == strong.placement
        assert not torch.equal(batch.weak.clips, batch.strong.clips)
    for batch in drawn(data, *PLAIN, count=2):
        assert torch.equal(batch.weak.clips, batch.strong.clips)


def test_boxes_of_the_weak_view_are_carried_to_where_they_are_in_the_strong_one(data):
    moved = 0
    for batch in drawn(data, *PLAIN, "method.strong.scale=[0.7, 1.1]", count=8):
        pseudo = [
            PseudoLabels(
                boxes=truth.boxes,
                labels=truth.labels.float(),
                proposal=torch.zeros(1, dtype=torch.int64),
                annotation=torch.zeros(1, dtype=torch.int64),
                known=True,
            )
            for truth in batch.hidden
        ]
        targets = carried_targets(pseudo, batch, range(len(batch)))
        for row, boxes in enumerate(targets.boxes):
            weak, strong = batch.weak.clips_info[row], batch.strong.clips_info[row]
            moved += weak.placement != strong.placement
            if len(boxes):
                assert boxes[0].tolist() == pytest.approx(bright(batch.strong.clips[row]), abs=2.5)
                assert torch.equal(targets.labels[row], pseudo[row].labels)
    assert moved > 12


def test_mirrored_views_exchange_the_labels_of_their_neighbours(data):
    flips = ("augment.flip=1.0", 'augment.flip_pairs=[["jump", "walk"]]', *PLAIN)
    for batch in drawn(data, *flips):
        for info, near, truth in zip(
            batch.weak.clips_info, batch.neighbours, batch.hidden, strict=True
        ):
            assert info.placement.mirrored
            jumps = info.video.startswith("walk")
            for frame in (near.before, near.after, truth):
                assert frame.labels.tolist() == [[jumps, not jumps]]


def test_workers_ranks_and_starts_do_not_change_what_is_drawn(data):
    whole = drawn(data, "optim.batch=4")
    later = [None, None, *drawn(data, "optim.batch=4", start=2, count=2)]
    for other in (drawn(data, "optim.batch=4", "run.workers=2"), later):
        for a, b in zip(whole, other, strict=True):
            assert b is None or torch.equal(a.weak.clips, b.weak.clips)
            assert b is None or torch.equal(a.strong.clips, b.strong.clips)
    parts = [drawn(data, "optim.batch=2", rank=rank, ranks=2) for rank in range(2)]
    for a, b, c in zip(whole, *parts, strict=True):
        assert torch.equal(a.strong.clips, torch.cat([b.strong.clips, c.strong.clips]))
    other = drawn(data, "optim.batch=4", "run.seed=1")
    assert not torch.equal(whole[0].weak.clips, other[0].weak.clips)


def test_annotated_clips_are_drawn_as_without_the_others(data):
    def mixed(*overrides, start=0):
        found = data(*overrides, "method.burn_in=2", "optim.accumulate=2")
        method = PseudoLabelling(torch.nn.Linear(1, 1), alone(), found.recipe.method)
        batches = method.batches(found, start=start)
        return [next(batches) for _ in range(8 - start)]

    plain, zero, late = mixed(), mixed("method.unsup_weight=0"), mixed(start=5)
    assert [batch.unlabelled is not None for batch in plain] == [False] * 4 + [True] * 4
    assert [batch.unlabelled is not None for batch in zero] == [False] * 8
    for a, b in zip(plain, zero, strict=True):
        assert torch.equal(a.annotated.clips, b.annotated.clips)
    for a, b in zip(plain[5:], late, strict=True):
        assert torch.equal(a.annotated.clips, b.annotated.clips)
        assert torch.equal(a.unlabelled.strong.clips, b.unlabelled.strong.clips)
    alone_drawn = drawn(data, "optim.accumulate=2")
    for a, b in zip(plain[4:], alone_drawn, strict=True):
        assert torch.equal(a.unlabelled.weak.clips, b.weak.clips)


def test_only_the_frames_trained_on_count_as_annotated(data):
    given = data()
    videos = annotated_videos(given)
    for video, whole in zip(videos, given.dataset.train, strict=True):
        assert video.keyframes.tolist() == [1, 4, 7]
        assert all(track.frames.tolist() == [1, 4, 7] for track in video.tracks)
        np.testing.assert_array_equal(video.at(4).boxes, whole.at(4).boxes)
        assert len(video.at(5)) == 0
    assert set(hidden_truth(given, videos)) == {video.video for video in videos}
    dense = data("data.every_nth_frame=1")
    assert annotated_videos(dense) == dense.dataset.train
    assert hidden_truth(dense, annotated_videos(dense)) == {}


def test_a_video_may_lose_all_its_actors(data):
    (video, *_) = data().dataset.train
    nothing = with_keyframes(video, np.zeros(0, np.int64))
    assert nothing.tracks == ()
    assert nothing.num_classes == video.num_classes
    assert len(nothing.keyframes) == 0
