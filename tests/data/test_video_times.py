"""Which frame is shown at a given second, at any frame rate."""

import itertools
import math
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_data.video import VideoReader
from stad_data.video_times import (
    AVA_KEYFRAMES,
    Timeline,
    ava_frames,
    constant_rate,
    frame_times,
)
from stad_eval import InputError

RATES = [
    Fraction(24000, 1001), Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(30),
    Fraction(50), Fraction(60000, 1001), Fraction(15), Fraction(10), Fraction(1498, 100),
]  # fmt: skip
TICKS = [Fraction(1, 1000), Fraction(1, 12800), Fraction(1, 90_000), Fraction(1, 30_000)]
MINUTES_15 = 900


def stamps_of(rate: Fraction, tick: Fraction, *, offset: Fraction = Fraction(0)) -> np.ndarray:
    """Timestamps of 15 minutes and a second of frames, rounded as a muxer does."""
    count = math.ceil((MINUTES_15 + 1) * rate)
    return np.array([round((offset + number / rate) / tick) for number in range(count)])


def timeline_of(stamps: np.ndarray, tick: Fraction, declared: list[Fraction]) -> Timeline:
    rate = constant_rate(stamps, tick, declared)
    times = frame_times(stamps.tolist(), float(tick), float(declared[0]))
    return Timeline(times_N=np.array(times), rate=rate)


@pytest.mark.parametrize("tick", TICKS)
@pytest.mark.parametrize("rate", RATES)
def test_ava_keyframes_at_constant_rates(rate: Fraction, tick: Fraction):
    timeline = timeline_of(stamps_of(rate, tick, offset=Fraction(1, 77)), tick, [rate])
    assert timeline.rate == rate
    expected = [math.floor((second - 900) * rate) for second in AVA_KEYFRAMES]
    np.testing.assert_array_equal(ava_frames(timeline), expected)


def test_ava_keyframes_by_hand():
    ntsc = Timeline(times_N=np.arange(27_000) * 1001 / 30_000, rate=Fraction(30000, 1001))
    # 2 s hold 59.94 frames: number 59 is shown; 1001 s would be the first to hold a whole number.
    assert ava_frames(ntsc, [902, 903, 1798]).tolist() == [59, 89, 26_913]
    whole_film = Timeline(times_N=np.arange(40_000) * 1001 / 30_000, rate=Fraction(30000, 1001))
    assert ava_frames(whole_film, [1001], first_second=0).tolist() == [30_000]
    assert (len(AVA_KEYFRAMES), AVA_KEYFRAMES[0], AVA_KEYFRAMES[-1]) == (897, 902, 1798)
    assert ava_frames(ntsc, []).shape == (0,)


@pytest.mark.parametrize("second", [899, 1802, 0])
def test_a_second_that_the_video_does_not_reach(second: int):
    timeline = Timeline(times_N=np.arange(27_030) / 30, rate=Fraction(30))
    with pytest.raises(InputError, match=rf"at least 900 and below 1801.00, found {second}"):
        ava_frames(timeline, [902, second])


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.integers(1, 4000), min_size=1, max_size=60),
    tick=st.sampled_from(TICKS),
    first=st.integers(-10_000, 10_000),
    asked=st.lists(st.integers(0, 300_000), min_size=1, max_size=30),
)
def test_variable_rates_by_brute_force(steps, tick, first, asked):
    stamps = np.array([first, *(first + np.cumsum(steps))])
    timeline = timeline_of(stamps, tick, [Fraction(25)])
    if timeline.rate is not None:  # by chance
        return
    for ticks in asked:
        begun = [n for n, stamp in enumerate(stamps.tolist()) if stamp - first <= ticks]
        assert timeline.frames_at(float(ticks * tick)).tolist() == [max(begun)]


