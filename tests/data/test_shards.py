"""Shards: clips from them equal clips from the images in them; damage is noticed, runs resume."""

import importlib.util
import io
import json
import os
import pickle
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stad_data import VideoAnnotation, VideoReader, clips
from stad_data.shard_frames import open_shards
from stad_data.shard_plan import plan
from stad_data.shards import ShardSettings, fill
from stad_data.video_image_files import JpegEncoder
from stad_eval import InputError

SMALL = ShardSettings(frames_per_shard=10, frames_per_sample=4)
NAMES = ("walk/a.b", "ü/c", "run")


def annotated(path: Path, name: str, frames: int) -> VideoAnnotation:
    return VideoAnnotation(
        video=name, path=path, num_frames=frames, size=(64, 48), fps=5, tracks=(),
        keyframes=np.arange(frames),
    )  # fmt: skip


@pytest.fixture
def videos(put_video, tmp_path: Path) -> list[VideoAnnotation]:
    """Three videos of 12, 13 and 14 frames."""
    return [
        annotated(put_video(tmp_path / "v" / f"{n}.mp4", number=n, frames=12 + n), name, 12 + n)
        for n, name in enumerate(NAMES)
    ]


@pytest.fixture
def folder(videos, tmp_path: Path) -> Path:
    fill(videos, tmp_path / "shards", SMALL)
    return tmp_path / "shards"


def members(folder: Path) -> dict[str, bytes]:
    found = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            found |= {entry.name: tar.extractfile(entry).read() for entry in tar}
    return found


def unpacked(folder: Path, target: Path, video: str) -> Path:
    """The images of a video as a folder of frames."""
    target.mkdir()
    for name, data in members(folder).items():
        if name.startswith(f"{video}/") and name.endswith(".jpg"):
            (target / f"{name.split('.')[-2]}.jpg").write_bytes(data)
    return target


def test_clips_from_shards_equal_clips_from_their_images(videos, folder, tmp_path):
    sources = open_shards(folder)
    assert tuple(sources) == NAMES
    for video in videos:
        source = sources[video.video]
        images = unpacked(folder, tmp_path / f"images{video.num_frames}", video.video)
        with VideoReader(images) as reader:
            assert (source.num_frames, source.size) == (reader.num_frames, reader.size)
            for indices in ([0], range(video.num_frames), [11, 3, 3, 9], np.array([8]), []):
                np.testing.assert_array_equal(source.read(indices), reader.read(indices))
            for frame in (0, 5, video.num_frames - 1):
                given, expected = (
                    clips.centred(video, frame, length=6, stride=2, source=each)
                    for each in (source, reader)
                )
                np.testing.assert_array_equal(given.frames, expected.frames)
        with VideoReader(video.path) as reader:
            off = source.read(range(12)).astype(int) - reader.read(range(12))
            assert np.abs(off).mean() < 6  # hard edges between colours
    with pytest.raises(InputError, match=r"below 12.*found 12"):
        sources["walk/a.b"].read([0, 12])


def test_shards_are_tar_files_of_bounded_samples(videos, folder):
    assert sorted(path.name for path in folder.iterdir()) == [
        "frames.index", "shard-000000.tar", "shard-000001.tar", "shard-000002.tar",
        "shard-000003.tar",
    ]  # fmt: skip
    found = members(folder)
    images = [name for name in found if name.endswith(".jpg")]
    assert len(images) == 12 + 13 + 14
    with tarfile.open(folder / "shard-000001.tar") as tar:
        names = tar.getnames()
    assert sum(name.endswith(".jpg") for name in names) == 10
    assert names[:4] == [
        "walk/a.b/000010.json", "walk/a.b/000010.000010.jpg", "walk/a.b/000010.000011.jpg",
        "ü/c/000000.json",
    ]  # fmt: skip
    sample = json.loads(found["ü/c/000000.json"])
    assert (sample["video"], sample["first"], sample["frames"]) == ("ü/c", 0, 4)
    assert (sample["num_frames"], sample["image_size"]) == (13, [64, 48])
    assert found["ü/c/000000.000002.jpg"].startswith(b"\xff\xd8\xff")


def test_other_decoders_read_the_images(videos, folder):
    """Colours are marked and meant as JPEG's own: full range, BT.601."""
    image = pytest.importorskip("PIL.Image")
    source = open_shards(folder)["run"]
    found = members(folder)["run/000000.000000.jpg"]
    picture = np.asarray(image.open(io.BytesIO(found)).convert("RGB")).astype(int)
    # In the middle of the patches: at their edges decoders interpolate chroma each in its own way.
    off = np.abs(picture - source.read([0])[0])[3::8, 3::8]
    assert off.max() <= 8
    assert off.mean() < 2


WEBDATASET = """
import json, sys
import webdataset
samples = list(webdataset.WebDataset(sys.argv[1:], shardshuffle=False).decode())
print(json.dumps([[s["__key__"], s["json"]["first"], sorted(s)] for s in samples]))
"""


