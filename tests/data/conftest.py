"""Small datasets in their native layouts, written to disk, and annotations without any files."""

import pickle
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from stad_data import Clip, Dataset, Placement, Track, VideoAnnotation, VideoWriter, datasets

SIZE = (64, 48)
FRAMES = 12


@pytest.fixture(scope="session")
def small_videos(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, int], Path]:
    """Different videos of 64x48 pixels by number and length, each written once."""
    folder = tmp_path_factory.mktemp("videos")

    def video(number: int, frames: int = FRAMES) -> Path:
        path = folder / f"{number}_{frames}.mp4"
        if not path.exists():
            rng = np.random.default_rng(number)
            texture = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
            with VideoWriter(path, size=SIZE, fps=5) as writer:
                for frame in range(frames):
                    writer.write(np.roll(texture, 2 * frame, axis=1))
        return path

    return video


@pytest.fixture
def put_video(small_videos) -> Callable[..., Path]:
    """Copy a small video to a place of its own."""

    def put(path: Path, *, number: int, frames: int = FRAMES) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(small_videos(number, frames), path)
        return path

    return put


@pytest.fixture
def put_images() -> Callable[[Path, list[int]], Path]:
    """Write a folder of JPEG files with these numbers; every image is of another grey."""

    def put(folder: Path, numbers: list[int]) -> Path:
        from stad_data.video_image_files import JpegEncoder

        folder.mkdir(parents=True)
        for at, number in enumerate(numbers):
            image = np.full((SIZE[1], SIZE[0], 3), 40 * (at + 1), np.uint8)
            data = JpegEncoder(SIZE, quality=2).encode(image)
            (folder / f"{number:05d}.jpg").write_bytes(data)
        return folder

    return put


@pytest.fixture
def jhmdb_root(tmp_path: Path, put_video) -> Path:
    """Two classes, three videos: jump/a and jump/b (training), wave/c (test)."""
    root = tmp_path / "jhmdb"
    (root / "splits").mkdir(parents=True)
    lines = {"jump": "a.avi 1\nb.avi 1\n", "wave": "c.avi 2\n"}
    for name, text in lines.items():
        (root / "splits" / f"{name}_test_split1.txt").write_text(text)
    for number, (name, video) in enumerate((("jump", "a"), ("jump", "b"), ("wave", "c"))):
        put_video(root / "videos" / name / f"{video}.mp4", number=number)
        mask = np.zeros((SIZE[1], SIZE[0], FRAMES), np.uint8)
        mask[10:20, 5 + number : 30, :] = 1
        folder = root / "puppet_mask" / name / video
        folder.mkdir(parents=True)
        savemat(folder / "puppet_mask.mat", {"part_mask": mask}, do_compression=True)
    return root


@pytest.fixture
def ucf24_entry() -> Callable[..., dict]:
    """One video of pyannot.pkl with one tube, in the file's own types."""

    def entry(label: int, *, first: int = 0, last: int = 4, frames: int = FRAMES) -> dict:
        boxes = np.tile(np.array([200, 10, 100, 50], np.uint8), (last - first, 1))
        tube = {"label": label, "sf": first, "ef": last, "boxes": boxes}
        return {"annotations": [tube], "numf": np.uint8(frames), "label": label}

    return entry


@pytest.fixture
def ucf24_root(tmp_path: Path, put_video, ucf24_entry) -> Path:
    """Two classes, three videos: the first two for training, Diving/v_Diving_g01_c01 for test."""
    root = tmp_path / "ucf24"
    root.mkdir()
    content = {
        np.str_("Biking/v_Biking_g08_c01"): ucf24_entry(0),
        np.str_("Diving/v_Diving_g08_c01"): ucf24_entry(1, first=3, last=9),
        np.str_("Diving/v_Diving_g01_c01"): ucf24_entry(1),
    }
    (root / "pyannot.pkl").write_bytes(pickle.dumps(content))
    (root / "testlist01.txt").write_text("Diving/v_Diving_g01_c01\n")
    for number, video in enumerate(content):
        put_video(root / "videos" / f"{video.rpartition('/')[2]}.mp4", number=number)
    return root


@pytest.fixture(scope="session")
def real_jhmdb(real_data: Path) -> Dataset:
    """All of JHMDB, split 1."""
    return datasets.jhmdb.read(real_data / "jhmdb")


