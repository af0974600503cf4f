"""VideoWriter: whole files or none, the same bytes each time."""

import errno
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from stad_data.video import VideoReader
from stad_data.video_writer import VideoWriter
from stad_eval import InputError


def image(number: int, size: tuple[int, int]) -> np.ndarray:
    y, x = np.mgrid[: size[1], : size[0]]
    return np.stack([(4 * x + 7 * number) % 256, (5 * y) % 256, 0 * x + 6 * number], axis=2).astype(
        np.uint8
    )


def write(path: Path, count: int = 20, size: tuple[int, int] = (64, 48), **options) -> Path:
    with VideoWriter(path, size=size, **{"fps": 25, **options}) as writer:
        for number in range(count):
            writer.write(image(number, size))
    return path


@pytest.mark.parametrize("name", ["a.mp4", "a.m4v", "a.mov", "a.mkv", "A.MP4"])
def test_what_is_written_is_read(name: str, tmp_path: Path):
    path = write(tmp_path / name, crf=5)
    with VideoReader(path) as reader:
        assert reader.num_frames == 20
        assert reader.size == (64, 48)
        assert reader.fps == pytest.approx(25)
        np.testing.assert_allclose(reader.times, np.arange(20) / 25, atol=1e-3)
        found = reader.read(range(20)).astype(int)
    wanted = np.stack([image(number, (64, 48)) for number in range(20)])
    # Chroma at half resolution blurs colour edges; brightness stays.
    assert abs(found.mean() - wanted.mean()) < 3
    assert np.abs(found - wanted).mean() < 25
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_it_is_h264_that_every_player_takes(tmp_path: Path):
    with av.open(write(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")


@pytest.mark.parametrize("value", [0, 16, 128, 235, 255])
def test_grey_stays_grey(value: int, tmp_path: Path):
    path = tmp_path / "grey.mp4"
    with VideoWriter(path, size=(32, 32), fps=10, crf=1) as writer:
        writer.write(np.full((32, 32, 3), value, np.uint8))
    with VideoReader(path) as reader:
        assert np.abs(reader.read([0]).astype(int) - value).max() <= 2


@pytest.mark.parametrize("color", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (250, 200, 40)])
@pytest.mark.parametrize("size", [(32, 32), (1280, 720)])
def test_colours_stay_what_they_are(color, size, tmp_path: Path):
    path = tmp_path / "colour.mp4"
    with VideoWriter(path, size=size, fps=10, crf=1) as writer:
        writer.write(np.full((*size[::-1], 3), color, np.uint8))
    with VideoReader(path) as reader:
        assert np.abs(reader.read([0]).astype(int) - color).max() <= 6


def test_the_same_frames_give_the_same_bytes(tmp_path: Path):
    first, second = (write(tmp_path / name, 60).read_bytes() for name in ("a.mp4", "b.mp4"))
    assert first == second
    assert write(tmp_path / "c.mp4", 61).read_bytes() != first


@pytest.mark.parametrize(("size", "stored"), [((65, 49), (66, 50)), ((1, 1), (2, 2))])
def test_odd_sides_repeat_their_last_pixels(size, stored, tmp_path: Path):
    path = write(tmp_path / "odd.mp4", 3, size)
    with VideoReader(path) as reader:
        assert reader.size == stored
        shown = reader.read([1])[0].astype(int)
    assert np.abs(shown[:, -1] - shown[:, -2]).mean() < 12


def test_times_of_their_own(tmp_path: Path):
    times = [0.0, 0.04, 0.5, 0.501, 3.0, 3.25]
    for name in ("a.mp4", "a.mkv"):
        with VideoWriter(tmp_path / name, size=(32, 32), fps=30) as writer:
            for number, time in enumerate(times):
                writer.write(image(number, (32, 32)), time)
            writer.write(image(9, (32, 32)))
            assert writer.num_written == 7
        with VideoReader(tmp_path / name) as reader:
            np.testing.assert_allclose(reader.times, [*times, 3.25 + 1 / 30], atol=1.1e-3)


@pytest.mark.parametrize("fps", [24000 / 1001, Fraction(30000, 1001), 12.5, 1, 240])
def test_rates_are_kept(fps, tmp_path: Path):
    path = write(tmp_path / "a.mp4", 10, fps=fps)
    with VideoReader(path) as reader:
        assert reader.fps == pytest.approx(float(fps), rel=1e-6)
        np.testing.assert_allclose(reader.times, np.arange(10) / float(fps), rtol=1e-6)


@pytest.mark.parametrize("time", [-1.0, float("nan"), float("inf"), 0.1])
def test_times_go_forward(time: float, tmp_path: Path):
    with VideoWriter(tmp_path / "a.mp4", size=(32, 32), fps=30) as writer:
        writer.write(image(0, (32, 32)), 0.1)
        with pytest.raises(ValueError, match="expected a time"):
            writer.write(image(1, (32, 32)), time)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((48, 64), np.uint8),
        np.zeros((64, 48, 3), np.uint8),
        np.zeros((48, 64, 4), np.uint8),
        np.zeros((48, 64, 3), np.float32),
    ],
)
def test_an_image_of_another_kind_is_refused(wrong: np.ndarray, tmp_path: Path):
    with VideoWriter(tmp_path / "a.mp4", size=(64, 48), fps=30) as writer:
        writer.write(image(0, (64, 48)))
        with pytest.raises(ValueError, match=r"expected a uint8 image of shape \(48, 64, 3\)"):
            writer.write(wrong)


