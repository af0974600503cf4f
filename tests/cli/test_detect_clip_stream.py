"""Clips from a stream: the training window at the training rate, time elsewhere, bounded memory."""

import gc
import weakref
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_cli.clip_stream import Sampling, clips, sampling_for
from stad_data.clips import window
from stad_eval import InputError


@dataclass(frozen=True)
class Still:
    index: int
    time: float

    @property
    def image(self) -> np.ndarray:
        return np.full((2, 2, 3), self.index % 256, np.uint8)


def film(times):
    return [Still(index, time) for index, time in enumerate(times)]


def cut(times, sampling):
    return list(clips(film(times), sampling, resize=lambda image: image))


@settings(deadline=None, max_examples=50)
@given(
    count=st.integers(1, 70),
    length=st.integers(1, 9),
    stride=st.integers(1, 5),
    every=st.integers(1, 11),
    fps=st.sampled_from([10.0, 24000 / 1001, 25.0, 30.0, 60.0]),
    jitter=st.booleans(),
)
def test_at_the_training_rate_the_frames_are_those_of_the_training_window(
    count, length, stride, every, fps, jitter
):
    times = np.arange(count) / fps
    if jitter:  # Matroska rounds time stamps to milliseconds
        times = times.round(3)
    sampling = sampling_for(length=length, stride=stride, trained_fps=fps, fps=fps, every=every)
    found = cut(times, sampling)
    wanted = sorted({*range(0, count, every), count - 1})
    assert [clip.frame for clip in found] == wanted
    for clip in found:
        expected = window(clip.frame, length=length, stride=stride, num_frames=count)
        np.testing.assert_array_equal(clip.indices, expected)
        np.testing.assert_array_equal(clip.images[:, 0, 0, 0], expected % 256)


def test_another_frame_rate_is_sampled_by_time():
    # Trained on every 2nd frame at 30 a second: frames 1/15 s apart, which is 4 frames at 60.
    sampling = sampling_for(length=4, stride=2, trained_fps=30.0, fps=60.0, every=20)
    found = cut(np.arange(60) / 60, sampling)
    np.testing.assert_array_equal(found[1].indices, [12, 16, 20, 24])


def test_a_varying_frame_rate_is_sampled_by_time():
    times = [0.0, 0.1, 0.2, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.8, 1.0]
    sampling = sampling_for(length=3, stride=1, trained_fps=5.0, fps=12.0, every=7)
    found = cut(times, sampling)
    # Around frame 7 at 0.5 s the neighbours are those shown at 0.3 and 0.7 (the earlier of a tie).
    assert found[1].frame == 7
    np.testing.assert_array_equal(found[1].indices, [3, 7, 9])


def test_without_a_stride_keyframes_come_about_four_times_a_second():
    for fps, expected in ((24.0, 6), (25.0, 7), (30.0, 8), (60.0, 15)):
        sampling = sampling_for(length=1, stride=1, trained_fps=None, fps=fps, every=None)
        frames = [clip.frame for clip in cut(np.arange(100) / fps, sampling)]
        assert frames[:3] == [0, expected, 2 * expected]
        assert frames[-1] == 99


def test_no_frames_give_no_clips():
    sampling = Sampling(length=4, step=0.1, grain=0.0)
    assert cut([], sampling) == []


@pytest.mark.parametrize(
    "wrong", [{"length": 0}, {"step": 0.0}, {"every": 0}, {"seconds": -1.0}, {"grain": -0.1}]
)
def test_a_sampling_that_cannot_be_is_refused(wrong):
    with pytest.raises(InputError, match="positive"):
        Sampling(**{"length": 4, "step": 0.1, "grain": 0.0, **wrong})


@pytest.mark.parametrize("fps", [30.0, 1000.0])
def test_memory_holds_a_window_and_no_more(fps):
    alive, most = 0, 0

    def let_go():
        nonlocal alive
        alive -= 1

    def resize(image):
        nonlocal alive
        small = image.copy()
        weakref.finalize(small, let_go)
        alive += 1
        return small

    def watch(_):
        nonlocal most
        most = max(most, alive)

    sampling = sampling_for(length=8, stride=2, trained_fps=30.0, fps=fps, every=None)
    gc.collect()
    frames = film(np.arange(int(fps * 20)) / fps)
    for _ in clips(frames, sampling, resize=resize, seen=watch):
        pass
    # 8 frames, each 2 training frames apart, at 2.5 times the training rate at most, and the ends.
    assert 8 <= most <= 8 * 2 * 2.5 + 4