@settings(max_examples=40, deadline=None)
@given(
    rate=st.fractions(Fraction(5), Fraction(120), max_denominator=1001),
    tick=st.sampled_from(TICKS),
    offset=st.fractions(Fraction(-1), Fraction(1), max_denominator=99),
    second=st.integers(0, 30),
)
def test_any_constant_rate(rate, tick, offset, second):
    stamps = np.array([round((offset + n / rate) / tick) for n in range(math.ceil(31 * rate))])
    timeline = timeline_of(stamps, tick, [rate])
    found = int(timeline.frames_at(second)[0])
    if timeline.rate == rate:
        assert found == math.floor(second * rate)
    else:  # the ticks are too coarse for this rate, or another rate fits them as well
        assert abs(found / rate - second) <= 1 / rate + tick


def test_the_container_need_not_know_the_rate_exactly():
    rate = Fraction(30000, 1001)
    stamps = stamps_of(rate, Fraction(1, 1000))
    assert constant_rate(stamps, Fraction(1, 1000), [Fraction(2997, 100)]) == rate
    assert constant_rate(stamps, Fraction(1, 1000), [None, Fraction(0), Fraction(25)]) is None
    assert constant_rate(stamps[:0], Fraction(1, 1000), [rate]) is not None


def test_a_frame_that_is_late_by_more_than_rounding_is_no_constant_rate():
    for tick, late in ((Fraction(1, 1000), 2), (Fraction(1, 25), 1)):
        stamps = stamps_of(Fraction(25), tick)
        assert constant_rate(stamps, tick, [Fraction(25)]) == 25
        stamps[100] += late
        assert constant_rate(stamps, tick, [Fraction(25)]) is None


def test_times_at_the_edges():
    timeline = Timeline(times_N=np.array([0.0, 0.5, 2.0]))
    assert timeline.frames_at([-1, 0, 0.49, 0.5, 1.99, 2, 9, math.inf]).tolist() == [
        0, 0, 0, 1, 1, 2, 2, 2,
    ]  # fmt: skip
    assert timeline.frames_at([]).shape == (0,)
    steady = Timeline(times_N=np.arange(4) / 10, rate=Fraction(10))
    assert steady.frames_at([-math.inf, 0.3, 0.1 + 0.2, math.inf]).tolist() == [0, 3, 3, 3]
    for line in (timeline, steady):
        with pytest.raises(ValueError, match="nan"):
            line.frames_at([1.0, math.nan])


def quarter_hour(path: Path, stamps: np.ndarray, rate: Fraction, tick: Fraction) -> Path:
    """A file of these timestamps whose packets are all the same keyframe."""
    with av.open(path.with_name("one.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8))
        container.mux([*stream.encode(frame), *stream.encode()])
    with av.open(path.with_name("one.mp4")) as source, av.open(path, "w") as to:
        stream = to.add_stream_from_template(source.streams.video[0])
        data = bytes(next(source.demux(video=0)))
        for stamp in stamps.tolist():
            packet = av.Packet(data)
            packet.pts = packet.dts = stamp
            packet.duration, packet.time_base, packet.stream = 1, tick, stream
            packet.is_keyframe = True
            to.mux(packet)
    return path


@pytest.mark.parametrize(("name", "rate"), list(itertools.product(["a.mp4", "a.mkv"], RATES[:4:3])))
def test_ava_keyframes_in_real_containers(name: str, rate: Fraction, tmp_path: Path):
    stamps = np.arange(math.ceil(MINUTES_15 * rate))
    path = quarter_hour(tmp_path / name, stamps, rate, 1 / rate)
    with VideoReader(path) as reader:
        assert reader.num_frames == stamps.size
        expected = [math.floor((second - 900) * rate) for second in AVA_KEYFRAMES]
        np.testing.assert_array_equal(ava_frames(reader.timeline), expected)
        assert reader.frame_at(2) == expected[0]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_ava_keyframes_of_a_variable_rate(name: str, tmp_path: Path):
    stamps = np.cumsum(np.random.default_rng(3).integers(20, 400, 4400))
    stamps -= stamps[0]
    assert stamps[-1] > 898_000
    path = quarter_hour(tmp_path / name, stamps, Fraction(5), Fraction(1, 1000))
    with VideoReader(path) as reader:
        expected = np.searchsorted(stamps, np.arange(2, 899) * 1000, side="right") - 1
        np.testing.assert_array_equal(ava_frames(reader.timeline), expected)
