"""VideoReader on generated files of many kinds, whose pictures carry their number."""

import os
import pickle
import sys
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from stad_data.video import VideoReader
from stad_eval import InputError

SIZE = (64, 48)
CELL = 8  # the number is written in the top row of cells, one bit in each


def picture(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Its number as eight black or white cells, above a texture that moves."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    texture = (np.sin((x + 3 * number) / 5) * np.cos((y - 2 * number) / 7) + 1) * 90 + 30
    image = np.stack([texture, texture[::-1], 255 - texture], axis=2).astype(np.uint8)
    for bit in range(8):
        image[:CELL, bit * CELL : (bit + 1) * CELL] = 255 * (number >> bit & 1)
    return image


def numbers_of(images: Iterable[np.ndarray]) -> list[int]:
    """What `picture` wrote."""
    return [
        sum(
            int(image[1 : CELL - 1, bit * CELL + 1 : (bit + 1) * CELL - 1].mean() > 127) << bit
            for bit in range(8)
        )
        for image in images
    ]


def encode(
    path: Path,
    count: int,
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    format: str | None = None,
    rate: Fraction = Fraction(25),
    ticks: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    size: tuple[int, int] = SIZE,
    b_frames: int | None = None,
    gop: int | None = 12,
    rotation: tuple[float, bool] | None = None,
    muxing: dict[str, str] | None = None,
    shift: int = 0,
    aspect: Fraction | None = None,
) -> Path:
    """Write numbered pictures; `ticks` are their timestamps, `shift` moves them while muxing."""
    with av.open(path, "w", format=format, options=muxing or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        context = stream.codec_context
        context.thread_count = 1
        context.time_base = time_base or 1 / rate
        if gop is not None:
            context.gop_size = gop
        if b_frames is not None:
            context.max_b_frames = b_frames
        if aspect is not None:
            context.sample_aspect_ratio = aspect
        if rotation is not None:
            stream.set_display_rotation(rotation[0], hflip=rotation[1])

        def mux(packets: list[av.Packet]) -> None:
            for packet in packets:
                if shift:
                    packet.pts += shift
                    packet.dts += shift
                container.mux(packet)

        for number in range(count):
            frame = av.VideoFrame.from_ndarray(picture(number, size), format="rgb24")
            frame = frame.reformat(format=pix_fmt)
            frame.pts = ticks[number] if ticks else number
            frame.time_base = context.time_base
            mux(stream.encode(frame))
        mux(stream.encode())
    return path


def plainly(path: Path) -> np.ndarray:
    """All frames by PyAV's plain loop."""
    with av.open(path) as container:
        container.streams.video[0].codec_context.thread_count = 1
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


def check_exact(reader: VideoReader, expected: Sequence[int]) -> None:
    """Count, stream, every frame on its own in disorder, and windows all agree."""
    assert reader.num_frames == len(expected)
    streamed = list(reader)
    assert numbers_of(frame.image for frame in streamed) == list(expected)
    assert [frame.index for frame in streamed] == list(range(len(expected)))
    times = [frame.time for frame in streamed]
    np.testing.assert_allclose(times, reader.times)
    assert times[0] == 0
    assert (np.diff(times) > 0).all()
    for index in np.random.default_rng(0).permutation(len(expected)).tolist():
        (image,) = reader.read([index])
        np.testing.assert_array_equal(image, streamed[index].image, err_msg=f"frame {index}")
    for first in range(0, len(expected) - 8, 5):
        window = [first, first + 2, first + 2, first + 7]
        assert numbers_of(reader.read(window)) == [expected[index] for index in window]
    assert [reader.frame_at(time) for time in times] == list(range(len(expected)))


X264 = {"crf": "10", "preset": "veryfast"}
KINDS: dict[str, dict] = {
    "h264.mp4": {"options": X264, "b_frames": 3},
    "h264_plain.mp4": {"options": X264, "b_frames": 0},
    "h264_open_gop.mp4": {
        "options": {**X264, "x264-params": "open-gop=1:keyint=10:b-adapt=0"},
        "b_frames": 3,
        "gop": None,
    },
    "h264_open_gop.mkv": {
        "options": {**X264, "x264-params": "open-gop=1:keyint=10:b-adapt=0"},
        "b_frames": 3,
        "gop": None,
    },
    "h264_refresh.mp4": {"options": {**X264, "intra-refresh": "1"}, "b_frames": 0},
    "h264_pyramid.mkv": {"options": {**X264, "x264-params": "b-pyramid=normal"}, "b_frames": 4},
    "h264_fragmented.mp4": {
        "options": X264,
        "b_frames": 2,
        "muxing": {"movflags": "frag_keyframe+empty_moov"},
    },
    "h264.ts": {"options": X264, "b_frames": 2},
    "h264_refresh.ts": {"options": {**X264, "intra-refresh": "1"}, "b_frames": 0},
    "h264.avi": {"options": X264, "b_frames": 2},
    "h264.flv": {"options": X264, "b_frames": 2},
    "raw.h264": {"options": X264, "b_frames": 2},
    "hevc.mp4": {
        "codec": "libx265",
        "options": {"crf": "10", "preset": "ultrafast", "x265-params": "log-level=none:keyint=12"},
        "b_frames": 3,
    },
    "mpeg4.avi": {"codec": "mpeg4", "b_frames": 2, "options": {"qmin": "2", "qmax": "3"}},
    "mpeg4.mp4": {"codec": "mpeg4", "b_frames": 2, "options": {"qmin": "2", "qmax": "3"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "b_frames": 2, "options": {"qmin": "2", "qmax": "3"}},
    "mpeg2.ts": {"codec": "mpeg2video", "b_frames": 2, "options": {"qmin": "2", "qmax": "3"}},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p", "options": {"qmin": "2", "qmax": "3"}},
    "vp8.webm": {
        "codec": "libvpx",
        "options": {"auto-alt-ref": "1", "lag-in-frames": "12", "cpu-used": "8", "b": "2M"},
    },
    "vp9.webm": {
        "codec": "libvpx-vp9",
        "options": {"auto-alt-ref": "1", "lag-in-frames": "12", "cpu-used": "8", "b": "2M"},
    },
    "ffv1.mkv": {"codec": "ffv1", "pix_fmt": "yuv444p"},
    "h264_10bit.mp4": {"options": X264, "pix_fmt": "yuv422p10le"},
    "grey.mp4": {"options": X264, "pix_fmt": "gray"},
    "odd.mkv": {"codec": "ffv1", "pix_fmt": "yuv420p", "size": (67, 49)},
    "alpha.mov": {"codec": "png", "pix_fmt": "rgba"},
    "gif.gif": {"codec": "gif", "pix_fmt": "rgb8", "rate": Fraction(20)},
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", KINDS)
def test_every_frame_of_every_kind(name: str, tmp_path: Path):
    count = 40
    path = encode(tmp_path / name, count, **KINDS[name])
    with VideoReader(path) as reader:
        assert reader.size == KINDS[name].get("size", SIZE)
        check_exact(reader, range(count))
        np.testing.assert_array_equal(reader.read(range(count)), plainly(path))


# --- other backends -----------------------------------------------------------------------------

BACKENDS = {"decord": "decord", "torchcodec": "torchcodec.decoders"}
# What each of them has to read, byte for byte as the default backend does; the rest it may refuse.
EXACT = {
    "decord": {
        "h264.mp4", "h264_plain.mp4", "h264_pyramid.mkv", "h264_fragmented.mp4", "vp9.webm",
        "ffv1.mkv", "grey.mp4", "variable.mp4", "variable.mkv", "late.mp4", "one.mp4",
    },
    "torchcodec": {
        "h264.mp4", "h264_plain.mp4", "h264_pyramid.mkv", "h264_fragmented.mp4", "vp9.webm",
        "ffv1.mkv", "grey.mp4", "variable.mp4", "variable.mkv", "late.mp4", "one.mp4",
        "hevc.mp4", "mpeg4.mp4", "cut.mp4",
    },
}  # fmt: skip
STEPS = [0, 1, 1, 10, 2, 2, 2, 50, 1, 1, 1, 1, 7, 7, 7, 30]
VARIABLE = {
    "options": X264,
    "b_frames": 2,
    "ticks": np.cumsum(STEPS).tolist(),
    "time_base": Fraction(1, 100),
}
EDGES: dict[str, tuple[int, dict]] = {
    "variable.mp4": (len(STEPS), VARIABLE),
    "variable.mkv": (len(STEPS), VARIABLE),
    "late.mp4": (30, {"options": X264, "b_frames": 2, "shift": 12_345}),
    "one.mp4": (1, {"options": X264}),
    "turned.mp4": (6, {"options": X264, "rotation": (90, False)}),
    "fast.mkv": (40, {"options": X264, "b_frames": 0, "rate": Fraction(2500)}),
    "cut.mp4": (
        40,
        {
            "options": {**X264, "x264-params": "scenecut=0"},
            "b_frames": 2,
            "shift": -7,
            "muxing": {"avoid_negative_ts": "disabled"},
        },
    ),
}


@pytest.fixture(params=BACKENDS)
def backend(request, skip_without) -> str:
    """An extra backend; the test is skipped where it is not installed or cannot be loaded."""
    skip_without(request.param)
    return request.param


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", [*KINDS, *EDGES])
def test_another_backend_is_exact_or_refuses(name: str, backend: str, tmp_path: Path):
    count, options = EDGES.get(name) or (40, KINDS[name])
    path = encode(tmp_path / name, count, **options)
    with VideoReader(path) as reader:
        expected = reader.read(range(reader.num_frames))
        times = reader.times
    try:
        reader = VideoReader(path, backend=backend)
    except InputError:
        with pytest.raises(InputError, match=f"{backend} would not read this video exactly.*pyav"):
            VideoReader(path, backend=backend)
        assert name not in EXACT[backend]
        return
    with reader:
        assert reader.num_frames == len(expected)
        np.testing.assert_array_equal(reader.times, times)
        np.testing.assert_array_equal([frame.image for frame in reader], expected)
        for index in np.random.default_rng(0).permutation(len(expected)).tolist():
            np.testing.assert_array_equal(reader.read([index])[0], expected[index])
        window = [0, len(expected) // 2, len(expected) // 2, len(expected) - 1]
        np.testing.assert_array_equal(reader.read(window), expected[window])
        copy = pickle.loads(pickle.dumps(reader))
        np.testing.assert_array_equal(copy.read([0]), expected[:1])
        copy.close()


def with_sound(path: Path, to: Path, seconds: int) -> Path:
    """The same video beside a soundtrack of so many seconds."""
    with av.open(path) as source, av.open(to, "w") as target:
        video = target.add_stream_from_template(source.streams.video[0])
        sound = target.add_stream("aac", rate=16_000)
        sound.layout = "mono"
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = video
                target.mux(packet)
        for _ in range(16 * seconds):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1000), np.float32), "fltp", "mono")
            frame.sample_rate = 16_000
            target.mux(sound.encode(frame))
        target.mux(sound.encode())
    return to


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_sound_that_goes_on_after_the_video(suffix: str, sixty: Path, tmp_path: Path):
    path = with_sound(sixty, tmp_path / f"sound.{suffix}", 9)
    with VideoReader(path) as reader:
        check_exact(reader, range(60))
        assert reader.frame_at(8) == 59


def test_another_backend_hears_no_sound(backend: str, sixty: Path, tmp_path: Path):
    path = with_sound(sixty, tmp_path / "sound.mp4", 9)
    with VideoReader(path, backend=backend) as reader:
        assert reader.num_frames == 60
        assert numbers_of(reader.read([59, 3])) == [59, 3]


def test_another_backend_scales_and_survives_a_fork(backend: str, sixty: Path):
    with VideoReader(sixty, resize=(32, 24), backend=backend) as reader:
        mean = VideoReader(sixty).read([5, 30]).reshape(2, 24, 2, 32, 2, 3).mean(axis=(2, 4))
        assert np.abs(reader.read([5, 30]) - mean).max() <= 2
        child = os.fork()
        if child == 0:
            right = reader.read([7]).shape == (1, 24, 32, 3)
            os._exit(0 if right else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


class FakeDecord:
    """Stands for decord's reader where decord is not installed; decodes by PyAV."""

    def __init__(self, path: str, *, num_threads: int) -> None:
        self.reader = VideoReader(path, threads=num_threads)

    def __len__(self) -> int:
        return self.reader.num_frames

    def get_frame_timestamp(self, ranks: list[int]) -> np.ndarray:
        return np.stack([self.reader.times[ranks] + 3, self.reader.times[ranks] + 4], axis=1)

    def get_batch(self, ranks: list[int]) -> np.ndarray:
        return self.reader.read(ranks)


class OneTooMany(FakeDecord):
    def __len__(self) -> int:
        return self.reader.num_frames + 1

    def get_frame_timestamp(self, ranks: list[int]) -> np.ndarray:
        return np.arange(2.0 * len(ranks)).reshape(-1, 2)


class OneLate(FakeDecord):
    def get_frame_timestamp(self, ranks: list[int]) -> np.ndarray:
        times = super().get_frame_timestamp(ranks)
        times[40] += 0.03
        return times


class Failing(FakeDecord):
    def get_batch(self, ranks: list[int]) -> np.ndarray:
        raise RuntimeError("\n  out of luck\nfile.cc:12")


class Unopened(FakeDecord):
    def __init__(self, path: str, *, num_threads: int) -> None:
        raise RuntimeError("cannot open")


@pytest.fixture
def fake_decord(monkeypatch):
    """Puts a reader in decord's place."""

    def put(reader: type) -> None:
        monkeypatch.setitem(sys.modules, "decord", SimpleNamespace(VideoReader=reader))

    return put


def test_what_a_backend_decodes_comes_through(fake_decord, sixty: Path):
    fake_decord(FakeDecord)
    with VideoReader(sixty, backend="decord") as reader, VideoReader(sixty) as default:
        assert (reader.num_frames, reader.fps, reader.size) == (60, 25.0, SIZE)
        wanted = [59, 0, 0, 33]
        np.testing.assert_array_equal(reader.read(wanted), default.read(wanted))
        assert [frame.index for frame in reader] == list(range(60))
        assert reader.read([]).shape == (0, 48, 64, 3)
        reader.release()
        copy = pickle.loads(pickle.dumps(reader))
        assert numbers_of(copy.read([12])) == numbers_of(reader.read([12])) == [12]
        with pytest.raises(InputError, match="below 60"):
            reader.read([60])
    with VideoReader(sixty, backend="decord", short_side=12) as reader:
        assert reader.read([3]).shape == (1, 12, 16, 3)


@pytest.mark.parametrize(
    ("reader", "message"),
    [
        (OneTooMany, "counts 61 frames where there are 60"),
        (OneLate, r"misplaces frame 40 by 0\.030 s"),
        (Failing, "fails on it .out of luck"),
        (Unopened, "cannot open it .cannot open"),
    ],
)
def test_a_backend_that_disagrees_is_refused(reader, message: str, fake_decord, sixty: Path):
    fake_decord(reader)
    with pytest.raises(InputError, match=rf"(?s)would not read.*{message}.*pyav"):
        VideoReader(sixty, backend="decord").read([3])


@pytest.mark.parametrize("name", BACKENDS)
def test_a_backend_that_is_not_installed(name: str, sixty: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, BACKENDS[name], None)
    with pytest.raises(InputError, match=rf"{name} cannot be loaded.*stad-data\[{name}\].*pyav"):
        VideoReader(sixty, backend=name)


def test_torchcodec_without_ffmpeg(sixty: Path, monkeypatch):
    def refuse(_name: str) -> None:
        raise RuntimeError("Could not load libtorchcodec")

    monkeypatch.setattr("stad_data.video_torchcodec.import_module", refuse)
    with pytest.raises(InputError, match=r"torchcodec cannot be loaded.*libtorchcodec"):
        VideoReader(sixty, backend="torchcodec")


# --- timelines --------------------------------------------------------------------------------


def test_variable_frame_rate(tmp_path: Path):
    ticks = np.cumsum([0, 1, 1, 10, 2, 2, 2, 50, 1, 1, 1, 1, 7, 7, 7, 30]).tolist()
    path = encode(
        tmp_path / "v.mkv", len(ticks), options=X264, b_frames=2, ticks=ticks,
        time_base=Fraction(1, 100),
    )  # fmt: skip
    with VideoReader(path) as reader:
        check_exact(reader, range(len(ticks)))
        np.testing.assert_allclose(reader.times, np.array(ticks) / 100, atol=1e-3)
        assert reader.frame_at(0.11) == 2
        assert reader.frame_at(0.129) == 3
        assert reader.frame_at(-5) == 0
        assert reader.frame_at(1e9) == len(ticks) - 1


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_timestamps_need_not_begin_at_zero(name: str, tmp_path: Path):
    path = encode(tmp_path / name, 30, options=X264, b_frames=2, shift=12_345)
    with VideoReader(path) as reader:
        check_exact(reader, range(30))


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("cut", [7, 12, 25])
def test_an_edit_list_hides_the_frames_before_it(cut: int, b_frames: int, tmp_path: Path):
    # Negative timestamps make the muxer write an edit list that starts in mid-group.
    rate = Fraction(25)
    path = encode(
        tmp_path / "cut.mp4", 40, options={**X264, "x264-params": "scenecut=0"},
        b_frames=b_frames, rate=rate, shift=-cut, muxing={"avoid_negative_ts": "disabled"},
    )  # fmt: skip
    with av.open(path) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    assert any(packet.is_discard for packet in packets) or len(packets) < 40
    with VideoReader(path) as reader:
        first = numbers_of([next(iter(reader)).image])[0]
        assert abs(first - cut) <= b_frames
        check_exact(reader, range(first, 40))


def test_repeated_timestamps_do_not_merge_frames(tmp_path: Path):
    # Matroska rounds to 1 ms: at 2500 frames per second two or three frames share a timestamp.
    path = encode(tmp_path / "fast.mkv", 40, options=X264, b_frames=0, rate=Fraction(2500))
    with av.open(path) as container:
        stamps = [packet.pts for packet in container.demux(video=0) if packet.size]
    assert len(set(stamps)) < len(stamps)
    with VideoReader(path) as reader:
        check_exact(reader, range(40))


def test_a_recording_that_begins_in_mid_group(tmp_path: Path):
    whole = encode(
        tmp_path / "whole.ts", 40, options={**X264, "x264-params": "open-gop=1:keyint=10"},
        b_frames=2, gop=None,
    )  # fmt: skip
    data = whole.read_bytes()
    cut = tmp_path / "cut.ts"
    cut.write_bytes(data[: 3 * 188] + data[len(data) // 2 // 188 * 188 :])
    with VideoReader(cut) as reader:
        numbers = numbers_of(frame.image for frame in reader)
        assert 5 <= len(numbers) < 30
        assert numbers == list(range(numbers[0], 40))
        check_exact(reader, numbers)


# --- orientation and scale --------------------------------------------------------------------


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_rotation_and_mirroring(degrees: int, mirrored: bool, tmp_path: Path):
    path = encode(tmp_path / "r.mp4", 5, options=X264, b_frames=0, rotation=(degrees, mirrored))
    upright = encode(tmp_path / "u.mp4", 5, options=X264, b_frames=0)
    with VideoReader(upright) as reader:
        plain = reader.read(range(5))
    with VideoReader(path) as reader, av.open(path) as container:
        turn = next(container.decode(video=0)).rotation  # counterclockwise, by FFmpeg
        assert reader.size == (SIZE if degrees % 180 == 0 else SIZE[::-1])
        shown = reader.read(range(5))
        np.testing.assert_array_equal(shown, np.stack([f.image for f in reader]))
    if mirrored:
        candidates = [np.rot90(plain[:, :, ::-1], k, axes=(1, 2)) for k in range(4)]
        assert sum(np.array_equal(shown, other) for other in candidates) == 1
    else:
        np.testing.assert_array_equal(shown, np.rot90(plain, round(turn / 90), axes=(1, 2)))


def test_resize_takes_the_mean_of_each_area(tmp_path: Path):
    path = encode(tmp_path / "a.mov", 3, codec="png", pix_fmt="rgb24")
    with VideoReader(path, resize=(32, 24)) as small, VideoReader(path) as full:
        assert small.size == (32, 24)
        assert small.source_size == SIZE
        mean = full.read([1]).reshape(1, 24, 2, 32, 2, 3).mean(axis=(2, 4))
        assert np.abs(small.read([1]) - mean).max() <= 2
    with VideoReader(path, short_side=12) as small:
        assert small.size == (16, 12)
        assert small.read([0, 2]).shape == (2, 12, 16, 3)
    with VideoReader(path, short_side=100) as same:
        assert same.size == SIZE


def test_pixels_that_are_not_square_stay_as_stored(tmp_path: Path):
    path = tmp_path / "wide.mp4"
    encode(path, 3, options=X264, aspect=Fraction(4, 3))
    with av.open(path) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
    with VideoReader(path) as reader:
        assert reader.size == SIZE


def test_colours_survive(tmp_path: Path):
    path = tmp_path / "colours.mov"
    encode(path, 2, codec="png", pix_fmt="rgb24")
    with VideoReader(path) as reader:
        np.testing.assert_array_equal(reader.read([0, 1]), [picture(0), picture(1)])


# --- reading ----------------------------------------------------------------------------------


@pytest.fixture
def sixty(tmp_path: Path) -> Path:
    """Sixty frames with B-frames, a keyframe every 12."""
    return encode(tmp_path / "sixty.mp4", 60, options=X264, b_frames=2)


def test_indices_in_any_order_with_repeats(sixty: Path):
    with VideoReader(sixty) as reader:
        wanted = [59, 0, 0, 33, 12, 11, 13, 59]
        assert numbers_of(reader.read(wanted)) == wanted
        assert numbers_of(reader.read(np.array([5, 4]))) == [5, 4]
        assert reader.read([]).shape == (0, *SIZE[::-1], 3)


@pytest.mark.parametrize("index", [-1, 60, 10**12])
def test_an_index_out_of_range_is_refused(index: int, sixty: Path):
    with VideoReader(sixty) as reader:
        with pytest.raises(InputError, match=f"sixty.mp4.*below 60.*{index}"):
            reader.read([0, index])
        assert numbers_of(reader.read([3])) == [3]


def test_an_index_that_is_no_integer_is_refused(sixty: Path):
    with VideoReader(sixty) as reader, pytest.raises(TypeError):
        reader.read([1.5])


def test_one_frame(tmp_path: Path):
    path = encode(tmp_path / "one.mp4", 1, options=X264)
    with VideoReader(path) as reader:
        assert numbers_of(reader.read([0, 0])) == [0, 0]
        check_exact(reader, [0])


def decoded_by(reader: VideoReader, monkeypatch) -> list[int]:
    """Fills with the frames that come out of the decoder."""
    seen: list[int] = []
    advance = reader._frames._advance

    def counted():
        rank, picture = advance()
        seen.append(rank)
        return rank, picture

    monkeypatch.setattr(reader._frames, "_advance", counted)
    return seen


def test_successive_windows_decode_each_frame_about_once(sixty: Path, monkeypatch):
    with VideoReader(sixty) as reader:
        assert reader.num_frames == 60
        seen = decoded_by(reader, monkeypatch)
        for centre in range(8, 52):
            window = list(range(centre - 8, centre + 8, 2))
            assert numbers_of(reader.read(window)) == window
    # The first window keeps nothing, the second one leaves out what it does not need, and the third
    # asks for just that.
    assert len(seen) <= 62 + 2 * 16


def test_reads_far_apart_keep_no_pictures(tmp_path: Path):
    path = encode(tmp_path / "long.mp4", 400, gop=20, options={"preset": "ultrafast"})
    with VideoReader(path) as reader:
        for first in (0, 390, 60, 300):
            expected = list(range(first, first + 8, 2))
            assert numbers_of(reader.read(expected)) == [number % 256 for number in expected]
            assert len(reader._frames._kept) <= 1
        assert numbers_of(reader.read([305, 299])) == [305 % 256, 299 % 256]
        assert len(reader._frames._kept) > 1


def test_what_is_not_asked_for_is_left_out_where_nothing_needs_it(tmp_path: Path, monkeypatch):
    path = encode(
        tmp_path / "b.mp4", 60, b_frames=3, gop=60,
        options={**X264, "x264-params": "b-adapt=0:b-pyramid=0:scenecut=0"},
    )  # fmt: skip
    with VideoReader(path) as reader:
        assert reader.num_frames == 60
        seen = decoded_by(reader, monkeypatch)
        assert numbers_of(reader.read([41, 47])) == [41, 47]
    assert set(seen) == {*range(0, 48, 4), 41, 47}


def test_leaving_out_ends_when_it_goes_wrong(sixty: Path, monkeypatch):
    # A decoder that drops what was asked for is asked again for everything.
    with VideoReader(sixty) as reader:
        monkeypatch.setattr(reader._frames, "_needed", lambda _: not reader._frames._skips)
        assert numbers_of(reader.read([13, 14, 15, 29])) == [13, 14, 15, 29]
        assert reader._frames._skips is False
        assert not reader.timeline.proven


def test_reading_and_streaming_do_not_disturb_each_other(sixty: Path):
    with VideoReader(sixty) as reader:
        for frame in reader:
            if frame.index % 7 == 0:
                other = (frame.index * 31) % 60
                assert numbers_of(reader.read([other])) == [other]
            assert numbers_of([frame.image]) == [frame.index]


def test_a_pickled_reader_opens_again(sixty: Path):
    with VideoReader(sixty) as reader:
        expected = reader.read([40, 41])
        copy = pickle.loads(pickle.dumps(reader))
        np.testing.assert_array_equal(copy.read([40, 41]), expected)
        assert copy.num_frames == 60
        copy.close()


def test_a_forked_child_does_not_disturb_its_parent(sixty: Path):
    with VideoReader(sixty, threads=2) as reader:
        reader.read([30])
        child = os.fork()
        if child == 0:
            try:
                right = numbers_of(reader.read([50, 10])) == [50, 10]
                reader.close()
            except BaseException:
                right = False
            os._exit(0 if right else 1)
        assert numbers_of(reader.read([31, 32, 5])) == [31, 32, 5]
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_closed_reader_says_so(sixty: Path):
    reader = VideoReader(sixty)
    reader.close()
    reader.close()
    with pytest.raises(ValueError, match="closed"):
        reader.read([0])


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_files_are_closed(sixty: Path):
    before = open_files()
    readers = [VideoReader(sixty) for _ in range(3)]
    for reader in readers:
        next(iter(reader))
        reader.read([5])
        reader.release()
    assert open_files() == before
    readers[0].read([1])
    readers[1].close()
    del readers, reader
    assert open_files() == before


def test_memory_stays_flat_over_many_opens(sixty: Path):
    def rounds(count: int) -> None:
        for _ in range(count):
            with VideoReader(sixty) as reader:
                reader.read([3, 20])
            with pytest.raises(InputError):
                VideoReader(sixty.with_name("none.mp4"))

    rounds(40)
    before = resident_bytes()
    rounds(200)
    grown = resident_bytes() - before
    assert grown < 8 * 2**20, f"{grown} bytes more after 200 opens"


@pytest.mark.slow
def test_memory_stays_flat_over_ten_thousand_opens(sixty: Path):
    peak: list[int] = []
    files = open_files()
    for number in range(10_000):
        with VideoReader(sixty) as reader:
            reader.read([number % 60])
        if number % 1000 == 999:
            peak.append(resident_bytes())
    # PyAV 18 itself loses 160 bytes for each file that it demuxes.
    assert max(peak) - peak[0] < 8 * 2**20, peak
    assert open_files() == files


def test_a_long_stream_keeps_few_pictures(tmp_path: Path):
    size = (320, 240)
    path = encode(
        tmp_path / "long.mp4", 200, size=size, gop=250,
        options={"crf": "40", "preset": "ultrafast"},
    )  # fmt: skip
    with VideoReader(path) as reader:
        reader.read([150])
        assert len(reader._frames._kept) == 1
        reader.read([149])
        assert len(reader._frames._kept) == 128
        before = resident_bytes()
        grown = [resident_bytes() - before for _ in reader]
    assert len(grown) == 200
    assert max(grown) < 12 * 2**20, f"{max(grown)} bytes more for 44 MiB of frames"


@pytest.mark.parametrize(
    "wrong",
    [
        {"threads": -1},
        {"resize": (0, 5)},
        {"resize": (5, 5), "short_side": 5},
        {"short_side": 0},
        {"on_damage": "ignore"},
        {"backend": "opencv"},
        {"timeout": 0},
        {"timeout": float("nan")},
        {"fps": 25},
    ],
)
def test_wrong_options(wrong: dict, sixty: Path):
    with pytest.raises(ValueError, match=r"expected|found"):
        VideoReader(sixty, **wrong)