def test_webdataset_reads_them(videos, folder):
    """In a process of its own: it leaves files open."""
    if importlib.util.find_spec("webdataset") is None:
        pytest.skip("webdataset is not installed")
    urls = [str(path) for path in sorted(folder.glob("*.tar"))]
    run = subprocess.run(
        [sys.executable, "-c", WEBDATASET, *urls], check=True, capture_output=True, text=True
    )
    found = json.loads(run.stdout)
    samples = [sample for shard in plan(videos, SMALL) for sample in shard]
    assert [key for key, _, _ in found] == [sample.key for sample in samples]
    for sample, (_, first, parts) in zip(samples, found, strict=True):
        assert first == sample.first
        assert [part for part in parts if part.endswith("jpg")] == [
            f"{frame:06d}.jpg" for frame in range(sample.first, sample.stop)
        ]


@pytest.mark.parametrize(
    ("settings", "size"),
    [(ShardSettings(size=(32, 20)), (32, 20)), (ShardSettings(short_side=24), (32, 24))],
    ids=["size", "short side"],
)
def test_images_of_another_size(videos, tmp_path, settings, size):
    fill(videos[:1], tmp_path / "s", settings)
    source = open_shards(tmp_path / "s")["walk/a.b"]
    assert source.size == size
    assert source.read([3]).shape == (1, size[1], size[0], 3)
    with VideoReader(videos[0].path, resize=size) as reader:
        assert np.abs(source.read([3]).astype(int) - reader.read([3])).mean() < 15


def test_quality_is_a_trade(videos, tmp_path):
    sizes, losses = [], []
    with VideoReader(videos[0].path) as reader:
        frames = reader.read(range(12)).astype(int)
    for quality in (2, 8, 31):
        target = tmp_path / str(quality)
        fill(videos[:1], target, ShardSettings(quality=quality))
        sizes.append(sum(len(data) for data in members(target).values()))
        losses.append(np.abs(open_shards(target)["walk/a.b"].read(range(12)) - frames).mean())
    assert sizes == sorted(sizes, reverse=True)
    assert losses == sorted(losses)


def test_an_image_does_not_depend_on_those_before_it():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (3, 48, 64, 3), dtype=np.uint8)
    encoder = JpegEncoder((64, 48), quality=5)
    once = [encoder.encode(image) for image in images]
    assert [JpegEncoder((64, 48), quality=5).encode(image) for image in images] == once
    with pytest.raises(InputError, match=r"2 \(best\) to 31"):
        JpegEncoder((64, 48), quality=1)


def test_a_run_goes_on_where_it_was(videos, folder):
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    times = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.tar")}
    seen = []
    assert fill(videos, folder, SMALL, workers=2, seen=seen.append) == 0
    assert seen == [10, 10, 10, 9]
    (folder / "shard-000002.tar").unlink()
    (folder / "frames.index").unlink()
    assert fill(videos, folder, SMALL, workers=2) == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole
    for name in ("shard-000000.tar", "shard-000001.tar", "shard-000003.tar"):
        assert (folder / name).stat().st_mtime_ns == times[name]


def test_damaged_shards_are_refused_and_made_again(videos, folder):
    path = folder / "shard-000001.tar"
    data = path.read_bytes()
    with tarfile.open(path) as tar:
        inside = {entry.name: (entry.offset_data, entry.size) for entry in tar}
    start, length = inside["ü/c/000000.000002.jpg"]
    damaged = bytearray(data)
    damaged[start + length // 2] ^= 4
    for content, problem in (
        (damaged, r"damaged at frame 2 of video 'ü/c'"),
        (data[: start + 10], r"cut off at frame 2 of video 'ü/c'.*found 10 bytes"),
        (b"", r"cut off at frame 2"),
        (None, r"cannot be read"),
    ):
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)
        source = open_shards(folder)["ü/c"]
        with pytest.raises(InputError, match=problem) as caught:
            source.read([2])
        assert caught.value.path == path
        source.read([9])  # in another shard
        assert fill(videos, folder, SMALL) == 1
        assert path.read_bytes() == data
        source.read([2])
    images = {name: at for name, at in members(folder).items() if name.endswith("jpg")}
    for at in np.linspace(0, len(data) - 1, 60).astype(int).tolist():
        damaged = bytearray(data)
        damaged[at] ^= 0x20
        path.write_bytes(damaged)
        fill(videos, folder, SMALL)
        found = members(folder)
        assert {name: found[name] for name in found if name.endswith("jpg")} == images


def test_every_flipped_bit_of_an_image_is_noticed(videos, folder):
    expected = open_shards(folder)["run"].read(range(14))
    for path in sorted(folder.glob("*.tar")):
        data = path.read_bytes()
        for at in range(100, len(data), 997):
            damaged = bytearray(data)
            damaged[at] ^= 0x08
            path.write_bytes(damaged)
            try:
                found = open_shards(folder)["run"].read(range(14))
            except InputError as error:
                assert error.path == path  # noqa: PT017
            else:
                np.testing.assert_array_equal(found, expected)
        path.write_bytes(data)