def test_a_view_is_written_as_it_looks(tmp_path: Path):
    mirrored = image(3, (64, 48))[:, ::-1]
    for name, source in (("view.mp4", mirrored), ("copy.mp4", mirrored.copy())):
        with VideoWriter(tmp_path / name, size=(64, 48), fps=30) as writer:
            writer.write(source)
    assert (tmp_path / "view.mp4").read_bytes() == (tmp_path / "copy.mp4").read_bytes()


def fail_in_the_middle(path: Path) -> None:
    with VideoWriter(path, size=(64, 48), fps=30) as writer:
        for number in range(30):
            writer.write(image(number, (64, 48)))
        raise KeyboardInterrupt


def test_an_exception_leaves_what_was_there(tmp_path: Path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"precious")
    with pytest.raises(KeyboardInterrupt):
        fail_in_the_middle(path)
    assert path.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [path]
    write(path)
    with VideoReader(path) as reader:
        assert reader.num_frames == 20


def test_a_forgotten_writer_leaves_nothing(tmp_path: Path):
    writer = VideoWriter(tmp_path / "a.mp4", size=(64, 48), fps=30)
    writer.write(image(0, (64, 48)))
    assert len(list(tmp_path.iterdir())) == 1
    del writer
    assert list(tmp_path.iterdir()) == []


def test_no_frame_is_no_video(tmp_path: Path):
    writer = VideoWriter(tmp_path / "a.mp4", size=(64, 48), fps=30)
    with pytest.raises(ValueError, match="no frame was written"):
        writer.close()
    assert list(tmp_path.iterdir()) == []


def test_closing_ends_it(tmp_path: Path):
    writer = VideoWriter(tmp_path / "a.mp4", size=(64, 48), fps=30)
    writer.write(image(0, (64, 48)))
    writer.close()
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.write(image(1, (64, 48)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none/a.mp4", "folder is missing"),
        ("a.txt", r"ending in .mp4.*found .txt"),
        ("a", "no ending"),
        ("folder.mp4", "target is a folder"),
        ("file.mp4/a.mp4", "folder is missing"),
    ],
)
def test_targets_that_cannot_be(name: str, message: str, tmp_path: Path):
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file.mp4").touch()
    with pytest.raises(InputError, match=message):
        VideoWriter(tmp_path / name, size=(64, 48), fps=30)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file.mp4", "folder.mp4"]


def test_a_folder_that_may_not_be_written(tmp_path: Path):
    folder = Path("/proc/self") if os.access(tmp_path, os.W_OK) and os.getuid() == 0 else tmp_path
    if folder == tmp_path:
        tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="cannot be written into this folder"):
        VideoWriter(folder / "a.mp4", size=(64, 48), fps=30)


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": (0, 48)},
        {"size": (64, 20_000)},
        {"fps": 0},
        {"fps": float("nan")},
        {"fps": 1e-9},
        {"crf": 60},
        {"preset": "quick"},
    ],
)
def test_wrong_options(wrong: dict, tmp_path: Path):
    with pytest.raises(ValueError, match=r"expected|refused"):
        VideoWriter(tmp_path / "a.mp4", **{"size": (64, 48), "fps": 30, **wrong})
    assert list(tmp_path.iterdir()) == []


FULL_DISK = """
import resource, sys
import numpy as np
from stad_data.video_writer import VideoWriter
rng = np.random.default_rng(0)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    with VideoWriter(sys.argv[1], size=(320, 240), fps=30, crf=1) as writer:
        for _ in range(60):
            writer.write(rng.integers(0, 255, (240, 320, 3), dtype=np.uint8))
except OSError as error:
    print(type(error).__name__, error.errno, error)
"""


def test_a_disk_that_is_full(tmp_path: Path):
    # A limit on file sizes stops the file as a full disk does, with another number.
    path = tmp_path / "a.mp4"
    path.write_bytes(b"precious")
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"OSError {errno.EFBIG}"), done.stdout
    assert str(path) in done.stdout
    assert done.stderr == ""
    assert path.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [path]
