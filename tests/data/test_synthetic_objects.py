"""Synthetic videos in YouTube-VOS' layout: palette masks of objects that come and go."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from stad_data import VideoReader, datasets, synthetic
from stad_data.synthetic import simulate
from stad_data.synthetic.films import Parameters, plan
from stad_data.synthetic.renderer import Renderer
from stad_data.synthetic.youtube_vos_files import without_slivers
from stad_eval import score_masks
from stad_eval.formats.mask_png import read_mask_png
from stad_eval.formats.youtube_vos_meta import read_youtube_vos_classes
from stad_eval.mask_protocols import mask_protocol

SMALL = {"videos": 4, "test_videos": 2, "size": (96, 72), "fps": 12, "seconds": (3, 4)}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("objects") / "set"
    return synthetic.make(folder, **SMALL, layouts=("youtube-vos",), workers=1).root


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_it_is_read_as_youtube_vos(root):
    data = datasets.youtube_vos.read(root / "youtube-vos")
    assert (len(data.train), len(data.test)) == (4, 2)
    assert set(data.classes.names) <= {"small", "tall"}
    video = data.train[0]
    with VideoReader(video.path) as reader:
        assert reader.num_frames == video.num_frames == len(video.keyframes)
        assert reader.size == (96, 72)
    meta = json.loads((root / "youtube-vos" / "train" / "meta.json").read_text())
    objects = meta["videos"][video.video]["objects"]
    assert {track.actor + 1 for track in video.tracks} <= set(map(int, objects))


def test_the_first_mask_of_an_object_shows_what_is_meant(root):
    for part in ("train", "valid"):
        for folder in sorted((root / "youtube-vos" / part / "Annotations").iterdir()):
            masks = np.stack([read_mask_png(path) for path in sorted(folder.glob("*.png"))])
            for index in set(np.unique(masks).tolist()) - {0}:
                areas = (masks == index).sum(axis=(1, 2))
                assert 4 * areas[areas.nonzero()[0][0]] >= areas.max()


def test_slivers_are_left_out_until_enough_of_an_object_is_seen():
    masks = np.zeros((4, 4, 8), np.uint8)
    masks[0, 0, 0] = masks[1, 0, :2] = masks[3, 0, 0] = 1
    masks[2, 0] = 1
    masks[0, 3, :3] = 2
    found = without_slivers(masks)
    assert [(each == 1).sum() for each in found] == [0, 2, 8, 1]
    assert [(each == 2).sum() for each in found] == [3, 0, 0, 0]
    assert np.array_equal(without_slivers(found), found)
    assert not without_slivers(np.zeros((2, 3, 3), np.uint8)).any()


def test_some_objects_enter_and_some_leave():
    first, last = [], []
    for index in range(8):
        scene = simulate(0, layout="youtube-vos", index=index, size=(96, 72), seconds=(3, 4))
        for actor in range(len(scene.actors)):
            visible = scene.visible(actor)
            assert visible.any()
            first.append(bool(visible[0]))
            last.append(bool(visible[-1]))
    assert (False, True) in set(zip(first, last, strict=True))
    assert (True, False) in set(zip(first, last, strict=True))
    assert (True, True) in set(zip(first, last, strict=True))


def test_pixels_belong_to_the_nearest_actor_that_nothing_hides():
    parameters = Parameters(seed=0, **SMALL, layouts=("youtube-vos",))
    hidden = 0
    for film in plan(parameters)[:4]:
        scene = film.scene(parameters)
        renderer = Renderer(scene, film.look(parameters))
        middle = scene.num_frames // 2
        mask = renderer.index_mask(middle)
        bodies = [renderer.mask(n, middle) > 0 for n in range(len(scene.actors))]
        assert not mask[~np.any(bodies, axis=0)].any()
        for number, body in enumerate(bodies):
            own = mask == number + 1
            assert not (own & ~body).any()
            for other, theirs in enumerate(bodies):
                if scene.actors[other].ground > scene.actors[number].ground:
                    assert not (own & theirs).any()
            hidden += int((body & ~own).sum())
    assert hidden > 0


def test_the_same_bytes_on_any_number_of_workers(root, tmp_path):
    again = synthetic.make(tmp_path / "again", **SMALL, layouts=("youtube-vos",), workers=2)
    assert digests(again.root) == digests(root)


def test_the_truth_scores_one_by_j_and_f(root):
    folder = root / "youtube-vos" / "valid"
    masks, classes = folder / "Annotations", read_youtube_vos_classes(folder / "meta.json")
    protocol = replace(mask_protocol("youtube-vos"), name="tall", seen_classes=("tall",))
    result = score_masks(masks, masks, protocol, classes=classes)
    assert result.mean == pytest.approx(1.0)
    assert set(result.groups) <= {"seen", "unseen"}
    video = sorted(masks.iterdir())[0]
    assert read_mask_png(sorted(video.iterdir())[0]).shape == (72, 96)
