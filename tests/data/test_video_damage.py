"""Files that are no video, or no longer a whole one: one clear message, never wrong frames."""

import itertools
import os
import shutil
from pathlib import Path

import av
import numpy as np
import pytest

from stad_data.video import VideoReader
from stad_data.video_writer import VideoWriter
from stad_eval import InputError
from stad_eval.class_lists import JHMDB21

COUNT = 40
SIZE = (64, 48)


def image(number: int) -> np.ndarray:
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    plane = (np.sin((x + 3 * number) / 4) * np.cos(y / 5) * 100 + 128).astype(np.uint8)
    return np.stack([plane, plane.T[: SIZE[1]].repeat(2, 1)[:, : SIZE[0]], 255 - plane], axis=2)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, Path]:
    """The same forty frames as MP4 (index last, index first), MKV and AVI."""
    folder = tmp_path_factory.mktemp("whole")
    paths = {name: folder / name for name in ("last.mp4", "first.mp4", "a.mkv", "a.avi")}
    for name in ("last.mp4", "a.mkv"):
        with VideoWriter(paths[name], size=SIZE, fps=25, keyframe_interval=10) as writer:
            for number in range(COUNT):
                writer.write(image(number))
    faststart = {"movflags": "faststart"}
    with (
        av.open(paths["last.mp4"]) as source,
        av.open(paths["first.mp4"], "w", options=faststart) as to,
    ):
        stream = to.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                to.mux(packet)
    with av.open(paths["a.avi"], "w") as to:
        stream = to.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.codec_context.max_b_frames = 2
        for number in range(COUNT):
            to.mux(stream.encode(av.VideoFrame.from_ndarray(image(number))))
        to.mux(stream.encode())
    return paths


@pytest.fixture(scope="module")
def frames(whole) -> dict[str, np.ndarray]:
    """What the undamaged files show, by name."""
    shown = {}
    for name, path in whole.items():
        with VideoReader(path) as reader:
            assert reader.damage is None
            shown[name] = reader.read(range(COUNT))
            assert reader.num_frames == COUNT
            assert np.abs(shown[name][7].astype(int) - image(7)).mean() < 12
    return shown


def make_nothing(path: Path) -> None:
    """Leave the path without a file."""


def make_folder(path: Path) -> None:
    path.mkdir()


def make_text(path: Path) -> None:
    path.write_text("a film about nothing\n" * 50)


def make_noise(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(5000))


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_sound(path: Path) -> None:
    with av.open(path, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=16_000)
        stream.layout = "mono"
        for _ in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            frame.sample_rate = 16_000
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (make_nothing, "missing"),
        (make_folder, "a folder"),
        (Path.touch, "0 bytes"),
        (make_text, "cannot be opened as a video"),
        (make_noise, "cannot be opened as a video"),
        (make_sound, "no video stream.*only audio"),
        (make_pipe, "device or pipe"),
    ],
)
def test_what_is_no_video_is_refused_at_once(make, message: str, tmp_path: Path):
    path = tmp_path / "film.mp4"
    make(path)
    with pytest.raises(InputError, match=f"film.mp4.*{message}") as caught:
        VideoReader(path)
    assert caught.value.path == path
    assert caught.value.remedy


def test_a_sound_file_with_a_cover_picture_is_no_video(tmp_path: Path):
    path = tmp_path / "song.mp4"
    with av.open(path, "w") as container:
        sound = container.add_stream("aac", rate=16_000)
        sound.layout = "mono"
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = *SIZE, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        for packet in cover.encode(
            av.VideoFrame.from_ndarray(image(0)).reformat(format="yuvj420p")
        ):
            container.mux(packet)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 16_000
        container.mux(sound.encode(frame))
        container.mux(sound.encode())
    with pytest.raises(InputError, match="no video stream"):
        VideoReader(path)


def test_a_codec_that_nobody_knows(whole, tmp_path: Path):
    path = tmp_path / "odd.mp4"
    path.write_bytes(whole["first.mp4"].read_bytes().replace(b"avc1", b"zzzz"))
    with pytest.raises(InputError, match=r"odd\.mp4.*codec is not known"):
        VideoReader(path)


def test_a_file_that_may_not_be_read(whole, tmp_path: Path, monkeypatch):
    path = tmp_path / "mine.mp4"
    shutil.copy(whole["last.mp4"], path)
    path.chmod(0)
    if os.access(path, os.R_OK):  # root reads everything

        def refuse(*_args, **_options):
            raise av.error.PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(InputError, match=r"mine\.mp4.*permission denied"):
        VideoReader(path)


