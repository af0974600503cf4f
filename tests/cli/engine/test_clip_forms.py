"""Every form of clip, with a model that answers with the truth: it must score 1."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from stad_cli.engine import clip_changes
from stad_cli.engine.batches import training_batches
from stad_cli.engine.clip_forms import (
    clip_maker,
    collector,
    evaluation_samples,
    training_samples,
)
from stad_cli.engine.collectors.keyframe_tubes import shared_scores
from stad_cli.engine.collectors.tubes import on_video
from stad_cli.engine.dataset import dataset_of
from stad_cli.engine.distributed import Processes
from stad_cli.engine.evaluate import clips_of, evaluate, thinned
from stad_cli.engine.model_input import targets_of
from stad_data.clips import Placement
from stad_data.loading import ClipInfo, collate
from stad_data.windows import TimeMap
from stad_eval import InputError
from stad_models.structures import Detections, Maps, Tubelets, Tubes

ALONE = Processes(rank=0, ranks=1, local_ranks=1, device=torch.device("cpu"))
FORMS = {
    "keyframe": ("clip.form=keyframe",),
    "linked": ("clip.form=keyframe", "eval.link=true"),
    "tubelet": ("clip.form=tubelet", "clip.length=6", "clip.stride=1", "clip.tubelet=3"),
    "video": ("clip.form=video", "clip.length=5"),
    "map": ("clip.form=map", "clip.length=2", "clip.stride=2"),
}
PLAIN = ("augment.flip=0.0", "augment.scale=[1.0,1.0]", "augment.mix=0.0", "augment.stride=[1,1]")


def answer(clip, form):
    """What is annotated in a clip, as a detector would say it."""
    targets = targets_of(collate([clip]))
    boxes, labels = targets.boxes[0], targets.labels[0]
    if form == "keyframe":
        return Detections(boxes=boxes, actor_scores=torch.ones(len(boxes)), scores=labels)
    if form == "map":
        return Maps(localisation=targets.masks[0], scores=labels.amax(0))
    tracks, length = targets.tracks[0], len(clip.frames)
    if form == "tubelet":
        first = length // 2 - tracks.boxes.shape[1] // 2
        return Tubelets(boxes=tracks.boxes, scores=tracks.labels.amax(1), first=first)
    return Tubes(
        boxes=tracks.boxes,
        spans=torch.tensor([[0.0, length]] * len(tracks)),
        labels=tracks.labels[:, 0].argmax(1),
        scores=torch.ones(len(tracks)),
    )


class Oracle(nn.Module):
    """Answers with the truth, clip after clip in the order of an evaluation."""

    def __init__(self, recipe, videos):
        super().__init__()
        make, transform, clip = clip_maker(recipe), clip_changes.test_transform(recipe), recipe.clip
        self.form, self.asked = clip.form, 0
        self.clips = [
            transform(
                make(videos[number], frame, length=clip.length, stride=clip.stride),
                np.random.default_rng(0),
            )
            for number, frame in evaluation_samples(recipe, videos).tolist()
        ]

    def forward(self, clips):
        chosen = self.clips[self.asked : self.asked + len(clips)]
        self.asked += len(clips)
        assert all(each.frames.shape[:3] == clips.shape[2:] for each in chosen)
        return [answer(each, self.form) for each in chosen]


@pytest.mark.parametrize("form", FORMS)
def test_the_truth_scores_one(form, dataset, recipe):
    found = recipe(*FORMS[form], "eval.batch=3")
    whole = dataset_of(found, dataset)
    oracle = Oracle(found, whole.test)
    evaluation = evaluate(oracle, whole, "test", found, ALONE)
    numbers = evaluation.metrics()
    assert numbers["frame_mAP"] == pytest.approx(1.0)
    assert numbers["actor_AP"] == pytest.approx(1.0)
    assert evaluation.clips == clips_of(found, whole.test) == oracle.asked
    if form == "keyframe":
        assert evaluation.video_result is None
        assert evaluation.score == numbers["frame_mAP"]
        return
    assert numbers["video_mAP@0.5"] == pytest.approx(1.0)
    assert numbers["video_mAP@0.2"] == pytest.approx(1.0)
    # JHMDB's boxes reach a pixel beyond its masks: 12 x 16 of 13 x 17.
    assert numbers["v_MABO"] > 0.86
    assert evaluation.score == numbers["video_mAP@0.5"]


@pytest.mark.parametrize("form", FORMS)
def test_a_thin_evaluation_is_the_whole_one_on_its_videos_and_frames(form, dataset, recipe):
    found = recipe(*FORMS[form], "eval.every_nth_video=2", "eval.every_nth_frame=3")
    whole = dataset_of(found, dataset)
    full = evaluate(Oracle(found, whole.train), whole, "train", found, ALONE)
    cut = thinned(full, whole, found)
    assert cut.metrics() == pytest.approx(
        {name: 1.0 for name in cut.metrics()}, abs=0.21 if form == "map" else 0.1
    )
    videos = whole.train[::2]
    assert set(np.unique(cut.truth.video)) == {0, 2}
    assert cut.truth.annotated is not None
    step = 3 if found.clip.form == "keyframe" else 1
    keyframes = sum(len(each.keyframes[::step]) for each in videos)
    assert len(cut.truth.annotated) == keyframes


def test_tubes_are_not_scored_on_a_part_of_their_frames(dataset, recipe):
    found = recipe(*FORMS["linked"], "eval.every_nth_frame=3")
    whole = dataset_of(found, dataset)
    full = evaluate(Oracle(found, whole.test), whole, "test", found, ALONE)
    assert full.video_result is not None
    samples = evaluation_samples(found, whole.test, every_nth_frame=3)
    oracle = Oracle(found, whole.test)
    every = evaluation_samples(found, whole.test).tolist()
    oracle.clips = [oracle.clips[every.index(one)] for one in samples.tolist()]
    thin = evaluate(oracle, whole, "test", found, ALONE, thin=True)
    for one in (thin, thinned(full, whole, found)):
        assert one.video_result is None
        assert one.score == one.metrics()["frame_mAP"] == pytest.approx(1.0, abs=0.1)
        assert one.clips == len(samples) < full.clips


@pytest.mark.parametrize("form", FORMS)
def test_two_processes_find_together_what_one_finds(form, dataset, recipe):
    found = recipe(*FORMS[form])
    whole = dataset_of(found, dataset)
    parts = []

    class Half(Processes):
        def gather(self, value):
            parts.append(value)
            return [value]

    for rank in range(2):
        half = Half(rank=rank, ranks=2, local_ranks=2, device=ALONE.device)
        oracle = Oracle(found, whole.test)
        first = 0 if rank == 0 else len(oracle.clips) // 2
        oracle.asked = first
        evaluate(oracle, whole, "test", found, half)
    assert len(parts[0].found) + len(parts[1].found) > 0
    assert not set(parts[0].found.video.tolist()) & set(parts[1].found.video.tolist())


@pytest.mark.parametrize("form", ["tubelet", "video", "map"])
def test_training_batches_carry_what_the_form_promises(form, dataset, recipe):
    found = recipe(*FORMS[form], *PLAIN, "data.cache=false")
    whole = dataset_of(found, dataset)
    batch = next(training_batches(found, whole, ALONE, start=0, caches={}))
    targets = targets_of(batch)
    assert batch.clips.shape[:3] == (2, 3, found.clip.length)
    if form == "map":
        assert targets.masks.shape == (2, found.clip.length, 48, 64)
        assert set(targets.masks.unique().tolist()) == {0.0, 1.0}
        # The keyframe's mask fills its box, which reaches a pixel beyond: 12 x 16 of 13 x 17.
        box = targets.boxes[0][0].round().int().tolist()
        inside = targets.masks[0, found.clip.length // 2, box[1] : box[3], box[0] : box[2]]
        assert inside.mean() > 0.86
        return
    boxes = 3 if form == "tubelet" else found.clip.length
    for tracks in targets.tracks:
        assert tracks.boxes.shape == (1, boxes, 4)
        assert tracks.present.all()
        assert tracks.labels.sum() == boxes


def test_samples_of_tubelets_cover_every_first_frame_once(dataset, recipe):
    found = recipe(*FORMS["tubelet"])
    videos = dataset_of(found, dataset).test
    samples = evaluation_samples(found, videos)
    assert samples[:, 1].tolist() == [1, 2, 3, 4, 5, 6] * 2  # 8 frames, K = 3
    assert len(training_samples(found, videos)) == 12


def test_samples_of_maps_show_every_frame(recipe, dataset):
    found = recipe(*FORMS["map"])
    annotation = dataset_of(found, dataset).test[0]
    make = clip_maker(found)
    seen = [
        index
        for _, frame in evaluation_samples(found, [annotation]).tolist()
        for index in make(annotation, frame, length=2, stride=2).indices.tolist()
    ]
    assert sorted(seen) == list(range(8))


@pytest.mark.parametrize(
    ("span", "frames"),
    [((0.0, 5.0), range(10)), ((1.0, 2.0), [2, 3]), ((4.9, 4.95), [9]), ((-3.0, 0.1), [0])],
)
def test_a_tube_of_a_clip_covers_the_frames_whose_middle_lies_in_its_span(span, frames):
    clip = np.arange(5)[:, None] * np.ones(4)
    found, boxes = on_video(clip, np.array(span), TimeMap(start=0, stop=10, length=5))
    assert found.tolist() == list(frames)
    expected = ((found + 0.5) / 2 - 0.5).clip(0, 4)
    assert np.allclose(boxes, expected[:, None])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("clip.form=tubelet", "tubelet = frames goes with"),
        ("clip.tubelet=3", "tubelet = frames goes with"),
        ("clip.form=tubelets", "clip.form"),
        ("eval.trim_penalty=1.0", "trim_penalty needs"),
        ("eval.trim_level=0.3", "go with trim_penalty"),
        ("eval.trim_window=3", "go with trim_penalty"),
        ("eval.trim_window=2", "trim_window must be odd, found 2"),
    ],
)
def test_a_form_that_makes_no_sense_is_refused(override, message, recipe):
    with pytest.raises(InputError, match=message):
        recipe(override)


def test_a_tubelet_longer_than_its_clip_is_refused(recipe):
    with pytest.raises(InputError, match="a tubelet of 9 frames"):
        recipe("clip.form=tubelet", "clip.length=6", "clip.tubelet=9")


def test_tubes_of_tubelets_are_cut_to_their_action(dataset, recipe):
    """An actor of 8 frames who acts in the four of which the scores are high."""
    whole = dataset_of(recipe(*FORMS["tubelet"]), dataset)
    video = whole.test[0]
    found = {}
    for name, overrides in {
        "whole": (),
        "cut": ("eval.trim_penalty=0.5", "eval.trim_level=0.3"),
        "smooth": ("eval.trim_penalty=0.5", "eval.trim_level=0.3", "eval.trim_window=7"),
        "short": ("eval.trim_penalty=0.5", "eval.trim_level=0.3", "eval.min_tube=6"),
    }.items():
        settings = recipe(*FORMS["tubelet"], "clip.tubelet=1", "eval.min_tube=3", *overrides)
        gathered = collector(settings, [video], whole.classes)
        for frame in range(8):
            info = ClipInfo(
                video=video.video,
                frame=frame,
                indices=np.array([frame]),
                placement=Placement(size=video.size),
                size=video.size,
            )
            score = torch.zeros(1, len(whole.classes))
            score[0, 1] = 0.5 if 2 <= frame < 6 else 0.1
            box = torch.tensor([[[10.0, 10.0, 30.0, 40.0]]])
            gathered.add(info, Tubelets(boxes=box, scores=score, first=0))
        found[name] = gathered.findings()
        assert len(found[name].found) == 8  # boxes on frames stay
    (tube,) = found["whole"].tubes
    assert tube.frames.tolist() == list(range(8))
    (tube,) = found["cut"].tubes
    assert tube.frames.tolist() == [2, 3, 4, 5]
    assert tube.label == 1
    assert tube.score == pytest.approx(0.5)
    (tube,) = found["smooth"].tubes
    assert len(tube) > 4
    assert len(found["short"].tubes) == 0


def test_boxes_of_a_tube_share_the_geometric_mean_of_their_scores():
    tube = np.array([1, 0, 1])
    scores = np.array([[0.249, 0.0, 0.4], [0.9, 0.0, 0.1], [0.009, 0.0, 0.4]])
    # A thousandth is added to every score before, and taken off after: sqrt(0.25 * 0.01) = 0.05.
    expected = [[0.049, 0.0, 0.4], [0.9, 0.0, 0.1], [0.049, 0.0, 0.4]]
    shared = shared_scores(tube, scores)
    assert np.allclose(shared, expected)
    assert (shared[:, 1] == 0).all()
    assert shared_scores(tube[:0], scores[:0]).shape == (0, 3)


def test_keyframes_a_second_apart_are_not_linked(dataset, recipe):
    found = recipe("eval.link=true")
    videos = [
        replace(each, timestamps=np.arange(len(each.keyframes)) + 900)
        for each in dataset_of(found, dataset).test
    ]
    with pytest.raises(InputError, match=r"eval\.link=false"):
        collector(found, videos, dataset_of(found, dataset).classes)
