"""VideoReader on folders of numbered images."""

import pickle
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from stad_data.video import VideoReader
from stad_data.video_folder import numbered_images
from stad_eval import InputError

KINDS = {
    "png": ("png", "rgb24"),
    "bmp": ("bmp", "bgr24"),
    "ppm": ("ppm", "rgb24"),
    "pgm": ("pgm", "gray"),
    "jpg": ("mjpeg", "yuvj444p"),
    "webp": ("libwebp", "yuv420p"),
}


def image(number: int, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    y, x = np.mgrid[: size[1], : size[0]]
    plane = (np.sin((x + 5 * number) / 9) * np.cos(y / 7) * 100 + 128).astype(np.uint8)
    return np.stack([plane, 255 - plane, plane // 2 + number], axis=2)


def write(path: Path, picture: np.ndarray, kind: str = "png") -> Path:
    codec, pix_fmt = KINDS[kind]
    encoder = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt = *picture.shape[1::-1], pix_fmt
    encoder.time_base = Fraction(1, 25)
    if kind == "jpg":
        encoder.options = {"qmin": "1", "qmax": "2"}
    frame = av.VideoFrame.from_ndarray(picture).reformat(format=pix_fmt)
    frame.pts = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(bytes(p) for p in [*encoder.encode(frame), *encoder.encode()]))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images 1 to 12, of which 10 to 12 sort before 2 by name."""
    for number in range(12):
        write(tmp_path / "clip" / f"{number + 1}.png", image(number))
    (tmp_path / "clip" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "clip" / ".hidden.png").write_bytes(b"x")
    return tmp_path / "clip"


def test_frames_in_the_order_of_their_numbers(folder: Path):
    expected = np.stack([image(number) for number in range(12)])
    with VideoReader(folder) as reader:
        assert (reader.num_frames, reader.size, reader.fps) == (12, (64, 48), 25.0)
        np.testing.assert_array_equal(reader.read(range(12)), expected)
        np.testing.assert_array_equal(reader.read([11, 0, 0]), expected[[11, 0, 0]])
        np.testing.assert_array_equal([frame.image for frame in reader], expected)
        np.testing.assert_allclose([frame.time for frame in reader], reader.times)
        assert reader.read([]).shape == (0, 48, 64, 3)
        assert reader.damage is None
        with pytest.raises(InputError, match=r"below 12.*found 12"):
            reader.read([12])
        copy = pickle.loads(pickle.dumps(reader))
    np.testing.assert_array_equal(VideoReader(folder).read([7]), expected[[7]])
    with pytest.raises(ValueError, match="closed"):
        reader.read([0])
    with VideoReader(folder) as reader:
        reader.release()
        np.testing.assert_array_equal(reader.read([3]), expected[[3]])
    copy.close()


def test_size_and_rate(folder: Path):
    with VideoReader(folder, short_side=24, fps=30000 / 1001) as reader:
        assert reader.size == (32, 24)
        mean = image(2).reshape(24, 2, 32, 2, 3).mean(axis=(1, 3))
        assert np.abs(reader.read([2])[0] - mean).max() <= 2
        assert reader.fps == pytest.approx(29.97, abs=1e-3)
        assert reader.frame_at(1001 * 10 / 30000) == 10
        assert reader.times[3] == pytest.approx(3 * 1001 / 30000)
    with pytest.raises(ValueError, match="fps"):
        VideoReader(folder, fps=0)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_image_and_each_cut_off(kind: str, tmp_path: Path):
    # The name does not decide: cameras and scripts give wrong suffixes.
    path = write(tmp_path / "f_000.jpg", image(3), kind)
    with VideoReader(tmp_path) as reader:
        shown = reader.read([0])
    tolerance = {"webp": 60, "pgm": 255, "jpg": 12}.get(kind, 0)
    assert np.abs(shown[0].astype(int) - image(3)).max() <= tolerance
    data = path.read_bytes()
    for length in np.linspace(0, len(data) - 1, 24).astype(int).tolist():
        path.write_bytes(data[:length])
        try:
            with VideoReader(tmp_path) as reader:
                np.testing.assert_array_equal(reader.read([0]), shown)
        except InputError as error:
            assert error.path == path  # noqa: PT017
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"f_000\.jpg: the image of a frame cannot be read"):
        VideoReader(tmp_path).read([0])


def test_other_sizes_are_scaled_to_the_first(folder: Path):
    write(folder / "4.png", image(3, (128, 96)))
    with VideoReader(folder) as reader:
        assert reader.read([0, 3]).shape == (2, 48, 64, 3)
        assert np.abs(reader.read([3])[0].astype(int) - image(3, (128, 96))[::2, ::2]).mean() < 12


def test_a_damaged_image_ends_a_stream(folder: Path):
    (folder / "6.png").write_bytes(b"")
    with VideoReader(folder) as reader:
        frames = iter(reader)
        assert [next(frames).index for _ in range(5)] == list(range(5))
        with pytest.raises(InputError, match=r"6\.png.*0 bytes"):
            next(frames)
        assert reader.read([6]).shape[0] == 1
    with VideoReader(folder, on_damage="stop") as reader:
        assert len(list(reader)) == 5
    (folder / "6.png").unlink()
    (folder / "6.png").mkdir()
    with pytest.raises(InputError, match=r"6\.png.*cannot be read"), VideoReader(folder) as reader:
        reader.read([5])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "without images"),
        (["notes.txt"], "without images"),
        (["cover.png"], "cover.png, which has no number"),
        (["a_01.png", "b_02.png"], "a_01.png and b_02.png, which begin differently"),
        (["01.png", "1.png"], "the same number"),
        (["01.png", "01.jpg"], "the same number"),
        (["1.png", "2.png", "4.png"], "no image numbered 3"),
    ],
)
def test_folders_that_are_no_video(names: list[str], message: str, tmp_path: Path):
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputError, match=f"not read as a video.*{message}") as caught:
        VideoReader(tmp_path)
    assert caught.value.path == tmp_path


def test_numbers_may_begin_anywhere(tmp_path: Path):
    for name in ("img_0998.JPG", "img_0999.jpeg", "img_1000.jpg"):
        (tmp_path / name).touch()
    names = [file.name for file in numbered_images(tmp_path)]
    assert names == ["img_0998.JPG", "img_0999.jpeg", "img_1000.jpg"]


def names(folder: Path, numbers: list[int]) -> Path:
    for number in numbers:
        (folder / f"{number:05d}.jpg").touch()
    return folder


@pytest.mark.parametrize(
    ("numbers", "refuse", "step"),
    [
        ([3, 4, 5], True, True),
        ([0, 5, 10, 15], "no image numbered 1, though 00015.jpg", True),
        ([7, 9, 11], "no image numbered 8", True),
        ([0, 5, 10, 20], "no image numbered 1", "no image numbered 15, though 00020.jpg, in steps"),
        ([0, 5, 6], "no image numbered 1", "no image numbered 1, though 00006.jpg"),
        # Two images tell no step from a gap.
        ([0, 5], "no image numbered 1", "no image numbered 1"),
        ([8], True, True),
    ],
)
def test_which_numbers_may_be_missing(numbers, refuse, step, tmp_path: Path):
    names(tmp_path, numbers)
    for gaps, outcome in (("refuse", refuse), ("step", step), ("close", True)):
        if outcome is True:
            found = numbered_images(tmp_path, gaps=gaps)
            assert [int(file.stem) for file in found] == numbers
        else:
            with pytest.raises(InputError, match=f'{outcome}.*gaps="close"'):
                numbered_images(tmp_path, gaps=gaps)
    with pytest.raises(ValueError, match="gaps: expected one of refuse, step, close"):
        numbered_images(tmp_path, gaps="any")


def test_frames_are_counted_by_the_images(tmp_path: Path):
    for at, number in enumerate((0, 5, 10, 30)):
        write(tmp_path / f"{number:05d}.png", image(at))
    with pytest.raises(InputError, match="no image numbered 15"):
        VideoReader(tmp_path)
    with VideoReader(tmp_path, gaps="close", fps=6) as reader:
        assert reader.num_frames == 4
        assert reader.times.tolist() == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6])
        copy = pickle.loads(pickle.dumps(reader))
        for each in (reader, copy):
            np.testing.assert_array_equal(each.read([3, 1]), [image(3), image(1)])
        copy.close()
    (tmp_path / "00030.png").unlink()
    with VideoReader(tmp_path) as reader:
        assert reader.num_frames == 3
    with pytest.raises(InputError, match="no image numbered 1"):
        VideoReader(tmp_path, gaps="refuse")
