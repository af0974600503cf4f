"""Real files of every kind for the whole programs to run on, and a model that needs no training."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from stad_data import VideoAnnotation
from stad_data.datasets import jhmdb

FOUR = ("brush_hair", "golf", "pullup", "walk")

RECIPE = """
[model]
name = "se_stad_tiny"
[model.options]
channels = 8
depth = 1
test_score = {least}
max_actors = 3
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
"""


def scene(number: int, size: tuple[int, int]) -> np.ndarray:
    """A frame of soft stripes with a square that moves with the frame's number."""
    width, height = size
    image = np.empty((height, width, 3), np.uint8)
    image[...] = (60 + 40 * np.sin(np.arange(width) / 17))[None, :, None]
    x = (number * 2) % max(1, width - 12)
    image[height // 3 : height // 3 + 12, x : x + 12] = (230, 200, 40)
    return image


@pytest.fixture(scope="session")
def film() -> Callable[..., Path]:
    """Write an H.264 film: `film(path, frames=20, size=(96, 64), fps=30, times=None)`."""
    from stad_data import VideoWriter

    def make(path: Path, *, frames=20, size=(96, 64), fps=30.0, times=None) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with VideoWriter(path, size=size, fps=fps, preset="ultrafast") as writer:
            for number in range(frames):
                writer.write(scene(number, size), None if times is None else times[number])
        return path

    return make


@pytest.fixture(scope="session")
def talk() -> Callable[..., Path]:
    """Write a second of sound, with a film beside it or alone: `talk(path, picture=True)`."""

    def make(path: Path, *, picture: bool) -> Path:
        with av.open(str(path), "w") as container:
            voice = container.add_stream("aac", rate=16000, layout="mono")
            if picture:
                film = container.add_stream("mpeg4", rate=Fraction(20))
                film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
                for number in range(20):
                    image = np.full((48, 64, 3), 10 * number, np.uint8)
                    container.mux(film.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
                container.mux(film.encode(None))
            for start in range(0, 16000, 1024):
                frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
                frame.sample_rate, frame.pts, frame.time_base = 16000, start, Fraction(1, 16000)
                container.mux(voice.encode(frame))
            container.mux(voice.encode(None))
        return path

    return make


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A checkpoint of a tiny SE-STAD with fresh weights: `untrained(finds=True)`.

    It reports its three best boxes in any clip, or none at all.
    """
    import torch

    from stad_cli.config import load_recipe
    from stad_cli.engine import checkpoint
    from stad_cli.engine.detector import build_detector
    from stad_data import ActionClasses

    made: dict[bool, Path] = {}

    def make(*, finds: bool = True) -> Path:
        if finds not in made:
            folder = tmp_path_factory.mktemp("untrained")
            (folder / "tiny.toml").write_text(RECIPE.format(least=0.0 if finds else 0.999))
            recipe = load_recipe(folder / "tiny.toml")
            classes = ActionClasses(names=("walk", "wave", "sit"), ids=(1, 2, 3), exclusive=False)
            torch.manual_seed(0)
            state = {
                "kind": "inference",
                "step": 0,
                "classes": checkpoint.classes_table(classes),
                "recipe": recipe.model_dump(mode="python", exclude_none=True),
                "protocol": "keyframes",
                "fps": 30.0,
                "model": build_detector(recipe.model, recipe.clip, classes).state_dict(),
                "metrics": {},
            }
            made[finds] = folder / "best.pt"
            checkpoint.save(made[finds], state)
        return made[finds]

    return make


@pytest.fixture
def four_clips(real_data: Path) -> list[VideoAnnotation]:
    """The first training video of each of four classes of JHMDB-21."""
    training = jhmdb.read(real_data / "jhmdb").train
    return [next(a for a in training if a.video.startswith(f"{name}/")) for name in FOUR]
