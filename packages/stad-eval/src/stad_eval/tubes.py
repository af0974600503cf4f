"""Action tubes and their overlap. Suffix legend: T = frames of a tube."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stad_eval.boxes import paired_iou
from stad_eval.input_error import InputError


@dataclass(frozen=True, kw_only=True, eq=False)
class Tube:
    """One actor's boxes over time, with one label and one score.

    Attributes:
        video: name of the video.
        label: 0-based class index.
        score: any finite number; 1 for ground truth.
        frames: int64 [T], strictly increasing 0-based frame indices; gaps are allowed.
        boxes: float64 [T, 4], xyxy half-open pixels.

    Raises:
        InputError: on no frames, frames out of order, wrong shapes or non-finite numbers.
    """

    video: str
    label: int
    score: float
    frames: NDArray[np.int64]
    boxes: NDArray[np.float64]

    def __post_init__(self) -> None:
        frames, boxes = np.asarray(self.frames), np.asarray(self.boxes)
        place = f"tube of video '{self.video}'"
        if frames.ndim != 1 or frames.size == 0 or frames.dtype.kind not in "iu":
            found = f"{frames.dtype} {list(frames.shape)}"
            raise InputError(f"{place}: bad frames", expected="integers [T], T >= 1", found=found)
        frames = frames.astype(np.int64, copy=False)
        if frames[0] < 0 or (np.diff(frames) <= 0).any():
            raise InputError(
                f"{place}: frames out of order",
                expected="strictly increasing frame indices, 0 or more",
                found=frames[:20].tolist(),
            )
        if boxes.shape != (frames.size, 4) or boxes.dtype.kind not in "iuf":
            expected, found = [frames.size, 4], f"{boxes.dtype} {list(boxes.shape)}"
            raise InputError(f"{place}: bad boxes", expected=f"numbers {expected}", found=found)
        boxes = boxes.astype(np.float64, copy=False)
        if not np.isfinite(boxes).all() or not np.isfinite(self.score):
            raise InputError(f"{place}: boxes and score must be finite", found="NaN or infinity")
        object.__setattr__(self, "frames", frames)
        object.__setattr__(self, "boxes", boxes)

    def __len__(self) -> int:
        """Number of frames that have a box."""
        return self.frames.size


def tube_iou(a: Tube, b: Tube) -> float:
    """Temporal IoU times mean box IoU over shared frames, in [0, 1]; 0 where no frame is shared.

    Time is counted in frames that have a box. Videos, labels and scores are ignored.
    Source: Gkioxari and Malik, "Finding action tubes", Sec. 4.
    """
    _, rows_a, rows_b = np.intersect1d(a.frames, b.frames, assume_unique=True, return_indices=True)
    if rows_a.size == 0:
        return 0.0
    iou_T = paired_iou(a.boxes[rows_a], b.boxes[rows_b])
    union = len(a) + len(b) - rows_a.size
    return float(iou_T.mean() * rows_a.size / union)
