"""A dataset in JHMDB's layout, small enough to train on in seconds, and a recipe for it."""

import shutil
import zlib
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
def short_videos(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset with videos of one and two frames in both parts, and a box that leaves."""
    from scipy.io import savemat

    from stad_data import VideoWriter

    root = Path(shutil.copytree(dataset, tmp_path_factory.mktemp("short") / "jhmdb"))
    lines = []
    for name, frames, part in (("one", 1, 1), ("two", 2, 1), ("single", 1, 2), ("leaves", 8, 2)):
        mask = np.zeros((48, 64, frames), np.uint8)
        with VideoWriter(root / f"videos/walk/{name}.mp4", size=(64, 48), fps=30.0) as writer:
            for frame in range(frames):
                left = 40 + 3 * frame
                mask[10:26, left : left + 12, frame] = 1
                image = np.full((48, 64, 3), 60, np.uint8)
                image[10:26, left : left + 12] = (230, 160, 40)
                writer.write(image)
        (root / f"puppet_mask/walk/{name}").mkdir()
        savemat(root / f"puppet_mask/walk/{name}/puppet_mask.mat", {"part_mask": mask})
        lines.append(f"{name}.avi {part}\n")
    listed = root / "splits/walk_test_split1.txt"
    listed.write_text(listed.read_text() + "".join(lines))
    return root


@pytest.fixture(scope="session")
def known_flow(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The flow of every video as it was drawn: boxes move by 3 pixels right or 2 down."""
    from stad_data.datasets import jhmdb

    folder = tmp_path_factory.mktemp("flow")
    whole = jhmdb.read(dataset)
    for annotation in (*whole.train, *whole.test):
        (track,) = annotation.tracks
        flow = np.zeros((annotation.num_frames, 48, 64, 2), np.float32)
        for frame, box in zip(track.frames[:-1], track.boxes.astype(int), strict=False):
            flow[frame, box[1] : box[3], box[0] : box[2]] = (
                (3, 0) if annotation.video.startswith("walk") else (0, 2)
            )
        write_flow(folder, annotation, flow)
    return folder


def write_flow(folder: Path, annotation, flow: np.ndarray) -> None:
    """A file as `stad data flow` leaves it, of flow that is known without OpenCV."""
    from stad_data import array_file
    from stad_data.fingerprint import Fingerprint
    from stad_data.flow_cache import KIND, STEPS, flow_path

    height, width = flow.shape[1:3]
    video = Fingerprint.of(annotation.path).to_json()
    about = {"settings": {"method": "dis"}, "video": video, "size": [width, height]}
    with array_file.written(flow_path(folder, annotation.video), KIND, about) as file:
        starts, crcs = [0], []
        for one in flow:
            planes = np.rint(one * STEPS).astype("<i2").transpose(2, 0, 1)
            data = zlib.compress(planes.tobytes()[::2] + planes.tobytes()[1::2], 1)
            file.extend("frames", data)
            starts.append(starts[-1] + len(data))
            crcs.append(zlib.crc32(data))
        file.write("starts", np.array(starts, np.int64))
        file.write("crcs", np.array(crcs, np.uint32))


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
