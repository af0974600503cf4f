"""From tubelets to tubes: linking, and one averaged box per tube and frame.

Suffix legend: N = tubelets, K = boxes of a tubelet, M = rows (one per tube and frame).
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stad_eval.boxes import Convention
from stad_eval.greedy_linking import (
    TubeletLinker,
    check_at_least,
    check_min_iou,
    link_by_frame,
)
from stad_eval.input_error import InputError
from stad_eval.suppression import Suppression
from stad_eval.tables import Boxes
from stad_eval.trimming import Trimming, trim_rows
from stad_eval.tube_rows import streams_of, tubes_of_rows
from stad_eval.tubelets import Tubelets, tubelet_nms
from stad_eval.tubes import Tube

# Frames are less than 2**40 (held by Tubelets), so a key of tube and frame stays within int64.
SPAN = 2**40


@dataclass(frozen=True, kw_only=True)
class TubeletLinking:
    """How tubelets become tubes: everything that can change the result.

    Attributes:
        suppression: what is done first to tubelets that overlap a better one of their video, first
            frame and label; None: nothing.
        max_tubelets: only so many of the best tubelets of a frame and label are linked; None: all.
        min_iou: mean IoU that a tubelet needs with a tube's last one, over the shared frames.
        max_offset: a tube ends when no tubelet that starts at most so many frames after its last
            one continues it, at most K; None: K.
        min_score: tubes of a lower mean score are left out; None: all stay.
        min_length: tubes of fewer frames are left out.
        convention: width and height of boxes, see `stad_eval.boxes`.

    Raises:
        InputError: if an option is out of range.
    """

    suppression: Suppression | None = field(default_factory=Suppression)
    max_tubelets: int | None = 10
    min_iou: float = 0.5
    max_offset: int | None = None
    min_score: float | None = 0.005
    min_length: int = 15
    convention: Convention = "half-open"

    def __post_init__(self) -> None:
        check_min_iou(self.min_iou)
        for name in ("max_tubelets", "max_offset", "min_length"):
            check_at_least(1, name, getattr(self, name))


STRICT_LINKING = TubeletLinking()
"""MOC's parameters without its quirks: half-open boxes, suppression weighted by the mean IoU."""

MOC_LINKING = TubeletLinking(
    suppression=Suppression(rescoring="sum", convention="inclusive"), convention="inclusive"
)
"""MOC-Detector's BuildTubes: suppressed scores are weighted by 1 minus the sum of K IoUs."""

ACT_LINKING = TubeletLinking(
    suppression=Suppression(iou=0.3, rescoring="remove", convention="inclusive"),
    min_iou=0.2,
    max_offset=5,
    min_score=0.01,
    convention="inclusive",
)
"""ACT's BuildTubes (K = 6): hard suppression; a tube ends after five frames without a tubelet."""

MOC_FRAME_NMS = Suppression(iou=0.6, rescoring="mean", convention="inclusive")
"""Soft suppression of MOC's boxes on frames, for `frame_boxes`."""

ACT_FRAME_NMS = Suppression(iou=0.3, rescoring="remove", convention="inclusive")
"""Hard suppression of ACT's boxes on frames, for `frame_boxes`."""


def link_tubelets(
    tubelets: Tubelets,
    options: TubeletLinking = STRICT_LINKING,
    *,
    trimming: Trimming | None = None,
) -> list[Tube]:
    """Tubes of every video and label, by video, label and descending score.

    Each frame's box is the mean over the tube's tubelets that cover it. A tube's score is the mean
    over its tubelets; with `trimming`, tubes are cut in time after they were filtered, each part's
    score is the mean over its frames, and parts shorter than `min_length` are left out too. No
    tubelets give no tubes; the order of rows does not matter.

    Raises:
        InputError: if `max_offset` exceeds K, or scores are not in [0, 1] where trimming needs it.
    """
    tubelets, tube_of = _linked(tubelets, options)
    frames, tube_of, mean = _averaged(tubelets, tube_of)
    if options.min_score is not None and len(frames):
        tube_of = np.where(mean[tube_of] >= options.min_score, tube_of, -1)
    if trimming is None:
        return tubes_of_rows(frames, tube_of, scores=mean, min_length=options.min_length)
    linked = tube_of >= 0
    size = np.bincount(tube_of[linked], minlength=mean.size)
    long = linked & (size[tube_of] >= options.min_length) if size.size else linked
    tube_of = trim_rows(frames, np.where(long, tube_of, -1), trimming)
    return tubes_of_rows(frames, tube_of, min_length=options.min_length)


def link_tubelet_rows(
    tubelets: Tubelets, options: TubeletLinking = STRICT_LINKING
) -> NDArray[np.int64]:
    """The tube number of every tubelet, int64 [N], numbered over the whole table.

    -1 where a tubelet was removed by suppression or is over `max_tubelets`. `min_score` and
    `min_length` are not applied.

    Raises:
        InputError: if `max_offset` exceeds K.
    """
    return _linked(tubelets, options)[1]


@dataclass(frozen=True, kw_only=True, eq=False)
class SettledBoxes:
    """Boxes of tubes that no tubelet still to come can change; one row per tube and frame.

    Attributes:
        tube: int64 [M], the linker's numbers.
        frame: int64 [M]; rows come by tube, then by frame.
        box: float64 [M, 4], the mean over the tubelets that cover the frame.
        score: float64 [M], the mean of their scores.
    """

    tube: NDArray[np.int64]
    frame: NDArray[np.int64]
    box: NDArray[np.float64]
    score: NDArray[np.float64]


