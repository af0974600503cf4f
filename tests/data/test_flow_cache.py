"""Flow on disk: computed once, noticed when stale or damaged, shared by processes."""

import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cv2", reason="flow needs the extra `flow`")

from stad_data import VideoAnnotation, VideoReader
from stad_data.flow import FlowSettings, optical_flow
from stad_data.flow_cache import Filled, compute, fill, flow_path, open_flow
from stad_eval import InputError


def annotated(path: Path, name: str, frames: int = 12) -> VideoAnnotation:
    return VideoAnnotation(
        video=name,
        path=path,
        num_frames=frames,
        size=(64, 48),
        fps=5,
        tracks=(),
        keyframes=np.arange(frames),
    )


@pytest.fixture
def videos(put_video, tmp_path: Path) -> list[VideoAnnotation]:
    names = ["walk/a.b", "walk/c", "run"]
    paths = [put_video(tmp_path / "videos" / f"{n}.mp4", number=n) for n in range(3)]
    return [annotated(path, name) for path, name in zip(paths, names, strict=True)]


def test_it_keeps_what_is_computed(videos, tmp_path: Path):
    flow = compute(videos[0], tmp_path / "flow", FlowSettings())
    with VideoReader(videos[0].path) as reader:
        expected = optical_flow(reader.read(range(12)))
    assert (flow.num_frames, flow.size) == (12, (64, 48))
    found = flow.read(range(12))
    assert (found.shape, found.dtype) == ((12, 48, 64, 2), np.float32)
    assert np.abs(found - expected).max() <= 1 / 32
    assert np.abs(expected).max() > 1
    np.testing.assert_array_equal(flow.read([7, 0, 7]), found[[7, 0, 7]])
    assert flow.read([]).shape == (0, 48, 64, 2)
    assert (tmp_path / "flow/walk/a.b.flow").is_file()
    with pytest.raises(InputError, match=r"below 12.*found 12"):
        flow.read([3, 12])
    copy = pickle.loads(pickle.dumps(flow))
    np.testing.assert_array_equal(copy.read([4]), found[[4]])
    assert len(pickle.dumps(flow)) < 1000


def test_flow_is_of_the_size_asked_for(videos, tmp_path: Path):
    settings = FlowSettings(size=(32, 24))
    flow = compute(videos[0], tmp_path, settings)
    with VideoReader(videos[0].path, resize=(32, 24)) as reader:
        expected = optical_flow(reader.read(range(12)))
    assert flow.size == (32, 24)
    assert np.abs(flow.read(range(12)) - expected).max() <= 1 / 32


def test_large_displacements_are_cut():
    from stad_data.flow_cache import _packed, _unpacked

    given = np.array([[[0.5, -3000], [3000, 1 / 16]]], np.float32)
    found = _unpacked(np.frombuffer(_packed(given), np.uint8), 2, 1)
    assert found.tolist() == [[[0.5, -2047], [2047, 1 / 16]]]


def test_filling_goes_on_where_it_was(videos, tmp_path: Path):
    seen = []
    assert fill(videos[:1], tmp_path, seen=seen.append) == Filled(computed=1, kept=0)
    first = flow_path(tmp_path, videos[0].video)
    before = first.stat().st_mtime_ns
    assert fill(videos, tmp_path, workers=2, seen=seen.append) == Filled(computed=2, kept=1)
    assert first.stat().st_mtime_ns == before
    assert seen == [12] * 4
    assert fill(videos, tmp_path) == Filled(computed=0, kept=3)
    assert fill([], tmp_path) == Filled(computed=0, kept=0)
    with pytest.raises(ValueError, match="workers"):
        fill(videos, tmp_path, workers=0)


def test_stale_flow_is_refused_and_computed_anew(videos, put_video, tmp_path: Path):
    fill(videos, tmp_path)
    os.utime(videos[0].path, ns=(9, 9))
    open_flow(tmp_path, videos[0])  # only touched
    put_video(videos[0].path, number=7)
    with pytest.raises(InputError, match=r"not the one that this flow is of.*another content"):
        open_flow(tmp_path, videos[0])
    assert fill(videos, tmp_path) == Filled(computed=1, kept=2)
    open_flow(tmp_path, videos[0])
    videos[0].path.unlink()
    with pytest.raises(InputError, match="no such file"):
        open_flow(tmp_path, videos[0])


def test_other_settings_are_another_flow(videos, tmp_path: Path):
    fill(videos[:1], tmp_path, FlowSettings(size=(32, 24)))
    open_flow(tmp_path, videos[0])
    with pytest.raises(InputError, match="flow of another kind"):
        open_flow(tmp_path, videos[0], FlowSettings())
    assert fill(videos[:1], tmp_path, FlowSettings()).computed == 1


