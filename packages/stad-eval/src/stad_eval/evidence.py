"""What each video adds to a mean average precision: all that resampling videos has to know.

Suffix legend: N = detections, V = videos, C = classes.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stad_eval.frame import frame_maps_of
from stad_eval.frame_matches import FrameMatches, frame_matches
from stad_eval.frame_rows import NO_FRAMES
from stad_eval.input_error import InputError
from stad_eval.precision import Rule
from stad_eval.protocols import FrameProtocol
from stad_eval.tables import Boxes
from stad_eval.tube_matches import TubeMatches, tube_matches
from stad_eval.tube_protocols import TubeProtocol
from stad_eval.tube_tables import Tubes
from stad_eval.video import video_map_of


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """Detections with their scores, whether they are right, and the video that they are of.

    Attributes:
        videos: names of the videos [V], each once.
        classes: names of the classes [C].
        video: int64 [N], indices into `videos`.
        label: int64 [N], indices into `classes`.
        score: float64 [N].
        correct: bool [N], whether a detection is a true positive.
        truths: int64 [V, C], ground truths of every video and class.
        mean: the mean average precision of all videos.
        average: how the area under a curve is integrated, see `stad_eval.precision`.
        without_truth: what a class without ground truth counts as, "none" or "zero".

    Raises:
        InputError: if columns differ in length, or an index is out of range.
    """

    videos: tuple[str, ...]
    classes: tuple[str, ...]
    video: NDArray[np.int64]
    label: NDArray[np.int64]
    score: NDArray[np.float64]
    correct: NDArray[np.bool_]
    truths: NDArray[np.int64]
    mean: float
    average: Rule = "all-point"
    without_truth: str = "none"

    def __post_init__(self) -> None:
        shapes = {name: getattr(self, name).shape for name in ("label", "score", "correct")}
        for name, shape in shapes.items():
            if shape != self.video.shape or len(shape) != 1:
                raise InputError(
                    f"column '{name}' does not fit", expected=self.video.shape, found=shape
                )
        if self.truths.shape != (len(self.videos), len(self.classes)):
            raise InputError(
                "column 'truths' does not fit",
                expected=(len(self.videos), len(self.classes)),
                found=self.truths.shape,
            )
        for name, limit in (("video", len(self.videos)), ("label", len(self.classes))):
            values: NDArray[np.int64] = getattr(self, name)
            if values.size and not 0 <= values.min() <= values.max() < limit:
                raise InputError(f"column '{name}' is out of range", expected=f"less than {limit}")


def frame_evidence(
    truth: Boxes,
    found: Boxes,
    protocol: str | FrameProtocol,
    *,
    iou: float = 0.5,
    exclude: Collection[tuple[str, int]] = NO_FRAMES,
) -> Evidence:
    """What each video adds to the frame-mAP of these tables; arguments as of `frame_map`.

    Raises:
        InputError: as `frame_map`.
    """
    matches = frame_matches(truth, found, protocol, ious=(iou,), exclude=exclude)
    return frame_evidence_of(matches, iou=iou)


def frame_evidence_of(matches: FrameMatches, *, iou: float = 0.5) -> Evidence:
    """As `frame_evidence`, of detections that are matched already, at `iou` among others.

    Raises:
        InputError: if they were not matched at `iou`.
    """
    scored, options, order = matches.scored, matches.protocol, matches.by_class
    video_of = scored.index.videos()
    return Evidence(
        videos=scored.videos,
        classes=scored.classes,
        video=video_of[scored.found.frame[matches.rows[order]]],
        label=matches.label[order].astype(np.int64),
        score=matches.score[order].astype(np.float64),
        correct=matches.taken_at(iou)[order] >= 0,
        truths=_table(
            video_of[scored.counted.frame],
            scored.counted.label,
            len(scored.videos),
            scored.classes,
        ),
        mean=frame_maps_of(matches)[iou].mean,
        average=options.average,
        without_truth="none" if options.without_truth == "none" else "zero",
    )


def tube_evidence(
    truth: Tubes, found: Tubes, protocol: str | TubeProtocol, *, iou: float = 0.5
) -> Evidence:
    """What each video adds to the video-mAP of these tables; arguments as of `video_map`.

    Raises:
        InputError: as `video_map`.
    """
    return tube_evidence_of(tube_matches(truth, found, protocol, iou=(iou,)), iou=iou)


def tube_evidence_of(matches: TubeMatches, *, iou: float = 0.5) -> Evidence:
    """As `tube_evidence`, of tubes that are matched already, at `iou` among others.

    Raises:
        InputError: if they were not matched at `iou`.
    """
    kept, true, options = matches.found, matches.truth, matches.protocol
    result = video_map_of(matches, iou=(iou,))
    names = tuple(dict.fromkeys((*true.videos, *kept.videos)))
    return Evidence(
        videos=names,
        classes=matches.classes,
        video=kept.video,
        label=kept.label,
        score=kept.score,
        correct=matches.taken_at(iou) >= 0,
        truths=_table(true.video, true.label, len(names), matches.classes),
        mean=next(iter(result.mean.values())),
        average=options.average,
        without_truth="none" if options.without_truth == "none" else "zero",
    )


def _table(
    video: NDArray[np.int64], label: NDArray[np.int64], videos: int, classes: Sequence[str]
) -> NDArray[np.int64]:
    cells = np.bincount(video * len(classes) + label, minlength=videos * len(classes))
    return cells.reshape(videos, len(classes))