@dataclass(kw_only=True)
class TubeletSmoother:
    """Averages linked tubelets to one box per tube and frame, as they arrive.

    A box is given out once no later tubelet can cover its frame; at most K frames of every tube
    wait, so that a stream may be endless. The boxes are those of `link_tubelets`, bit for bit.

    Attributes:
        length: K, frames of a tubelet.

    Raises:
        InputError: if `length` is less than 1.
    """

    length: int
    _waiting: dict[int, NDArray[np.float64]] = field(
        default_factory=dict[int, NDArray[np.float64]], init=False, repr=False
    )
    _frame: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        check_at_least(1, "length", self.length)

    def step(
        self,
        frame: int,
        tube_of: NDArray[np.int64],
        boxes: NDArray[np.float64],
        scores: NDArray[np.float64],
    ) -> SettledBoxes:
        """Take the tubelets that start on `frame`; gives the boxes of all frames before it.

        Args:
            frame: later than that of the last step.
            tube_of: int64 [N], what `TubeletLinker.step` gave; -1 is left out.
            boxes: [N, K, 4].
            scores: [N].

        Raises:
            InputError: if frames do not arrive in increasing order.
        """
        if self._waiting and frame <= self._frame:
            expected = f"a frame after {self._frame}"
            raise InputError("frames out of order", expected=expected, found=frame)
        settled = self._settle(frame - self._frame)
        self._frame = frame
        for row in np.flatnonzero(tube_of >= 0).tolist():
            sums = self._waiting.setdefault(int(tube_of[row]), np.zeros((self.length, 6)))
            sums[:, :4] += boxes[row]
            sums[:, 4] += scores[row]
            sums[:, 5] += 1.0
        return settled

    def finish(self) -> SettledBoxes:
        """The boxes that still wait, when the stream has ended."""
        return self._settle(self.length)

    def _settle(self, shift: int) -> SettledBoxes:
        """Give out the first `shift` waiting frames of every tube and move the rest up."""
        shift = min(shift, self.length)
        parts: list[NDArray[np.float64]] = []
        for tube in sorted(self._waiting):
            sums = self._waiting[tube]
            covered = np.flatnonzero(sums[:shift, 5])
            row = np.empty((covered.size, 7))
            row[:, 0], row[:, 1] = tube, self._frame + covered
            row[:, 2:] = sums[covered, :5] / sums[covered, 5:]
            parts.append(row)
            rest = np.zeros_like(sums)
            rest[: self.length - shift] = sums[shift:]
            self._waiting[tube] = rest
        self._waiting = {tube: sums for tube, sums in self._waiting.items() if sums[:, 5].any()}
        rows = np.concatenate(parts) if parts else np.empty((0, 7))
        return SettledBoxes(
            tube=rows[:, 0].astype(np.int64),
            frame=rows[:, 1].astype(np.int64),
            box=rows[:, 2:6],
            score=rows[:, 6],
        )


def _linked(tubelets: Tubelets, options: TubeletLinking) -> tuple[Tubelets, NDArray[np.int64]]:
    """Tubelets with their scores after suppression, and the tube number of each."""
    if options.max_offset is not None and options.max_offset > tubelets.length:
        raise InputError(
            "bad max_offset: a tube would have frames without a box",
            expected=f"at most K = {tubelets.length}",
            found=options.max_offset,
        )
    if options.suppression is not None:
        tubelets = tubelet_nms(tubelets, options.suppression)
    linker = TubeletLinker(
        length=tubelets.length,
        min_iou=options.min_iou,
        max_offset=options.max_offset,
        max_tubelets=options.max_tubelets,
        convention=options.convention,
    )
    stream = streams_of(tubelets.video, tubelets.label, len(tubelets.classes))
    return tubelets, link_by_frame(linker, tubelets.start, tubelets.box, tubelets.score, stream)


def _averaged(
    tubelets: Tubelets, tube_of: NDArray[np.int64]
) -> tuple[Boxes, NDArray[np.int64], NDArray[np.float64]]:
    """One mean box per tube and frame, the tube of each, and the mean score of every tube."""
    rows = np.flatnonzero(tube_of >= 0)
    # Sums run in the order of frames, so that their rounding does not depend on the rows' order.
    rows = rows[np.lexsort((tubelets.start[rows], tube_of[rows]))]
    tubelets, tube_of = tubelets.select(rows), tube_of[rows]
    mean = np.bincount(tube_of, weights=tubelets.score) / np.maximum(np.bincount(tube_of), 1)
    length = tubelets.length
    key_NK = tube_of[:, None] * SPAN + tubelets.start[:, None] + np.arange(length)
    # A tubelet's frames are new or were covered by the ones just before it: a sort of runs.
    keys, first, at, count = np.unique(
        key_NK.reshape(-1), return_index=True, return_inverse=True, return_counts=True
    )
    source = first // length

    def averaged(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(at, weights=values, minlength=keys.size) / count

    sides = [averaged(tubelets.box[:, :, side].reshape(-1)) for side in range(4)]
    frames = Boxes(
        videos=tubelets.videos,
        classes=tubelets.classes,
        video=tubelets.video[source],
        frame=keys % SPAN,
        label=tubelets.label[source],
        score=averaged(np.repeat(tubelets.score, length)),
        box=np.stack(sides, axis=1),
    )
    return frames, tube_of[source], mean
