"""A video that does not come ends with an error, not with a wait for ever."""

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from av.error import ExitError

from stad_data import video_source
from stad_data.video import VideoReader
from stad_data.video_watchdog import Progress, Watchdog
from stad_eval import InputError

SHORT = 0.2  # seconds


@pytest.fixture
def release():
    """An event that lets go of whatever a test made hang, at its end."""
    event = threading.Event()
    yield event
    event.set()


def test_steps_give_what_they_give():
    with Watchdog(Path("a.mp4"), timeout=30, progress=Progress()) as dog:
        assert dog.run(lambda: 5) == 5
        with pytest.raises(KeyError, match="gone"):
            dog.run(lambda: {}["gone"])
        assert dog.run(lambda: 6) == 6
        assert not dog.abandoned


def test_slow_work_that_moves_is_waited_for():
    progress, limit = Progress(), 5 * SHORT  # wide, for machines whose cores are taken

    def slowly() -> str:
        for _ in range(12):
            time.sleep(limit / 8)
            progress.advance()
        return "done"

    with Watchdog(Path("a.mp4"), timeout=limit, progress=progress) as dog:
        assert dog.run(slowly) == "done"


def test_work_that_does_not_move_is_given_up(release: threading.Event):
    with Watchdog(Path("a.mp4"), timeout=SHORT, progress=Progress()) as dog:
        with pytest.raises(InputError, match=r"a\.mp4: reading the video made no progress.*0\.2 s"):
            dog.run(release.wait)
        assert dog.abandoned


def test_one_thread_serves_all_readers(small_videos):
    with VideoReader(small_videos(0)) as reader:
        reader.read([3])
    before = threading.active_count()
    for number in range(3):
        with VideoReader(small_videos(number)) as reader:
            reader.read([3])
            for frame in reader:
                if frame.index == 4:
                    break
    assert threading.active_count() == before


def test_a_forked_child_has_threads_of_its_own(small_videos):
    with VideoReader(small_videos(0)) as reader:
        expected = reader.read([5])
        child = os.fork()
        if child == 0:
            os._exit(0 if np.array_equal(reader.read([5]), expected) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_pipe_that_nobody_writes_to(tmp_path: Path, monkeypatch):
    # Devices and pipes are refused at once; here one takes a file's place behind the check.
    path = tmp_path / "pipe.mp4"
    os.mkfifo(path)
    with pytest.raises(InputError, match="device or pipe"):
        VideoReader(path, timeout=SHORT)
    monkeypatch.setattr(video_source, "_check_file", lambda _: None)
    with pytest.raises(InputError, match=r"pipe\.mp4: reading the video made no progress"):
        VideoReader(path, timeout=SHORT)
    os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))  # lets the abandoned thread end


def test_a_pipe_that_falls_silent(tmp_path: Path, small_videos, monkeypatch):
    path = tmp_path / "pipe.mp4"
    os.mkfifo(path)
    monkeypatch.setattr(video_source, "_check_file", lambda _: None)
    keeper = os.open(path, os.O_RDWR)
    os.write(keeper, small_videos(0).read_bytes()[:64])
    with pytest.raises(InputError, match="made no progress"):
        VideoReader(path, timeout=SHORT)
    os.close(keeper)


def test_a_reader_goes_on_after_a_hang(small_videos, monkeypatch, release: threading.Event):
    with VideoReader(small_videos(1)) as reader:
        expected = reader.read([0, 5])
        reader.release()
        decode = video_source.VideoSource.decode

        def stuck(*_args, **_options):
            release.wait()
            yield from ()

        monkeypatch.setattr(video_source.VideoSource, "decode", stuck)
        reader.timeout = SHORT
        with pytest.raises(InputError, match="made no progress"):
            reader.read([0, 5])
        with pytest.raises(InputError, match="made no progress"):
            list(reader)
        monkeypatch.setattr(video_source.VideoSource, "decode", decode)
        reader.timeout = 60
        np.testing.assert_array_equal(reader.read([0, 5]), expected)
        assert sum(1 for _ in reader) == reader.num_frames


def test_without_a_timeout_everything_runs_in_the_callers_thread(small_videos, monkeypatch):
    monkeypatch.setattr("stad_data.video.Watchdog", None)
    with VideoReader(small_videos(1), timeout=None) as reader:
        assert reader.read([2]).shape == (1, 48, 64, 3)
        assert len(list(reader)) == reader.num_frames


def test_what_ffmpeg_itself_gives_up(small_videos, monkeypatch):
    def give_up(*_args, **_options):
        raise ExitError(5, "Immediate exit requested")

    path = small_videos(0)
    with VideoReader(path, timeout=7) as reader:
        source = reader._frames.source()
        monkeypatch.setattr(type(source), "container", property(lambda _: Silent(give_up)))
        with pytest.raises(InputError, match=r"made no progress.*within 7 s"):
            list(source.packets())
    monkeypatch.setattr("av.open", give_up)
    with pytest.raises(InputError, match=r"made no progress.*within 7 s"):
        VideoReader(path, timeout=7)


class Silent:
    """A container whose packets do not come."""

    def __init__(self, give_up) -> None:
        self._give_up = give_up

    def demux(self, *_streams):
        return iter(self._give_up, None)

    def close(self) -> None:
        """Nothing is open."""
