"""What each video adds to a mean average precision: all that resampling videos has to know.

Suffix legend: N = detections, V = videos, C = classes.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stad_eval.frame_rows import NO_FRAMES, evaluated_classes, scored_rows
from stad_eval.input_error import InputError
from stad_eval.precision import Rule
from stad_eval.protocols import FrameProtocol, frame_protocol
from stad_eval.scored_tubes import scored_tubes
from stad_eval.shards import combine, frame_partial
from stad_eval.tables import Boxes, indices_of
from stad_eval.tube_matching import match_tubes, preference, ranking
from stad_eval.tube_nms import tube_nms
from stad_eval.tube_overlap import pairs_within, tube_overlaps
from stad_eval.tube_protocols import TubeProtocol, tube_protocol
from stad_eval.tube_tables import Tubes
from stad_eval.video import video_map


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
    options = frame_protocol(protocol) if isinstance(protocol, str) else protocol
    part = frame_partial(truth, found, options, ious=(iou,), exclude=exclude)
    scored = scored_rows(truth, found, options, exclude)
    names = tuple(dict.fromkeys((*truth.videos, *found.videos)))
    video_of = scored.index.videos()
    # The rows of a part stand by class, those of a class as they were.
    order = np.argsort(scored.found.label, kind="stable")
    truths = _table(video_of[scored.truth.frame], scored.truth.label, len(names), part.classes)
    if options.excluded_truth == "counted":
        truths = _all_truths(truth, options, names, part.classes)
    return Evidence(
        videos=names,
        classes=part.classes,
        video=video_of[scored.found.frame][order],
        label=scored.found.label[order],
        score=part.score.astype(np.float64),
        correct=part.correct[0],
        truths=truths,
        mean=combine([part])[iou].mean,
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
    options = tube_protocol(protocol) if isinstance(protocol, str) else protocol
    result = video_map(truth, found, options, iou=(iou,))
    scored = scored_tubes(truth, found, options)
    if options.nms is not None:
        left = tube_nms(scored.found, threshold=options.nms, protocol=options)
        scored = replace(scored, found=scored.found.select(left))
    kept, true = scored.found, scored.truth
    pairs = pairs_within(kept.video, true.video)
    pairs = pairs.select(kept.label[pairs.a] == true.label[pairs.b])
    won = match_tubes(
        pairs,
        tube_overlaps(kept, true, pairs, options),
        ranking(kept, options),
        preference(true, options),
        (iou,),
        options.matching,
    )[0]
    names = tuple(dict.fromkeys((*true.videos, *kept.videos)))
    return Evidence(
        videos=names,
        classes=scored.classes,
        video=kept.video,
        label=kept.label,
        score=kept.score,
        correct=won >= 0,
        truths=_table(true.video, true.label, len(names), scored.classes),
        mean=next(iter(result.mean.values())),
        average=options.average,
        without_truth="none" if options.without_truth == "none" else "zero",
    )


def _table(
    video: NDArray[np.int64], label: NDArray[np.int64], videos: int, classes: Sequence[str]
) -> NDArray[np.int64]:
    cells = np.bincount(video * len(classes) + label, minlength=videos * len(classes))
    return cells.reshape(videos, len(classes))


def _all_truths(
    truth: Boxes, options: FrameProtocol, names: tuple[str, ...], classes: tuple[str, ...]
) -> NDArray[np.int64]:
    """Ground truth of evaluated classes, that on excluded frames too."""
    place = {name: at for at, name in enumerate(evaluated_classes(truth, options))}
    label = indices_of(truth.classes, place)[truth.label]
    video = indices_of(truth.videos, {name: at for at, name in enumerate(names)})[truth.video]
    return _table(video[label >= 0], label[label >= 0], len(names), classes)
