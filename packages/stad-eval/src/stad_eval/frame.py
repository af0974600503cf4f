"""Frame-mAP: mean average precision of boxes on single frames."""

from collections.abc import Collection, Sequence

from stad_eval.frame_matches import FrameMatches, frame_matches
from stad_eval.frame_result import FrameResult
from stad_eval.frame_rows import NO_FRAMES, persons
from stad_eval.protocols import PERSON, FrameProtocol
from stad_eval.shards import combine, frame_partial_of
from stad_eval.tables import Boxes

__all__ = ["FrameResult", "actor_ap", "frame_map", "frame_maps", "frame_maps_of"]


def frame_map(
    truth: Boxes,
    found: Boxes,
    protocol: str | FrameProtocol,
    *,
    iou: float = 0.5,
    exclude: Collection[tuple[str, int]] = NO_FRAMES,
) -> FrameResult:
    """Frame-mAP of `found` against `truth`; videos and classes are aligned by name.

    `exclude` names (video, frame) pairs to be left out on both sides. No detections give 0, no
    ground truth gives NaN. Detections on videos that `truth` does not name are left out (or false
    positives, if the protocol counts all frames).

    Raises:
        InputError: on an unknown protocol or class, an IoU threshold outside (0, 1], ground truth
            without area, or an inverted detection where the protocol refuses it.
    """
    return frame_maps(truth, found, protocol, ious=(iou,), exclude=exclude)[iou]


def frame_maps(
    truth: Boxes,
    found: Boxes,
    protocol: str | FrameProtocol,
    *,
    ious: Sequence[float] = (0.5, 0.75),
    exclude: Collection[tuple[str, int]] = NO_FRAMES,
) -> dict[float, FrameResult]:
    """Frame-mAP at several IoU thresholds, by threshold; rows and overlaps are found once.

    Raises:
        InputError: as `frame_map`; if there is no threshold.
    """
    return frame_maps_of(frame_matches(truth, found, protocol, ious=ious, exclude=exclude))


def frame_maps_of(matches: FrameMatches) -> dict[float, FrameResult]:
    """As `frame_maps`, of detections that are matched already, at the thresholds of the matches.

    Raises:
        InputError: if a class without ground truth has detections and the protocol refuses that.
    """
    return combine([frame_partial_of(matches, by_score=True)])


def actor_ap(truth: Boxes, found: Boxes, *, iou: float = 0.5) -> FrameResult:
    """Average precision of persons, whatever they do: one row per distinct box.

    The rows of one box (same video, frame and coordinates) are one person, scored by the best of
    their scores; labels are not compared. Two persons with exactly the same box count once.

    Raises:
        InputError: as `frame_map`.
    """
    return frame_map(persons(truth, truth=True), persons(found, truth=False), PERSON, iou=iou)
