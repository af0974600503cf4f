"""When frames are shown, and which frame is shown at a given second.

Suffix legend: N = frames in the order shown; S = seconds asked for.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stad_eval import InputError

AVA_KEYFRAMES = range(902, 1799)
"""The seconds of a film that AVA annotates: 902 to 1798, both included."""

_SLACK = 1e-6  # seconds: 0.1 + 0.2 has to find the frame of 0.3
_FINE_TICK = 0.1  # of a frame: coarser ticks cannot be told from a rate that varies
_HIGHEST_RATE = 1000


@dataclass(frozen=True, kw_only=True, eq=False)
class Timeline:
    """The frames of one video on the clock.

    Attributes:
        times_N: seconds after the first frame, strictly increasing; multiples of 1 / rate where
            the rate is constant.
        rate: frames per second, exactly, where every timestamp is that rate's, rounded to the
            container's ticks; None for a variable rate.
        damage: what stops the decoder after the last frame; None for an undamaged file.
    """

    times_N: NDArray[np.float64]
    rate: Fraction | None = None
    damage: str | None = None

    def __len__(self) -> int:
        return self.times_N.size

    def frames_at(self, seconds: ArrayLike) -> NDArray[np.int64]:
        """Index of the frame shown at each time: the last one that starts at or before it.

        With a constant rate the frames start at whole multiples of 1 / rate, whatever ticks the
        container rounded them to (1 ms in Matroska), so second 40 finds the frame of 40.000 s that
        was stored as 39.999 s.

        Args:
            seconds: after the first frame [S]; before it gives 0, past the end the last frame.

        Returns:
            int64 [S].

        Raises:
            ValueError: a time that is not a number.
        """
        asked_S = np.asarray(seconds, dtype=np.float64).reshape(-1)
        if np.isnan(asked_S).any():
            raise ValueError("seconds: expected numbers, found nan")
        nearly_S = asked_S + _SLACK
        if self.rate is None:
            found_S = np.searchsorted(self.times_N, nearly_S, side="right") - 1
        else:
            # In floats, 1001 * 30000 / 1001 may fall short of a whole number.
            inside_S = nearly_S.clip(0, len(self) / float(self.rate) + 1)
            ranks = [math.floor(Fraction(second) * self.rate) for second in inside_S.tolist()]
            found_S = np.array(ranks, dtype=np.int64)
        return found_S.clip(0, len(self) - 1).astype(np.int64)


def ava_frames(
    timeline: Timeline, seconds: Iterable[int] = AVA_KEYFRAMES, *, first_second: float = 900.0
) -> NDArray[np.int64]:
    """Frames of AVA's keyframes: for each second of the film, the frame shown at that moment.

    Args:
        timeline: `VideoReader.timeline` of the video file.
        seconds: timestamps as AVA's CSV files have them [S].
        first_second: the second of the film at which the file begins: 900 for the published cuts
            of 15 minutes, 0 for whole films.

    Returns:
        int64 [S], any rate, constant or not; empty for no seconds.

    Raises:
        InputError: a second that the video does not reach.
    """
    asked = list(seconds)
    times_N = timeline.times_N
    last = times_N.size - 1
    step = float(times_N[-1] / last) if last > 0 else 0.0
    end = first_second + float(times_N[-1]) + step
    for second in asked:
        if not first_second <= second < end:
            raise InputError(
                "a keyframe outside the video",
                expected=f"a second of at least {first_second:g} and below {end:.2f}",
                found=str(second),
                remedy="first_second tells at which second the file begins (0 for whole films)",
            )
    return timeline.frames_at(np.array(asked, dtype=np.float64) - first_second)


def constant_rate(
    stamps: NDArray[np.int64], tick: Fraction, rates: Iterable[Fraction | None]
) -> Fraction | None:
    """The rate whose frames, rounded to ticks, have exactly these timestamps; None if none has.

    Args:
        stamps: presentation timestamps [N] in the order shown, in ticks.
        tick: seconds per tick.
        rates: candidates, as the container declares them. A whole number of frames per second and
            the same slowed by 1000 / 1001 (NTSC) are tried beside each, for containers that round.
    """
    passed_N = (stamps - stamps[:1]).astype(np.float64)
    steps_N = np.arange(stamps.size, dtype=np.float64)
    best: tuple[float, Fraction] | None = None
    for rate in _with_siblings(rates):
        ticks_per_frame = tick.denominator * rate.denominator / (tick.numerator * rate.numerator)
        # The first stamp and this one are each rounded by up to half a tick, or both are cut off.
        coarse = ticks_per_frame < 1 / _FINE_TICK
        allowed = 0.0 if coarse or ticks_per_frame.is_integer() else 1.0
        off = float(np.abs(passed_N - steps_N * ticks_per_frame).max(initial=0.0))
        if off <= allowed + 1e-6 and (best is None or off < best[0]):
            best = off, rate
    return None if best is None else best[1]


def _with_siblings(rates: Iterable[Fraction | None]) -> list[Fraction]:
    found: dict[Fraction, None] = {}
    for rate in rates:
        if rate is not None and 0 < rate <= _HIGHEST_RATE:
            whole = max(1, math.ceil(rate - Fraction(1, 100)))
            found.update(dict.fromkeys((rate, Fraction(whole), Fraction(1000 * whole, 1001))))
    return list(found)


def frame_times(stamps: Sequence[int | None], tick: float | None, fps: float) -> list[float]:
    """Seconds after the first frame; a missing or backward stamp means one frame's duration more.

    Args:
        stamps: presentation timestamps in the order shown, in ticks.
        tick: seconds per tick; None when the stamps are not to be trusted at all.
        fps: nominal frames per second.
    """
    clock = FrameClock(tick, fps)
    return [clock.advance(stamp) for stamp in stamps]


@dataclass(kw_only=False)
class FrameClock:
    """Turns presentation timestamps into strictly increasing seconds, one frame at a time."""

    tick: float | None
    fps: float
    _zero: float | None = field(default=None, init=False)
    _last: float | None = field(default=None, init=False)

    def advance(self, stamp: int | None) -> float:
        """Seconds of the next frame; the first one's are 0."""
        if self._last is None:
            self._last = 0.0
            if self.tick is not None and stamp is not None:
                self._zero = stamp * self.tick
            return 0.0
        step = self._last + 1 / self.fps
        if self.tick is not None and stamp is not None:
            if self._zero is None:
                self._zero = stamp * self.tick - step
            seconds = stamp * self.tick - self._zero
            step = seconds if seconds > self._last else step
        self._last = step
        return step