AVA_FILES = {
    "label_map.pbtxt": 'item {\n  name: "walk"\n  id: 3\n}\nitem {\n  name: "talk"\n  id: 7\n}\n',
    "train.csv": "one,0900,0.1,0.2,0.5,0.9,3,0\n"
    "one,0900,0.1,0.2,0.5,0.9,7,0\n"
    "one,0900,0.6,0.2,0.9,0.9,3,4\n"
    "one,0901,0.2,0.2,0.6,0.9,7,0\n"
    "one,0902\n",
    "val.csv": "two,0901,0.1,0.2,0.5,0.9,3,0\ntwo,0902,0.1,0.2,0.5,0.9,3,0\n",
    "val_excluded_timestamps.csv": "two,0902\n",
}


@pytest.fixture
def ava_root(tmp_path: Path, put_video) -> Path:
    """Two videos of 3 seconds at 5 frames per second, beginning at second 900."""
    root = tmp_path / "ava"
    (root / "annotations").mkdir(parents=True)
    for name, text in AVA_FILES.items():
        (root / "annotations" / name).write_text(text)
    put_video(root / "videos" / "one.mp4", number=0, frames=15)
    put_video(root / "videos" / "two.mp4", number=1, frames=15)
    return root


@pytest.fixture
def annotation() -> VideoAnnotation:
    """Twenty frames of 200x100, no file; actor 0 in frames 2..9, actor 7 in 5, 6 and 9; C = 3."""
    frames = np.arange(2, 10)
    boxes = np.stack([frames * 10, frames * 0 + 20, frames * 10 + 40, frames * 0 + 80], axis=1)
    labels = np.zeros((8, 3), bool)
    labels[:, 0] = True
    labels[4:6, 2] = True
    others = np.array([5, 6, 9])
    return VideoAnnotation(
        video="folder/name",
        path=Path("nowhere.mp4"),
        num_frames=20,
        size=(200, 100),
        fps=25.0,
        tracks=(
            Track(actor=0, frames=frames, boxes=boxes, labels=labels),
            Track(
                actor=7,
                frames=others,
                boxes=np.tile([150.0, 10, 180, 90], (3, 1)),
                labels=np.array([[False, True, False]] * 3),
            ),
        ),
        keyframes=np.arange(20),
    )


@pytest.fixture
def make_clip() -> Callable[..., Clip]:
    """A clip of noise with the given boxes; the labels number the boxes in one-hot rows."""

    def make(boxes=((10.0, 5.0, 40.0, 30.0),), *, size=SIZE, length=4, seed=0) -> Clip:
        boxes = np.array(boxes, np.float32).reshape(-1, 4)
        rng = np.random.default_rng(seed)
        frames = rng.integers(0, 255, (length, size[1], size[0], 3), dtype=np.uint8)
        return Clip(
            frames=frames,
            boxes=boxes,
            labels=np.eye(len(boxes), 3, dtype=bool),
            actors=np.arange(len(boxes)),
            video="noise",
            frame=length // 2,
            indices=np.arange(length),
            placement=Placement(size=size),
        )

    return make


class FakeSource:
    """Frames whose every pixel is the frame's number, without any file."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self.asked: list[list[int]] = []

    def read(self, indices) -> np.ndarray:
        """Frames uint8 [T, H, W, 3]."""
        indices = np.asarray(indices)
        self.asked.append(indices.tolist())
        width, height = self.size
        frames = np.zeros((len(indices), height, width, 3), np.uint8)
        frames += indices.astype(np.uint8)[:, None, None, None]
        return frames


@pytest.fixture
def numbered_source() -> Callable[[tuple[int, int]], FakeSource]:
    """Makes a source whose pixels are the frame's number."""
    return FakeSource


@pytest.fixture
def skip_without() -> Callable[[str], None]:
    """Skips the test where a backend of VideoReader is not installed or lacks its libraries."""

    def check(backend: str) -> None:
        try:
            module = import_module("torchcodec.decoders" if backend == "torchcodec" else backend)
            if backend == "torchcodec":
                module.VideoDecoder(b"no video")  # FFmpeg is loaded here at the latest
        except ImportError as error:
            pytest.skip(f"{backend} is not installed: {error}")
        except (RuntimeError, OSError, ValueError) as error:
            if "libtorchcodec" in str(error):
                pytest.skip(f"{backend} cannot be loaded: {str(error).splitlines()[0]}")

    return check