def test_changed_videos_and_settings_make_new_shards(videos, folder, put_video):
    os.utime(videos[1].path, ns=(5, 5))
    assert fill(videos, folder, SMALL) == 0
    put_video(videos[1].path, number=8, frames=13)
    assert fill(videos, folder, SMALL) == 2  # the second video is in two of four
    assert fill(videos, folder, replace(SMALL, quality=9)) == 4
    with pytest.raises(InputError, match="shards of something else"):
        fill(videos[:1], folder, SMALL)
    with pytest.raises(InputError, match="shards of something else"):
        fill(videos, folder, ShardSettings())


def test_the_index_is_checked(videos, folder, tmp_path):
    index = folder / "frames.index"
    data = bytearray(index.read_bytes())
    data[len(data) // 2] ^= 1
    index.write_bytes(data)
    with pytest.raises(InputError, match="not a whole shards file"):
        open_shards(folder)
    assert fill(videos, folder, SMALL) == 0
    open_shards(folder)
    with pytest.raises(InputError, match=r"no folder of shards.*stad data shard"):
        open_shards(tmp_path)


def test_videos_that_cannot_be_read_are_named(videos, tmp_path):
    longer = annotated(videos[0].path, "a", 20)
    with pytest.raises(InputError, match="below 12"):
        fill([longer], tmp_path / "s", SMALL)
    videos[1].path.unlink()
    with pytest.raises(InputError, match=r"1\.mp4"):
        fill(videos, tmp_path / "s", SMALL)
    assert not [path for path in (tmp_path / "s").iterdir() if path.suffix != ".tar"]
    with pytest.raises(InputError, match="no video to make shards of"):
        fill([], tmp_path / "s")
    with pytest.raises(ValueError, match="workers"):
        fill(videos, tmp_path / "s", workers=0)


@pytest.mark.parametrize("name", ["../a", "/a", "a/../b", "a//b", "./a", ""])
def test_names_stay_in_the_shard(videos, name, tmp_path):
    with pytest.raises(InputError, match="cannot stand in a tar file"):
        fill([replace(videos[0], video=name)], tmp_path)


@pytest.mark.parametrize(
    "settings",
    [
        {"quality": 1},
        {"quality": 32},
        {"size": (0, 4)},
        {"size": (4, 4), "short_side": 4},
        {"short_side": 0},
        {"frames_per_shard": 0},
        {"frames_per_sample": 0},
    ],
    ids=str,
)
def test_settings_that_cannot_be_are_refused(settings):
    with pytest.raises(InputError, match="cannot be made like this"):
        ShardSettings(**settings)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_dataset_works_on_shards(videos, folder):
    torch = pytest.importorskip("torch")
    from stad_data.loading import ClipDataset, collate
    from stad_data.sampling import keyframe_samples

    absent = [replace(video, path=Path("nowhere") / video.video) for video in videos]
    data = ClipDataset(
        absent, keyframe_samples(absent, every=5), length=4, stride=2, caches=open_shards(folder)
    )
    plain = list(torch.utils.data.DataLoader(data, batch_size=3, collate_fn=collate))
    forked = torch.utils.data.DataLoader(
        data, batch_size=3, collate_fn=collate, num_workers=2, multiprocessing_context="fork"
    )
    for one, other in zip(plain, forked, strict=True):
        assert torch.equal(one.clips, other.clips)
    sent = pickle.dumps(data.caches)
    assert len(sent) < 1000
    np.testing.assert_array_equal(pickle.loads(sent)["run"].read([7]), data.caches["run"].read([7]))


FILL = """
import sys
from pathlib import Path
import numpy as np
from stad_data import VideoAnnotation
from stad_data.shards import ShardSettings, fill
videos = [
    VideoAnnotation(video=name, path=Path(path), num_frames=frames, size=(64, 48), fps=5, tracks=(),
                    keyframes=np.arange(frames))
    for name, path, frames in zip(("walk/a.b", "ü/c", "run"), sys.argv[2:], (12, 13, 14))
]
fill(videos, sys.argv[1], ShardSettings(frames_per_shard=10, frames_per_sample=4), workers=2)
"""


def test_processes_fill_one_folder_together(videos, folder, tmp_path):
    paths = [str(video.path) for video in videos]
    command = [sys.executable, "-c", FILL, str(tmp_path / "other"), *paths]
    runs = [subprocess.Popen(command) for _ in range(2)]
    assert [run.wait(timeout=600) for run in runs] == [0, 0]
    for path in folder.iterdir():
        assert (tmp_path / "other" / path.name).read_bytes() == path.read_bytes()


def test_real_clips(real_data: Path, tmp_path: Path):
    paths = sorted((real_data / "jhmdb/videos/wave").glob("*.mp4"))[:4]
    videos = []
    for path in paths:
        with VideoReader(path) as reader:
            videos.append(replace(annotated(path, path.stem, reader.num_frames), size=(320, 240)))
    fill(videos, tmp_path, ShardSettings(quality=2))
    for video in videos:
        with VideoReader(video.path) as reader:
            frames = reader.read(range(video.num_frames)).astype(int)
        found = open_shards(tmp_path)[video.video].read(range(video.num_frames))
        assert np.abs(found - frames).mean() < 2.0