def test_names_that_look_like_something_else(whole, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("http:film.mp4", "-i.mp4", "100%d.mp4", "ünï cödé 🎬.mp4", "no_ending"):
        shutil.copy(whole["last.mp4"], name)
        with VideoReader(name) as reader:
            assert reader.num_frames == COUNT


@pytest.mark.parametrize("name", ["last.mp4", "first.mp4", "a.mkv", "a.avi"])
def test_a_file_that_was_cut_off(name: str, whole, frames, tmp_path: Path):
    data = whole[name].read_bytes()
    seen = set()
    complaints: list[InputError] = []
    for length in np.linspace(1, len(data) - 1, 25).astype(int).tolist():
        path = tmp_path / f"{length}{name}"
        path.write_bytes(data[:length])
        try:
            reader = VideoReader(path)
            count = reader.num_frames
        except InputError as error:
            complaints.append(error)
            seen.add("refused")
            continue
        with reader:
            seen.add("partly")
            if reader.damage is None:
                # Only what lies behind the last frame (an index) can be missing unnoticed.
                assert count == COUNT
            else:
                with pytest.raises(InputError, match=f"{count} frames that decode"):
                    reader.read([count])
                stream = iter(reader)
                assert len(list(itertools.islice(stream, count))) == count
                with pytest.raises(InputError, match=r"damaged.*stream ends"):
                    next(stream)
            np.testing.assert_array_equal(reader.read(range(count)), frames[name][:count])
            quiet = VideoReader(path, on_damage="stop")
            np.testing.assert_array_equal(
                np.array([frame.image for frame in quiet]).reshape(-1, *SIZE[::-1], 3),
                frames[name][:count],
            )
            quiet.close()
    assert {error.path.name.endswith(name) for error in complaints} == {True}
    assert "refused" in seen
    assert "partly" in seen or name == "last.mp4"


@pytest.mark.parametrize("name", ["first.mp4", "a.mkv", "a.avi"])
def test_a_picture_full_of_zeros(name: str, whole, frames, tmp_path: Path):
    data = bytearray(whole[name].read_bytes())
    with av.open(whole[name]) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    broken = packets[17]
    raw = bytes(broken)
    at = data.index(raw)
    data[at : at + len(raw)] = bytes(len(raw))
    path = tmp_path / name
    path.write_bytes(data)
    with VideoReader(path) as reader:
        shown = []
        with pytest.raises(InputError, match="damaged"):
            shown.extend(frame.image for frame in reader)
        assert 10 <= len(shown) <= 19
        np.testing.assert_array_equal(shown, frames[name][: len(shown)])
        assert reader.num_frames == len(shown)
        with pytest.raises(InputError, match=f"{len(shown)} frames that decode"):
            reader.read([len(shown) + 2])
        np.testing.assert_array_equal(reader.read(range(len(shown))), shown)


def test_flipped_bits_give_an_error_or_whole_frames(whole, tmp_path: Path):
    rng = np.random.default_rng(1)
    data = np.frombuffer(whole["first.mp4"].read_bytes(), np.uint8)
    complaints: list[InputError] = []
    for number in range(60):
        changed = data.copy()
        changed[rng.integers(0, data.size, 3)] ^= np.uint8(1 << rng.integers(0, 8))
        path = tmp_path / f"{number}.mp4"
        changed.tofile(path)
        try:
            with VideoReader(path) as reader:
                streamed = sum(1 for _ in reader)
                assert reader.num_frames == streamed
                assert reader.read([0, streamed - 1]).shape[0] == 2
        except InputError as error:
            complaints.append(error)
    assert len(complaints) > 20
    assert {error.path.parent for error in complaints} == {tmp_path}


def test_streaming_a_good_file_ends_quietly_with_junk_behind_it(whole, tmp_path: Path):
    path = tmp_path / "junk.mp4"
    path.write_bytes(whole["first.mp4"].read_bytes() + b"\0" * 5 + b"trailing junk, no box" * 9)
    with VideoReader(path) as reader:
        assert sum(1 for _ in reader) == COUNT


# --- real files, damaged at many places -------------------------------------------------------

# The time-out counts seconds of the clock, not of the processor: on a machine whose cores are taken
# by others, some 50 ms of work between two packets have been seen to last longer than 20 s.
WAIT = 600


def cut_off(data: bytes, places: list[int]) -> list[bytes]:
    """The beginning of the file up to each place."""
    return [data[:place] for place in places]


def flipped(data: bytes, places: list[int]) -> list[bytes]:
    """The file with one byte inverted at each place."""
    return [data[:p] + bytes([data[p] ^ 255]) + data[p + 1 :] for p in places]


def check_damaged(path: Path, content: bytes, expected: np.ndarray, *, cut: bool) -> str:
    """Read all that can be read; a file that was cut off must not show anything else.

    An inverted byte may change pixels, or in a header the order of frames, without leaving a sign:
    neither H.264 nor MP4 has checksums. What has to hold then is that the reader ends, with frames
    or with an error that names the file.
    """
    path.write_bytes(content)
    try:
        with VideoReader(path, timeout=WAIT, resize=(32, 24)) as reader:
            stream = VideoReader(path, timeout=WAIT, resize=(32, 24), on_damage="stop")
            shown = [frame.image for frame in stream]
            count = reader.num_frames
            images = reader.read(range(count))
            assert images.dtype == np.uint8
            # A decoder that went through the damage may stumble later; one that begins at a
            # keyframe behind it does not. Who sees fewer frames has to say so.
            assert len(shown) == count or (stream.damage and len(shown) < count)
    except InputError as error:
        assert str(path) in str(error)  # noqa: PT017
        assert "no progress" not in str(error)  # noqa: PT017
        return "refused"
    if cut:
        assert count <= len(expected)
        np.testing.assert_array_equal(images, expected[:count])
    return "whole" if count == len(expected) else "partly"


def damage_everywhere(path: Path, folder: Path, count: int) -> set[str]:
    """Cut the file off and invert a byte at so many places each; what became of it."""
    data = path.read_bytes()
    places = np.linspace(0, len(data) - 1, count).astype(int).tolist()
    with VideoReader(path, resize=(32, 24)) as reader:
        expected = reader.read(range(reader.num_frames))
    target = folder / f"damaged{path.suffix}"
    seen = {check_damaged(target, one, expected, cut=True) for one in cut_off(data, places)}
    return seen | {check_damaged(target, one, expected, cut=False) for one in flipped(data, places)}


REAL_VIDEOS = (
    "videos/demo.mp4",
    "videos/demo_skeleton.mp4",
    "videos/flipping_a_pancake.mkv",
    "videos/lab_phone.avi",
    "videos/makeup.avi",
    "videos/pool_legs.mp4",
    "videos/pool_nobody.mp4",
    "videos/test_video_structuralize.mp4",
    "ucf24/videos/v_Basketball_g01_c02.mp4",
    "ucf24/videos/v_CliffDiving_g03_c01.mp4",
    "ucf24/videos/v_IceDancing_g02_c05.mp4",
    "ucf24/videos/v_SalsaSpin_g03_c01.mp4",
    *(f"jhmdb/original/{name}/*.avi" for name in JHMDB21),
    *(f"jhmdb/videos/{name}/*.mp4" for name in JHMDB21),
)


@pytest.mark.parametrize("place", [REAL_VIDEOS[4], REAL_VIDEOS[-22], REAL_VIDEOS[-1]])
def test_real_files_damaged_at_some_places(real_data: Path, tmp_path: Path, place: str):
    assert "refused" in damage_everywhere(min(real_data.glob(place)), tmp_path, 6)


def test_a_stream_shows_nothing_that_leans_on_damage(real_data: Path, tmp_path: Path):
    # The damaged picture comes after a bidirectional one that was predicted from it.
    whole = real_data / "videos" / "makeup.avi"
    data = whole.read_bytes()
    with VideoReader(whole, resize=(32, 24)) as reader:
        expected = reader.read(range(reader.num_frames))
    for place in np.linspace(0, len(data) - 1, 100).astype(int).tolist()[24:34]:
        path = tmp_path / "makeup.avi"
        check_damaged(path, *flipped(data, [place]), expected, cut=False)


@pytest.mark.soak
@pytest.mark.parametrize("place", REAL_VIDEOS)
def test_real_files_damaged_at_two_hundred_places(real_data: Path, tmp_path: Path, place: str):
    """Every video of the place, cut off and changed at 200 places each."""
    paths = sorted(real_data.glob(place))
    seen = set().union(*(damage_everywhere(path, tmp_path, 200) for path in paths))
    assert "refused" in seen
    # An MP4 whose index lies at its end is no video any more once it is cut off.
    assert "partly" in seen or paths[0].suffix == ".mp4"
