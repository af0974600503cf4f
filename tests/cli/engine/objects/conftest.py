"""Videos in YouTube-VOS' layout of an odd size, and a recipe that follows their objects."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stad_cli.config import Recipe, load_recipe

FRAMES, WIDTH, HEIGHT = 10, 45, 37

RECIPE = """
[model]
name = "vos_tiny"
[model.options]
width = 4
[model.options.trunk]
width = 0.06
last = "mixed_3b"

[data]
dataset = "youtube-vos"
size = [48, 40]
cache = true

[clip]
form = "object"
length = 4
stride = 1

[augment]
flip = 0.5
brightness = 0.1
stride = [1, 2]

[optim]
name = "adam"
lr = 0.002
steps = 4
batch = 1
weight_decay = 0.0

[eval]
every = 2

[run]
workers = 0
threads = 1
checkpoint_every = 2
log_every = 1
"""

HALF = (
    "method.name=consistency",
    "method.consistency.classification=0.0",
    "data.labelled=0.5",
)


def masks_of(number: int) -> np.ndarray:
    """Two objects that move: 1 leaves after frame 6, 2 enters at frame 3."""
    masks = np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8)
    for frame in range(FRAMES):
        if frame <= 6:
            masks[frame, 4 + number : 16 + number, 2 + 2 * frame : 14 + 2 * frame] = 1
        if frame >= 3:
            masks[frame, 20:33, 40 - 3 * frame : 50 - 3 * frame] = 2
    return masks


def images_of(masks: np.ndarray, number: int) -> np.ndarray:
    """The objects as patches of one colour each on a still background."""
    noise = np.random.default_rng(number).integers(0, 90, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    images = np.repeat(noise[None], len(masks), axis=0)
    images[masks == 1] = (230, 60, 40)
    images[masks == 2] = (40, 90, 230)
    return images


def write_part(folder: Path, videos: dict[str, np.ndarray], classes: dict[str, str]) -> None:
    """Images, masks and meta.json of a part; frames are named 00000, 00005, ..."""
    from stad_data.video_image_files import BEST_QUALITY, JpegEncoder
    from stad_eval import write_mask_png

    meta = {}
    encoder = JpegEncoder((WIDTH, HEIGHT), quality=BEST_QUALITY)
    for number, (video, masks) in enumerate(videos.items()):
        for kind in ("JPEGImages", "Annotations"):
            (folder / kind / video).mkdir(parents=True)
        for frame, (mask, image) in enumerate(zip(masks, images_of(masks, number), strict=True)):
            name = f"{5 * frame:05d}"
            image_file = folder / "JPEGImages" / video / f"{name}.jpg"
            image_file.write_bytes(encoder.encode(image))
            write_mask_png(folder / "Annotations" / video / f"{name}.png", mask)
        there = sorted(set(np.unique(masks).tolist()) - {0})
        meta[video] = {"objects": {str(each): {"category": classes[str(each)]} for each in there}}
    (folder / "meta.json").write_text(json.dumps({"videos": meta}))


@pytest.fixture(scope="session")
def vos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four training videos and three others, of which one shows no object."""
    root = tmp_path_factory.mktemp("vos")
    nothing = np.zeros((2, HEIGHT, WIDTH), np.uint8)
    write_part(root / "train", {f"t{n}": masks_of(n) for n in range(4)}, {"1": "fox", "2": "cart"})
    test = {"a": masks_of(1), "b": masks_of(3)[:4], "nothing": nothing}
    write_part(root / "valid", test, {"1": "fox", "2": "kite"})
    return root


@pytest.fixture(scope="session")
def object_recipe(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Recipe]:
    """`object_recipe("optim.steps=3", ...)`: the recipe with overrides."""
    path = tmp_path_factory.mktemp("objects") / "small.toml"
    path.write_text(RECIPE)
    return lambda *overrides: load_recipe(path, overrides)


@pytest.fixture(scope="session")
def half_recipe(object_recipe) -> Callable[..., Recipe]:
    """The same by consistency, with half of the videos labelled."""
    return lambda *overrides: object_recipe(*HALF, *overrides)
