"""A dataset in JHMDB's layout, small enough to train on in seconds, and a recipe for it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

RECIPE = """
[model]
name = "se_stad_tiny"
[model.options]
channels = 8
depth = 1
test_score = 0.02
[model.options.trunk]
stem_width = 4
widths = [4, 8, 8, 8]

[data]
dataset = "jhmdb"
size = [64, 48]
cache = true

[clip]
length = 4
stride = 1

[augment]
flip = 0.5
scale = [0.9, 1.2]
brightness = 0.1
stride = [1, 2]
mix = 0.5

[optim]
name = "adamw"
lr = 0.005
steps = 12
batch = 2
warm_up = 2
clip_grad = 5.0
ema = 0.9

[eval]
every = 5
every_nth_frame = 3

[run]
workers = 0
threads = 1
checkpoint_every = 3
log_every = 2
"""

FRAMES, WIDTH, HEIGHT = 8, 64, 48


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six videos of two classes: a bright box that moves right ("walk") or down ("jump")."""
    from scipy.io import savemat

    from stad_data import VideoWriter

    root = tmp_path_factory.mktemp("jhmdb")
    for label, (name, step) in enumerate({"jump": (0, 2), "walk": (3, 0)}.items()):
        lines = []
        for number in range(3):
            rng = np.random.default_rng([label, number])
            x, y = rng.integers(4, 16, 2)
            mask = np.zeros((HEIGHT, WIDTH, FRAMES), np.uint8)
            background = rng.integers(0, 90, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            video = root / "videos" / name / f"v{number}.mp4"
            video.parent.mkdir(parents=True, exist_ok=True)
            with VideoWriter(video, size=(WIDTH, HEIGHT), fps=30.0) as writer:
                for frame in range(FRAMES):
                    left, top = x + frame * step[0], y + frame * step[1]
                    mask[top : top + 16, left : left + 12, frame] = 1
                    image = background.copy()
                    image[top : top + 16, left : left + 12] = (230, 60 + 100 * label, 40)
                    writer.write(image)
            folder = root / "puppet_mask" / name / f"v{number}"
            folder.mkdir(parents=True)
            savemat(folder / "puppet_mask.mat", {"part_mask": mask})
            lines.append(f"v{number}.avi {1 if number < 2 else 2}\n")
        (root / "splits").mkdir(exist_ok=True)
        (root / "splits" / f"{name}_test_split1.txt").write_text("".join(lines))
    return root


@pytest.fixture(scope="session")
def recipe_text() -> str:
    """The small recipe."""
    return RECIPE


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    """The small recipe as a file."""
    path = tmp_path / "small.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def recipe(recipe_file: Path) -> Callable:
    """`recipe("optim.steps=3", ...)`: the small recipe with overrides."""
    from stad_cli.config import load_recipe

    return lambda *overrides: load_recipe(recipe_file, overrides)
