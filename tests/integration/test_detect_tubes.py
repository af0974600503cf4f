"""`stad detect` with detectors of tubes: what goes in is a video with one bright, moving square.

The networks here find the square by its brightness, so what must come out is known.
"""

import json

import numpy as np
import pytest
import torch
from torch import nn

from stad_cli.config import parse_recipe
from stad_cli.detection_settings import DetectionSettings
from stad_cli.trained_detector import Detector
from stad_cli.tube_detection import shaded
from stad_cli.video_detection import detect_video
from stad_data import ActionClasses, VideoReader
from stad_eval import read_tubes_json
from stad_models.structures import Maps, Tubelets, Tubes

CLIPS = {
    "tubelet": {"form": "tubelet", "length": 4, "stride": 1, "tubelet": 3},
    "video": {"form": "video", "length": 12},
    "map": {"form": "map", "length": 4, "stride": 2},
}
BRIGHT = 0.9
"""Value of red in normalised frames from which a pixel is the square's."""


def extents(inside):
    """Boxes [T, 4] of the true pixels of masks [T, H, W]."""
    boxes = []
    for mask in inside:
        rows, columns = torch.nonzero(mask, as_tuple=True)
        boxes.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    return torch.tensor(boxes, dtype=torch.float32)


class FindsBright(nn.Module):
    """The square, said in the form that is asked for; its action is the second of two."""

    def __init__(self, form):
        super().__init__()
        self.form = form

    def forward(self, clips):
        return [self.one(clip[0] > BRIGHT) for clip in clips]

    def one(self, inside):
        scores = torch.tensor([0.0, 0.8])
        if self.form == "map":
            return Maps(localisation=inside.float(), scores=scores)
        boxes = extents(inside)[None]
        if self.form == "tubelet":
            return Tubelets(boxes=boxes[:, 1:4], scores=scores[None], first=1)
        return Tubes(
            boxes=boxes,
            spans=torch.tensor([[0.0, len(inside)]]),
            labels=torch.tensor([1]),
            scores=torch.tensor([0.8]),
        )


@pytest.fixture
def detector():
    def make(form, *, fps=30.0):
        recipe = parse_recipe(
            {
                "model": {"name": "se_stad_tiny"},
                "data": {"dataset": "synthetic", "size": [96, 64]},
                "clip": CLIPS[form],
                "optim": {"lr": 0.1, "steps": 1, "batch": 1},
            }
        )
        return Detector(
            model=FindsBright(form).eval(),
            classes=ActionClasses(names=("rest", "slide"), ids=(1, 2), exclusive=True),
            recipe=recipe,
            trained_fps=fps,
            device=torch.device("cpu"),
        )

    return make


@pytest.fixture
def run(film, detector, tmp_path):
    def make(form, *, frames=40, fps=30.0, trained=30.0, window=0.5, size=(96, 64), times=None):
        video = film(tmp_path / "slide.mp4", frames=frames, fps=fps, size=size, times=times)
        summary = detect_video(
            video,
            detector(form, fps=trained),
            DetectionSettings(window=window),
            detections=tmp_path / "out.json",
            overlay=tmp_path / "out.mp4",
        )
        return summary, read_tubes_json(tmp_path / "out.json")

    return make


def true_boxes(frames, size):
    """What `film` draws: see `moving_square`."""
    left = (frames * 2) % max(1, size[0] - 12)
    top = np.full_like(left, size[1] // 3)
    return np.stack([left, top, left + 12, top + 12], axis=1)


@pytest.mark.parametrize("form", CLIPS)
def test_one_tube_goes_through_all_windows(form, run):
    summary, found = run(form)
    assert (summary.frames, summary.keyframes, summary.actors) == (40, 40, 1)
    assert summary.actions == {"slide": 1}
    (tube,) = list(found.tubes)
    assert (tube.video, tube.label, tube.score) == ("slide", 1, pytest.approx(0.8))
    assert tube.frames.tolist() == list(range(40))
    # Half a pixel of coding noise; where a window is stretched in time, a frame's movement.
    assert np.abs(tube.boxes - true_boxes(tube.frames, (96, 64))).max() < 3.5
    assert found.frame_counts == {"slide": 40}
    assert found.sizes == {"slide": (96, 64)}


@pytest.mark.parametrize("form", CLIPS)
def test_the_overlay_has_every_frame_and_the_square_is_framed(form, run, tmp_path):
    run(form, frames=20)
    with VideoReader(tmp_path / "out.mp4") as drawn, VideoReader(tmp_path / "slide.mp4") as plain:
        assert drawn.num_frames == 20
        frames = np.arange(20)
        after, before = drawn.read(frames).astype(int), plain.read(frames).astype(int)
    changed = (np.abs(after - before).max(axis=3) > 60).sum(axis=(1, 2))
    assert (changed > 20).all()


@pytest.mark.parametrize("form", ["tubelet", "map"])
def test_a_faster_video_is_seen_at_the_rate_of_training(form, run):
    summary, found = run(form, frames=40, fps=60.0, trained=30.0)
    assert (summary.frames, summary.keyframes) == (40, 20)
    (tube,) = list(found.tubes)
    assert tube.frames.tolist() == list(range(39))  # the last one seen is 38
    assert np.abs(tube.boxes - true_boxes(tube.frames, (96, 64))).max() < 3.5


@pytest.mark.parametrize("form", CLIPS)
@pytest.mark.parametrize("frames", [1, 2, 5])
def test_a_video_shorter_than_a_clip_or_a_tubelet(form, frames, run):
    summary, found = run(form, frames=frames)
    assert summary.frames == frames
    (tube,) = list(found.tubes)
    assert tube.frames.tolist() == list(range(frames))


@pytest.mark.parametrize("form", CLIPS)
def test_boxes_are_in_pixels_of_the_video(form, run):
    _, found = run(form, size=(192, 128), frames=10)
    (tube,) = list(found.tubes)
    assert np.abs(tube.boxes - true_boxes(tube.frames, (192, 128))).max() < 4.5


def test_a_file_of_tubes_is_json_for_others_too(run, tmp_path):
    run("video", frames=6)
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["format"] == "stad-tubes"
    assert content["classes"] == ["rest", "slide"]


def test_a_mask_is_stretched_over_the_image():
    image = np.full((4, 6, 3), 100, np.uint8)
    mask = np.array([[True, False, False], [False, False, False]])
    drawn = shaded(image, mask)
    assert (drawn != image).any(axis=2).tolist() == [
        [True, True, False, False, False, False],
        [True, True, False, False, False, False],
        [False] * 6,
        [False] * 6,
    ]
    assert (image == 100).all()
