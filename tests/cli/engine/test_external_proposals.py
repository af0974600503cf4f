"""From AVA's proposal pickles to what a detector trains on and classifies."""

import pickle

import numpy as np
import pytest
import torch

from stad_cli.config import load_recipe
from stad_cli.engine.dataset import open_dataset, part_of
from stad_cli.engine.external_proposals import read_external_proposals
from stad_cli.engine.train import train
from stad_cli.trained_detector import load_detector
from stad_data.clips import Placement
from stad_data.loading import ClipInfo
from stad_eval import InputError

RECIPE = """
[model]
name = "se_stad_tiny"
[model.options]
channels = 8
depth = 1
external_score = 0.5
max_actors = 20
action_threshold = 0.0
train_inputs = "external"
test_inputs = "external"
[model.options.trunk]
stem_width = 4
widths = [4, 8, 8, 8]

[data]
dataset = "synthetic"
size = [64, 48]

[clip]
length = 4
stride = 2

[optim]
lr = 0.01
steps = 2
batch = 2

[run]
workers = 0
threads = 1
"""


@pytest.fixture(scope="module")
def ava(tmp_path_factory):
    from stad_data.synthetic import make

    root = tmp_path_factory.mktemp("proposals") / "set"
    make(root, videos=2, test_videos=2, seconds=(4, 4), layouts=("ava",), workers=1)
    return root / "ava"


def keyframe_boxes(annotation):
    """From second to the boxes of that keyframe as shares of the frame."""
    scale = np.array([*annotation.size, *annotation.size])
    found = {}
    for second, frame in zip(annotation.timestamps, annotation.keyframes, strict=True):
        boxes = [t.boxes[t.frames == frame] for t in annotation.tracks]
        found[int(second)] = np.concatenate([np.zeros((0, 4)), *boxes]) / scale
    return found


def write(path, annotations, *, score=0.9):
    table = {}
    for annotation in annotations:
        for second, boxes in keyframe_boxes(annotation).items():
            scores = np.full((len(boxes), 1), score)
            table[f"{annotation.video},{second:04d}"] = np.concatenate([boxes, scores], axis=1)
    path.write_bytes(pickle.dumps(table))
    return path


def test_a_run_on_the_truth_of_another_detector_finds_everybody(ava, tmp_path):
    dataset = open_dataset("synthetic", ava)
    train_file = write(tmp_path / "train.pkl", dataset.train)
    test_file = write(tmp_path / "test.pkl", dataset.test)
    (tmp_path / "tiny.toml").write_text(RECIPE)
    recipe = load_recipe(
        tmp_path / "tiny.toml", [f'data.proposals=["{train_file}", "{test_file}"]']
    )
    outcome = train(recipe, data=ava, out=tmp_path / "run", device="cpu")
    metrics = outcome.evaluation.metrics()
    assert metrics["actor_AP"] == pytest.approx(1.0)
    actors = sum(len(b) for a in dataset.test for b in keyframe_boxes(a).values())
    assert len(outcome.evaluation.actors) == actors > 0
    with pytest.raises(InputError, match="boxes of another detector, and a plain video has none"):
        load_detector(outcome.best)


@pytest.mark.parametrize(("inputs", "part"), [("train_inputs", "train"), ("test_inputs", "test")])
def test_only_what_is_asked_for_must_be_there(ava, tmp_path, inputs, part):
    dataset = open_dataset("synthetic", ava)
    path = write(tmp_path / "one.pkl", part_of(dataset, part))
    (tmp_path / "tiny.toml").write_text(RECIPE)
    other = {"train_inputs": "test_inputs=detected", "test_inputs": "train_inputs=dense"}[inputs]
    recipe = load_recipe(
        tmp_path / "tiny.toml", [f"data.proposals={path}", f"model.options.{other}"]
    )
    assert recipe.data.proposals == (str(path),)
    outcome = train(recipe, data=ava, out=tmp_path / "run", device="cpu")
    found_everybody = outcome.evaluation.metrics()["actor_AP"] == pytest.approx(1.0)
    assert found_everybody == (inputs == "test_inputs")


def test_a_recipe_without_a_file_is_refused(tmp_path):
    (tmp_path / "tiny.toml").write_text(RECIPE)
    with pytest.raises(InputError, match=r"train_inputs .external. needs data.proposals"):
        load_recipe(tmp_path / "tiny.toml")


def test_files_about_other_videos_are_refused(ava, tmp_path):
    dataset = open_dataset("synthetic", ava)
    path = write(tmp_path / "train.pkl", dataset.train)
    with pytest.raises(InputError, match="says nothing about any keyframe") as caught:
        read_external_proposals([str(path)], dataset.test)
    assert f"{dataset.test[0].video},0" in str(caught.value)
    with pytest.raises(InputError, match=r"gone\.pkl"):
        read_external_proposals([str(tmp_path / "gone.pkl")], dataset.test)


def test_moments_are_seconds_or_frames_from_one_and_names_may_have_suffixes(ava, tmp_path):
    from dataclasses import replace

    video = replace(open_dataset("synthetic", ava).train[0], video="a/film")
    dense = replace(video, timestamps=None, video="b")
    second, frame = int(video.timestamps[1]), int(video.keyframes[1])
    row = np.array([[0.0, 0.1, 0.5, 0.9, 0.7]])
    table = {
        f"a/film.mp4,{second:04d}": row,
        f"b,{frame + 1}": row,
        f"b,{frame + 2}": row,  # no keyframe
        "c,1": row,  # no video of the dataset
    }
    (tmp_path / "p.pkl").write_bytes(pickle.dumps(table))
    found = read_external_proposals([str(tmp_path / "p.pkl")] * 2, [video, dense])
    assert set(found.by_frame) == {("a/film", frame), ("b", frame)}
    assert found.by_frame["b", frame].tolist() == [row[0].tolist()] * 2  # files add up


def test_boxes_follow_the_clip_and_end_at_its_border(ava, tmp_path):
    video = open_dataset("synthetic", ava).train[0]
    second, frame = int(video.timestamps[0]), int(video.keyframes[0])
    rows = np.array(
        [[0.0, 0.0, 0.5, 1.0, 0.7], [0.5, 0.5, 1.0, 1.0, 0.9], [0.9, 0.0, 1.0, 0.1, 0.8]]
    )
    (tmp_path / "p.pkl").write_bytes(pickle.dumps({f"{video.video},{second:04d}": rows}))
    found = read_external_proposals([str(tmp_path / "p.pkl")], [video])
    # A frame of 100 x 50 pixels, twice as large, mirrored, of which the left 160 pixels are seen.
    placement = Placement(size=(100, 50)).scaled(2.0, 2.0).flipped(200)
    info = ClipInfo(
        video=video.video,
        frame=frame,
        indices=np.zeros(1, np.int64),
        placement=placement,
        size=(160, 100),
    )
    elsewhere = ClipInfo(**{**vars(info), "frame": frame + 1})
    boxes, none = found.of([info, elsewhere])
    wanted = torch.tensor([[100, 0, 160, 100, 0.7], [0, 50, 100, 100, 0.9], [0, 0, 20, 10, 0.8]])
    torch.testing.assert_close(boxes, wanted)
    assert boxes.dtype == none.dtype == torch.float32
    assert none.shape == (0, 5)
    beyond = ClipInfo(**{**vars(info), "placement": placement.shifted(-150.0, 0.0)})
    assert found.of([beyond])[0].tolist() == [[0, 0, 50, 100, pytest.approx(0.7)]]
