"""The truth of every frame of a synthetic set in AVA's layout."""

from pathlib import Path

import numpy as np
import pytest

from stad_data import datasets, synthetic
from stad_data.synthetic.dense_truth import has_dense_truth, read_dense_truth
from stad_data.synthetic.films import Parameters, plan
from stad_eval import InputError

SMALL = {"videos": 3, "test_videos": 1, "size": (96, 72), "fps": 8, "seconds": (3, 5)}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("set") / "synthetic"
    return synthetic.make(out, **SMALL, layouts=("ava",), workers=1).root / "ava"


def test_every_frame_has_the_actors_of_the_scene(root):
    assert has_dense_truth(root)
    videos = datasets.ava.read(root).train
    dense = read_dense_truth(root, videos, part="train")
    assert [video.video for video in dense] == [video.video for video in videos]
    parameters = Parameters(seed=0, **SMALL, layouts=("ava",))
    films = {film.name: film for film in plan(parameters)}
    for video in dense:
        scene = films[video.video].scene(parameters)
        assert video.keyframes.tolist() == list(range(scene.num_frames))
        for frame in (0, 7, scene.num_frames - 1):
            here = video.at(frame)
            people = [n for n in range(len(scene.actors)) if scene.visible(n)[frame]]
            assert here.actors.tolist() == people
            for actor, box, labels in zip(here.actors, here.boxes, here.labels, strict=True):
                np.testing.assert_allclose(box, scene.boxes(actor)[frame], atol=0.06)
                assert np.array_equal(labels, scene.actors[actor].labels[frame])


def test_at_a_keyframe_it_is_the_annotation_and_the_file_stays_the_videos_own(root):
    videos = datasets.ava.read(root).test
    for video, truth in zip(videos, read_dense_truth(root, videos, part="test"), strict=True):
        assert (truth.path, truth.num_frames, truth.fps) == (
            video.path,
            video.num_frames,
            video.fps,
        )
        for frame in video.keyframes.tolist():
            sparse, dense = video.at(frame), truth.at(frame)
            np.testing.assert_array_equal(sparse.boxes, dense.boxes)
            np.testing.assert_array_equal(sparse.labels, dense.labels)
            np.testing.assert_array_equal(sparse.actors, dense.actors)


def test_what_is_not_there_is_named(root, tmp_path):
    videos = datasets.ava.read(root).train
    assert not has_dense_truth(tmp_path)
    assert read_dense_truth(tmp_path, (), part="train") == ()
    with pytest.raises(InputError, match=r"train\.csv.*does not keep the truth of every frame"):
        read_dense_truth(tmp_path, videos, part="train")
    with pytest.raises(InputError, match=r"val\.csv.*no dense truth of video"):
        read_dense_truth(root, videos, part="test")
