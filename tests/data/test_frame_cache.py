"""FrameCache: reads like a VideoReader, from memory."""

import os
from pathlib import Path

import numpy as np
import pytest

from stad_data.frame_cache import cache_video, cache_videos
from stad_data.video import VideoReader
from stad_eval import InputError


def test_it_reads_what_a_reader_reads(small_videos):
    path = small_videos(3, 12)
    cache = cache_video(path, size=(32, 24))
    with VideoReader(path, resize=(32, 24)) as reader:
        for indices in ([0, 11, 5, 5], range(12), np.array([3, 2]), []):
            np.testing.assert_array_equal(cache.read(indices), reader.read(indices))
        np.testing.assert_array_equal(cache.times, reader.times)
    assert cache.size == (32, 24)
    assert cache.source_size == (64, 48)
    assert cache.num_frames == len(cache) == 12
    assert cache.path == path


def test_sizes(small_videos):
    path = small_videos(0, 12)
    assert cache_video(path).size == (64, 48)
    assert cache_video(path, short_side=12).size == (16, 12)
    assert cache_video(path, short_side=480).size == (64, 48)
    with pytest.raises(ValueError, match="found both"):
        cache_video(path, size=(5, 5), short_side=5)


def test_what_it_gives_may_be_written_and_what_it_keeps_may_not(small_videos):
    cache = cache_video(small_videos(0, 12))
    first = cache.read([0])
    first[:] = 0
    assert cache.read([0]).any()
    with pytest.raises(ValueError, match="read-only"):
        cache.frames[0] = 0


@pytest.mark.parametrize("index", [-1, 12])
def test_an_index_out_of_range_is_refused(index: int, small_videos):
    cache = cache_video(small_videos(0, 12))
    with pytest.raises(InputError, match=f"below 12.*{index}"):
        cache.read([0, index])


@pytest.mark.parametrize("workers", [1, 3])
def test_many_videos_in_the_order_given(workers: int, small_videos):
    paths = [small_videos(number, 10 + number) for number in range(5)]
    seen = []
    caches = cache_videos(
        [*paths, paths[0]], size=(16, 12), workers=workers,
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert list(caches) == paths
    assert [cache.num_frames for cache in caches.values()] == [10, 11, 12, 13, 14]
    assert seen == [(done, 5) for done in range(1, 6)]
    for path, cache in caches.items():
        np.testing.assert_array_equal(cache.frames, cache_video(path, size=(16, 12)).frames)
    assert cache_videos([]) == {}


def test_too_much_is_refused_before_decoding(small_videos, monkeypatch):
    paths = [small_videos(number, 12) for number in range(4)]
    need = 4 * 12 * 16 * 12 * 3
    assert len(cache_videos(paths, size=(16, 12), max_bytes=need)) == 4
    monkeypatch.setattr(VideoReader, "read", None)
    with pytest.raises(InputError, match=r"do not fit.*4 videos"):
        cache_videos(paths, size=(16, 12), max_bytes=need - 1)


def test_a_damaged_video_is_named(small_videos, tmp_path: Path):
    good = small_videos(0, 12)
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(good.read_bytes()[:500])
    for paths in ([good, bad], [bad, good], [good, tmp_path / "none.mp4"]):
        with pytest.raises(InputError, match=r"bad\.mp4|none\.mp4"):
            cache_videos(paths)


def test_a_forked_worker_shares_it(small_videos):
    cache = cache_video(small_videos(0, 12))
    expected = cache.read([7])
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(cache.read([7]), expected) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_workers_below_one_are_refused():
    with pytest.raises(ValueError, match="workers"):
        cache_videos([], workers=0)


def test_real_clips(real_data: Path):
    paths = sorted((real_data / "jhmdb" / "videos" / "wave").glob("*.mp4"))[:8]
    for path, cache in cache_videos(paths, size=(160, 120)).items():
        with VideoReader(path, resize=(160, 120)) as reader:
            np.testing.assert_array_equal(cache.frames, [frame.image for frame in reader])