def test_damage_is_noticed_and_mended(videos, tmp_path: Path):
    fill(videos[:1], tmp_path)
    path = flow_path(tmp_path, videos[0].video)
    data = path.read_bytes()
    flow = open_flow(tmp_path, videos[0])
    whole = flow.read(range(12))
    for at in np.linspace(0, len(data) - 1, 60).astype(int).tolist():
        damaged = bytearray(data)
        damaged[at] ^= 0x10
        path.write_bytes(damaged)
        try:
            found = open_flow(tmp_path, videos[0]).read(range(12))
        except InputError as error:
            assert error.path == path  # noqa: PT017
        else:
            np.testing.assert_array_equal(found, whole)  # a byte between two arrays
    middle = bytearray(data)
    middle[len(data) // 3] ^= 1
    for content in (middle, data[: len(data) // 2], b"", b"not flow" * 50):
        path.write_bytes(content)
        assert fill(videos[:1], tmp_path).computed == 1
        assert path.read_bytes() == data


def test_missing_flow_and_other_lengths(videos, tmp_path: Path):
    with pytest.raises(InputError, match=r"'run' has no flow.*stad data flow"):
        open_flow(tmp_path, videos[2])
    fill(videos[2:], tmp_path)
    with pytest.raises(InputError, match="more frames than flow: expected 13 frames, found 12"):
        open_flow(tmp_path, annotated(videos[2].path, "run", 13))


@pytest.mark.parametrize("name", ["../up", "/root", "a/../../b", ""])
def test_names_stay_in_the_folder(name, tmp_path: Path):
    with pytest.raises(InputError, match="a name that no file can have"):
        flow_path(tmp_path, name)


def test_a_damaged_video_leaves_no_flow(videos, tmp_path: Path):
    path = videos[0].path
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=str(path)):
        fill(videos[:1], tmp_path / "flow")
    assert [each for each in (tmp_path / "flow").rglob("*") if each.is_file()] == []


def test_folders_of_images_with_gaps(put_images, tmp_path: Path):
    folder = put_images(tmp_path / "images", [0, 5, 30])
    one = replace(annotated(folder, "film", 3), gaps="close")
    assert compute(one, tmp_path, FlowSettings()).num_frames == 3


FILL = """
import sys
from pathlib import Path
import numpy as np
from stad_data import VideoAnnotation
from stad_data.flow_cache import fill
videos = [
    VideoAnnotation(video=Path(path).stem, path=Path(path), num_frames=12, size=(64, 48), fps=5,
                    tracks=(), keyframes=np.arange(12))
    for path in sys.argv[2:]
]
print(fill(videos, sys.argv[1], workers=2).computed)
"""


def test_processes_fill_one_folder_together(videos, tmp_path: Path):
    paths = [str(video.path) for video in videos]
    command = [sys.executable, "-c", FILL, str(tmp_path / "flow"), *paths]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    computed = [int(run.communicate(timeout=600)[0]) for run in runs]
    assert 3 <= sum(computed) <= 6
    assert len(list((tmp_path / "flow").iterdir())) == 3
    named = [annotated(video.path, video.path.stem) for video in videos]
    assert fill(named, tmp_path / "flow") == Filled(computed=0, kept=3)


def test_real_flow_moves_the_frames_onto_each_other(real_data: Path, tmp_path: Path):
    """Where a golf player moves, looking the next frame up by the flow leaves less of a change."""
    path = sorted((real_data / "jhmdb/videos/golf").glob("*.mp4"))[0]
    with VideoReader(path) as reader:
        frames = reader.read(range(reader.num_frames)).astype(np.float32).mean(axis=3)
    one = replace(annotated(path, "a", len(frames)), size=(320, 240))
    flow = compute(one, tmp_path, FlowSettings()).read(range(len(frames)))

    def left(sign: int) -> float:
        y, x = np.mgrid[:240, :320]
        found = []
        for t in range(len(frames) - 1):
            at_x = np.rint(x + sign * flow[t, ..., 0]).clip(0, 319).astype(int)
            at_y = np.rint(y + sign * flow[t, ..., 1]).clip(0, 239).astype(int)
            moving = np.abs(frames[t + 1] - frames[t]) > 15
            found.append(np.abs(frames[t + 1][at_y, at_x] - frames[t])[moving])
        return float(np.concatenate(found).mean())

    assert left(1) < 0.7 * left(0)
    assert left(-1) > left(0)
