"""Clips of YouTube-VOS and DAVIS as they are published: every fifth image, or with holes."""

import json
from pathlib import Path

import numpy as np
import pytest

from stad_data import clips
from stad_data.datasets import davis, youtube_vos
from stad_eval import InputError
from stad_eval.formats.mask_png import write_mask_png

SIZE = (64, 48)


@pytest.fixture
def youtube_root(tmp_path: Path, put_images):
    """One video of these frames; object 1 moves two pixels from image to image."""

    def make(numbers: list[int], annotated: list[int] | None = None) -> Path:
        folder = tmp_path / "train"
        masks = folder / "Annotations" / "v"
        masks.mkdir(parents=True)
        for number in numbers if annotated is None else annotated:
            mask = np.zeros((SIZE[1], SIZE[0]), np.uint8)
            left = 10 + 2 * numbers.index(number)
            mask[20:30, left : left + 8] = 1
            write_mask_png(masks / f"{number:05d}.png", mask)
        put_images(folder / "JPEGImages" / "v", numbers)
        objects = {"1": {"category": "owl", "frames": [f"{number:05d}" for number in numbers]}}
        (folder / "meta.json").write_text(json.dumps({"videos": {"v": {"objects": objects}}}))
        return tmp_path

    return make


@pytest.mark.parametrize(
    "numbers", [[0, 5, 10, 15, 20], [5, 10, 25, 30], [0, 95], [3]], ids=["step", "holes", "2", "1"]
)
def test_youtube_vos_gives_clips(numbers, youtube_root):
    video = youtube_vos.read(youtube_root(numbers)).train[0]
    assert video.num_frames == len(numbers)
    assert video.keyframes.tolist() == list(range(len(numbers)))
    for frame in range(len(numbers)):
        clip = clips.centred(video, frame, length=3, stride=1)
        last = len(numbers) - 1
        shown = [max(0, frame - 1), frame, min(last, frame + 1)]
        assert clip.indices.tolist() == shown
        # Image i is of grey 40 (i + 1).
        grey = clip.frames.mean(axis=(1, 2, 3))
        np.testing.assert_allclose(grey, [40 * (i + 1) for i in shown], atol=3)
        left = 10 + 2 * frame
        assert clip.boxes.tolist() == [[left, 20, left + 8, 30]]
        masks = video.masks.read(clip.indices.tolist())
        assert [int(np.argmax(mask[25])) for mask in masks] == [10 + 2 * i for i in shown]


def test_images_between_masks_are_frames_too(youtube_root):
    """A validation video: masks where an object appears first."""
    video = youtube_vos.read(youtube_root([0, 5, 10, 20, 25], annotated=[10])).train[0]
    assert (video.num_frames, video.keyframes.tolist()) == (5, [2])
    assert clips.centred(video, 2, length=5, stride=1).frames[4].mean() == pytest.approx(200, abs=3)


def test_a_dataset_draws_them(youtube_root):
    pytest.importorskip("torch")
    from stad_data.loading import ClipDataset
    from stad_data.sampling import keyframe_samples

    train = youtube_vos.read(youtube_root([0, 5, 10, 30])).train
    data = ClipDataset(train, keyframe_samples(train), length=1, stride=1)
    grey = [data[row].frames.mean() for row in range(4)]
    np.testing.assert_allclose(grey, [40, 80, 120, 160], atol=3)
    data.close()


def test_films_of_davis_with_holes(tmp_path, put_images):
    masks = tmp_path / "Annotations/480p/bear"
    masks.mkdir(parents=True)
    for number in (0, 1, 7):
        mask = np.zeros((SIZE[1], SIZE[0]), np.uint8)
        mask[5:9, 5:9] = 1
        write_mask_png(masks / f"{number:05d}.png", mask)
    put_images(tmp_path / "JPEGImages/480p/bear", [0, 1, 7])
    video = davis.read(tmp_path).train[0]
    assert clips.centred(video, 2, length=1, stride=1).frames.mean() == pytest.approx(120, abs=3)


def test_other_datasets_keep_refusing_holes(tmp_path, put_images):
    """A folder that no one vouches for: a missing image would shift all that follow."""
    from stad_data.external import external_videos

    put_images(tmp_path / "films" / "a", [1, 2, 4])
    with pytest.raises(InputError, match="no image numbered 3"):
        external_videos(tmp_path / "films")
