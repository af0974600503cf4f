"""Small videos, an untrained checkpoint that finds boxes anyway, and the command line itself."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

RECIPE = """
[model]
name = "se_stad_tiny"
[model.options]
channels = 8
depth = 1
test_score = 0.0
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


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def stad(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run `stad ARGUMENTS...` in this process; exit code, stdout and stderr."""
    from stad_cli.main import main

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


def moving_square(number: int, size: tuple[int, int]) -> np.ndarray:
    """A grey frame with a bright square that moves with the frame's number."""
    width, height = size
    image = np.full((height, width, 3), 90, np.uint8)
    x = (number * 2) % max(1, width - 12)
    image[height // 3 : height // 3 + 12, x : x + 12] = (230, 200, 40)
    return image


@pytest.fixture
def film(tmp_path: Path) -> Callable[..., Path]:
    """Write a real H.264 file: `film("a.mp4", frames=20, size=(96, 64), fps=30, times=None)`."""
    from stad_data import VideoWriter

    def make(name="film.mp4", *, frames=20, size=(96, 64), fps=30.0, times=None) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with VideoWriter(path, size=size, fps=fps) as writer:
            for number in range(frames):
                image = moving_square(number, size)
                writer.write(image, None if times is None else times[number])
        return path

    return make


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny SE-STAD with fresh weights that reports its three best boxes in any clip."""
    import torch

    from stad_cli.config import load_recipe
    from stad_cli.engine import checkpoint as checkpoints
    from stad_cli.engine.detector import build_detector
    from stad_data import ActionClasses

    folder = tmp_path_factory.mktemp("checkpoint")
    (folder / "tiny.toml").write_text(RECIPE)
    recipe = load_recipe(folder / "tiny.toml")
    classes = ActionClasses(names=("walk", "wave", "sit"), ids=(1, 2, 3), exclusive=False)
    torch.manual_seed(0)
    model = build_detector(recipe.model, recipe.clip, classes)
    path = folder / "best.pt"
    checkpoints.save(
        path,
        {
            "kind": "inference",
            "step": 0,
            "classes": checkpoints.classes_table(classes),
            "recipe": recipe.model_dump(mode="python", exclude_none=True),
            "protocol": "keyframes",
            "fps": 30.0,
            "model": model.state_dict(),
            "metrics": {},
        },
    )
    return path


@pytest.fixture(scope="session")
def _drawn_ava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from stad_data.synthetic import make

    root = tmp_path_factory.mktemp("drawn") / "set"
    make(root, videos=2, test_videos=2, seconds=(6, 6), layouts=("ava",), workers=1)
    return root / "ava"


@pytest.fixture
def tiny_ava(_drawn_ava: Path, tmp_path: Path) -> Path:
    """A copy of a synthetic dataset in AVA's layout, 2 + 2 videos, for a test to spoil."""
    return Path(shutil.copytree(_drawn_ava, tmp_path / "ava"))


@pytest.fixture(scope="session")
def tiny_run(_drawn_ava: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder as `stad train` leaves it: four steps on the synthetic dataset, two scores."""
    from stad_cli.config import load_recipe
    from stad_cli.engine.train import train

    folder = tmp_path_factory.mktemp("runs")
    (folder / "tiny.toml").write_text(RECIPE)
    changes = ["optim.steps=4", "eval.every=2", "run.log_every=1", "run.workers=0"]
    recipe = load_recipe(folder / "tiny.toml", changes)
    return train(recipe, data=_drawn_ava, out=folder / "run", device="cpu").run
