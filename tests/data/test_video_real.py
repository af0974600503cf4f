"""VideoReader on published videos: exact frames and true counts."""

import pickle
from pathlib import Path

import av
import numpy as np
import pytest

from stad_data.video import VideoReader
from stad_eval import InputError


def decoded_plainly(path: Path, *, resize: tuple[int, int] | None = None) -> np.ndarray:
    """All frames by PyAV's plain loop, [N, H, W, 3]."""
    reformatter = av.video.reformatter.VideoReformatter()
    with av.open(path) as container:
        container.streams.video[0].codec_context.thread_count = 1
        return np.stack(
            [
                frame.to_ndarray(format="rgb24")
                if resize is None
                else reformatter.reformat(
                    frame, *resize, "rgb24", interpolation="AREA", threads=1
                ).to_ndarray()
                for frame in container.decode(video=0)
            ]
        )


def check_against_sequential_decoding(path: Path, *, tries: int = 25) -> int:
    """Compare every frame, streamed and at random, with PyAV's plain loop; gives their number."""
    resize = (64, 48)
    expected = decoded_plainly(path, resize=resize)
    with VideoReader(path, resize=resize) as reader:
        assert reader.num_frames == len(expected)
        assert reader.damage is None
        for frame, image in zip(reader, expected, strict=True):
            np.testing.assert_array_equal(frame.image, image)
        some = np.random.default_rng(0).permutation(len(expected))[:tries].tolist()
        for index in some:
            np.testing.assert_array_equal(reader.read([index])[0], expected[index])
    return len(expected)


def small_videos(real_data: Path) -> list[Path]:
    """Some of each kind."""
    return [
        *sorted((real_data / "jhmdb" / "original").glob("*/*.avi"))[::5],
        *sorted((real_data / "jhmdb" / "videos").glob("*/*.mp4"))[::100],
        real_data / "videos" / "pool_nobody.mp4",
        real_data / "videos" / "flipping_a_pancake.mkv",
    ]


def all_videos(real_data: Path) -> list[Path]:
    """Every real video but JHMDB's copies, and each fortieth of those."""
    return [
        *sorted((real_data / "jhmdb" / "original").glob("*/*.avi")),
        *sorted((real_data / "jhmdb" / "videos").glob("*/*.mp4"))[::40],
        *sorted((real_data / "ucf24" / "videos").iterdir()),
        *sorted((real_data / "videos").iterdir()),
    ]


@pytest.fixture(params=["pyav", "decord", "torchcodec"])
def backend(request, skip_without) -> str:
    """Each backend; the test is skipped where it is not installed or cannot be loaded."""
    if request.param != "pyav":
        skip_without(request.param)
    return request.param


def check_backend(path: Path, backend: str) -> bool:
    """Compare all frames at full size in disordered blocks; False where the backend refuses."""
    try:
        reader = VideoReader(path, backend=backend)
    except InputError as refusal:
        assert backend != "pyav", refusal  # noqa: PT017
        return False
    expected = decoded_plainly(path)
    with reader:
        assert reader.num_frames == len(expected)
        blocks = np.array_split(np.arange(len(expected)), max(1, len(expected) // 12))
        for block in np.random.default_rng(0).permutation(len(blocks)).tolist():
            np.testing.assert_array_equal(reader.read(blocks[block]), expected[blocks[block]])
        np.testing.assert_array_equal(reader.read(range(0, len(expected), 7)), expected[::7])
    return True


def test_small_videos_by_every_backend(backend: str, real_data: Path):
    read = [path.suffix for path in small_videos(real_data) if check_backend(path, backend)]
    # Only PyAV knows what AVI files hold.
    assert read.count(".mp4") == 11
    assert read.count(".mkv") == 1
    assert read.count(".avi") == (5 if backend == "pyav" else 0)


@pytest.mark.slow
def test_all_videos_by_every_backend(backend: str, real_data: Path):
    paths = all_videos(real_data)
    read = [path for path in paths if check_backend(path, backend)]
    if backend == "pyav":
        assert read == paths
    else:
        assert len(read) >= 24 + 5


def test_videos_with_people(real_data: Path):
    counts = {
        path.name: check_against_sequential_decoding(path, tries=6)
        for path in sorted((real_data / "videos").iterdir())
    }
    assert counts == {
        "demo.mp4": 280,
        "demo_skeleton.mp4": 72,
        "flipping_a_pancake.mkv": 310,
        "lab_phone.avi": 103,
        "makeup.avi": 164,
        "pool_legs.mp4": 300,
        "pool_nobody.mp4": 32,
        "test_video_structuralize.mp4": 300,
    }


def test_ucf24_counts_are_those_of_the_annotations(real_data: Path):
    facts = pickle.loads((real_data / "ucf24" / "pyannot.pkl").read_bytes())
    counts = {str(key).rpartition("/")[2]: int(entry["numf"]) for key, entry in facts.items()}
    paths = sorted((real_data / "ucf24" / "videos").iterdir())
    assert len(paths) == 4
    for path in paths:
        assert check_against_sequential_decoding(path) == counts[path.stem]
        with VideoReader(path) as reader:
            assert reader.size == (340, 256)


def test_jhmdb_originals_are_longer_on_paper(real_data: Path):
    paths = sorted((real_data / "jhmdb" / "original").glob("*/*.avi"))
    assert len(paths) == 21
    exaggerated = 0
    for path in paths:
        count = check_against_sequential_decoding(path, tries=40)
        with av.open(path) as container:
            exaggerated += container.streams.video[0].frames > count
        copy = real_data / "jhmdb" / "videos" / path.parent.name / f"{path.stem}.mp4"
        with VideoReader(copy) as reader:
            assert reader.num_frames == count
    assert exaggerated == 21


def test_a_sample_of_jhmdb(real_data: Path):
    paths = sorted((real_data / "jhmdb" / "videos").glob("*/*.mp4"))
    assert len(paths) == 928
    for path in paths[::40]:
        assert 15 <= check_against_sequential_decoding(path, tries=40) <= 40


@pytest.mark.slow
def test_every_jhmdb_clip_decodes_to_its_end(real_data: Path):
    total = 0
    for path in sorted((real_data / "jhmdb" / "videos").glob("*/*.mp4")):
        with VideoReader(path, short_side=24) as reader:
            streamed = sum(1 for _ in reader)
            assert streamed == reader.num_frames
            assert reader.size == (32, 24)
        total += streamed
    assert total == 31_838
