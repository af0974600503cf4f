"""What stands behind a VideoReader: the contract of its backends and the complaints they share."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stad_data.video_times import Timeline
from stad_data.video_watchdog import Progress
from stad_eval import InputError


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """One frame of a streamed video.

    Attributes:
        index: place in the order shown, from 0.
        time: seconds after the first frame, to the container's tick.
        image: uint8 [H, W, 3], RGB.
    """

    index: int
    time: float
    image: NDArray[np.uint8]


class FrameBackend(Protocol):
    """Frames of one video by index; may be copied and pickled, with what it knows but not open.

    Attributes:
        progress: counts what was done.
    """

    progress: Progress

    @property
    def timeline(self) -> Timeline | None:
        """The frames, as far as they are known already."""
        ...

    def open(self) -> None:
        """Find out whether there is a video to read.

        Raises:
            InputError: there is none, or this backend cannot read it exactly.
        """
        ...

    def indexed(self) -> Timeline:
        """The frames, found out now where they are not known yet."""
        ...

    def source_size(self) -> tuple[int, int]:
        """(width, height) of the frames as shown, before scaling."""
        ...

    def fps(self) -> float:
        """Average frames per second as the file has it."""
        ...

    def images(self, ranks: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """(index, image uint8 [H, W, 3]) of frames.

        Args:
            ranks: indices, at least one, increasing, none twice.

        Raises:
            InputError: a frame that there is not.
        """
        ...

    def stream(self) -> Iterator[Frame]:
        """All frames from the first, on a file handle of its own.

        Raises:
            InputError: after the last good frame of a damaged file.
        """
        ...

    def release(self) -> None:
        """Close what is open; what is known stays known."""
        ...


def check_ranks(path: Path, ranks: Sequence[int], timeline: Timeline) -> None:
    """Refuse frames, given in increasing order, that a video does not have."""
    for rank in (ranks[0], ranks[-1]):
        if not 0 <= rank < len(timeline):
            raise no_such_frame(path, rank, timeline)


def without_frames(path: Path, reason: str) -> InputError:
    """The complaint about a video that has no picture."""
    return InputError(
        "no frame of the video can be decoded",
        path=path,
        expected="at least one frame",
        found=reason,
        remedy="the file is damaged or was cut off: copy or download it again",
    )


def no_such_frame(path: Path, rank: int, timeline: Timeline) -> InputError:
    """The complaint about an index that the video does not reach."""
    if timeline.damage is not None and rank >= 0:
        return damaged(path, timeline, found=f"frame {rank} was asked for")
    return InputError(
        "there is no such frame",
        path=path,
        expected=f"a frame index of at least 0 and below {len(timeline)}",
        found=str(rank),
        remedy="frames are counted from 0, as decoded, not as the container declares",
    )


def damaged(path: Path, timeline: Timeline, *, found: str) -> InputError:
    """The complaint about what lies behind the last good frame."""
    return InputError(
        "the video is damaged",
        path=path,
        expected="a file that decodes to its end",
        found=f"{len(timeline)} frames that decode, then: {timeline.damage}; {found}",
        remedy="copy or download the file again, or use the frames before the damage",
    )


def not_showable(path: Path, reason: str) -> InputError:
    """The complaint about pictures that are no images."""
    return InputError(
        "the video's pictures cannot be shown as RGB",
        path=path,
        expected="a pixel format that FFmpeg converts to rgb24",
        found=reason,
        remedy="re-encode the file, for example with ffmpeg",
    )
