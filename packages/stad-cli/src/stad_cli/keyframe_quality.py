"""How well a detector did at each keyframe, to pick the best and the worst ones for a report.

The measure is a soft Jaccard index of (actor, action) pairs. Detections are matched to the true
actors of the keyframe one to one, best overlap first, IoU at least ``iou``. Then

    quality = right / (true pairs + wrong)

where ``right`` adds up the scores of the true actions on matched detections, ``wrong`` the scores
of all other actions and of all actions of unmatched detections, each score from ``least`` on. So 1
means every true action found with certainty and nothing else claimed, 0 nothing right. A keyframe
without true pairs has no quality: there is nothing to find.

Suffix legend: N = true boxes, M = detected boxes, C = classes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stad_eval import Boxes, annotated_frames, pairwise_iou


@dataclass(frozen=True, kw_only=True, eq=False)
class Actors:
    """The distinct boxes of one keyframe with a score per class.

    Attributes:
        boxes: float64 [N, 4].
        scores: float64 [N, C]; 0 where the box has no row of the class.
    """

    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class KeyframeQuality:
    """One keyframe, what is true there, what was found, and how good that is.

    Attributes:
        video: Name of the video.
        frame: Index of the frame.
        quality: In [0, 1].
        truth: True actors; scores are 1 for their actions.
        found: Detected actors.
    """

    video: str
    frame: int
    quality: float
    truth: Actors
    found: Actors


def keyframe_qualities(
    truth: Boxes, found: Boxes, *, iou: float = 0.5, least: float = 0.05
) -> list[KeyframeQuality]:
    """The quality of every annotated keyframe that holds a true action, in the order of truth.

    Args:
        truth: Ground truth.
        found: Detections, of the same classes; videos are aligned by name.
        iou: Overlap from which a detection is at a true actor.
        least: Scores below it claim nothing.
    """
    number = {name: index for index, name in enumerate(truth.videos)}
    video_of = np.array([number.get(name, -1) for name in found.videos], dtype=np.int64)
    truth_rows = _by_frame(truth.video, truth.frame)
    found_rows = _by_frame(video_of[found.video], found.frame)
    nothing = np.zeros(0, np.intp)
    qualities: list[KeyframeQuality] = []
    for video, frame in annotated_frames(truth).tolist():
        true = _actors(truth, truth_rows.get((video, frame), nothing))
        if not len(true.boxes):
            continue
        seen = _actors(found, found_rows.get((video, frame), nothing))
        qualities.append(
            KeyframeQuality(
                video=truth.videos[video],
                frame=frame,
                quality=quality(true, seen, iou=iou, least=least),
                truth=true,
                found=seen,
            )
        )
    return qualities


def quality(truth: Actors, found: Actors, *, iou: float, least: float) -> float:
    """The soft Jaccard index of one keyframe; see the module."""
    claimed_MC = np.where(found.scores >= least, found.scores, 0.0)
    true_NC = truth.scores > 0
    right = 0.0
    for row, column in match(pairwise_iou(truth.boxes, found.boxes), iou):
        right += float(claimed_MC[column][true_NC[row]].sum())
    wrong = float(claimed_MC.sum()) - right
    return right / (float(true_NC.sum()) + wrong)


def match(iou_NM: NDArray[np.float64], least: float) -> list[tuple[int, int]]:
    """Pairs (row, column), best overlap first, no row or column twice."""
    pairs: list[tuple[int, int]] = []
    rows: set[int] = set()
    columns: set[int] = set()
    for flat in np.argsort(-iou_NM, axis=None, kind="stable").tolist():
        row, column = divmod(flat, iou_NM.shape[1])
        if iou_NM[row, column] < least:
            break
        if row not in rows and column not in columns:
            pairs.append((row, column))
            rows.add(row)
            columns.add(column)
    return pairs


def pick(
    qualities: list[KeyframeQuality], count: int
) -> tuple[list[KeyframeQuality], list[KeyframeQuality]]:
    """The best and the worst keyframes, best and worst first, one per video while videos last."""
    by_quality = sorted(qualities, key=lambda one: (-one.quality, one.video, one.frame))
    best = _spread(by_quality, count)
    chosen = {(one.video, one.frame) for one in best}
    rest = [one for one in reversed(by_quality) if (one.video, one.frame) not in chosen]
    return best, _spread(rest, count)


def _spread(ordered: list[KeyframeQuality], count: int) -> list[KeyframeQuality]:
    firsts: list[KeyframeQuality] = []
    others: list[KeyframeQuality] = []
    videos: set[str] = set()
    for one in ordered:
        (others if one.video in videos else firsts).append(one)
        videos.add(one.video)
    return (firsts + others)[:count]


def _by_frame(
    video: NDArray[np.int64], frame: NDArray[np.int64]
) -> dict[tuple[int, int], NDArray[np.intp]]:
    if not len(video):
        return {}
    order = np.lexsort((frame, video))
    changes = np.flatnonzero(np.diff(video[order]) | np.diff(frame[order])) + 1
    return {(int(video[rows[0]]), int(frame[rows[0]])): rows for rows in np.split(order, changes)}


def _actors(table: Boxes, rows: NDArray[np.intp]) -> Actors:
    """One actor per distinct box of these rows."""
    boxes, which = np.unique(table.box[rows].reshape(-1, 4), axis=0, return_inverse=True)
    scores = np.zeros((len(boxes), len(table.classes)))
    np.maximum.at(scores, (which.reshape(-1), table.label[rows]), table.score[rows])
    return Actors(boxes=boxes, scores=scores)
