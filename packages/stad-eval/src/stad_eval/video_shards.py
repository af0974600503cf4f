"""Video-mAP in parts: score subsets of the videos, put the parts together, get exactly the whole.

A part keeps of every tube its score and where it is right, of every true tube how well it is
covered, and is saved as npz without pickles. Parts of a strict protocol make the same number as all
videos at once, to the last bit. Under a protocol that depends on the order of tubes, the whole is
that of the parts' tubes, one part after the other.

Suffix legend: N = found tubes, M = true tubes, T = thresholds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stad_eval.partial_files import check_alike, options_of, partial_content, write_partial
from stad_eval.tube_matches import TubeMatches, tube_matches
from stad_eval.tube_protocols import TubeProtocol
from stad_eval.tube_tables import Tubes
from stad_eval.tube_thresholds import IOU, Threshold

FORMAT = "stad-video-partial-1"
_ABOUT = ("classes", "thresholds", "videos", "counts")
_ARRAYS = ("label", "score", "correct", "truth_label", "best", "best_of_class")


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoPartial:
    """What the tubes of some videos add to a video-mAP.

    Attributes:
        protocol: the options.
        classes: names of the evaluated classes, which labels point into.
        thresholds: IoU thresholds, ascending.
        videos: names of the videos, in the order of the ground truth.
        label: int64 [N], class of each tube that was scored.
        score: float64 [N].
        correct: bool [T, N], whether it found a true tube at each threshold.
        truth_label: int64 [M].
        best: float64 [M], the largest overlap that a found tube of any class has with each truth;
            tubes that suppression leaves out count here.
        best_of_class: float64 [M], the same among found tubes of its own class.
        counts: tubes that were left out and why.
    """

    protocol: TubeProtocol
    classes: tuple[str, ...]
    thresholds: tuple[float, ...]
    videos: tuple[str, ...]
    label: NDArray[np.int64]
    score: NDArray[np.float64]
    correct: NDArray[np.bool_]
    truth_label: NDArray[np.int64]
    best: NDArray[np.float64]
    best_of_class: NDArray[np.float64]
    counts: Mapping[str, int]

    def save(self, path: str | Path) -> None:
        """Write an npz file, whole or not at all.

        Raises:
            InputError: if the folder does not exist.
            OSError: if it cannot be written.
        """
        about = {name: getattr(self, name) for name in _ABOUT}
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        write_partial(path, FORMAT, self.protocol, about, arrays)

    @staticmethod
    def load(path: str | Path) -> "VideoPartial":
        """Read what `save` wrote; nothing in the file is run.

        Raises:
            InputError: if the file is none of them.
        """
        with partial_content(path, FORMAT) as (about, arrays):
            part = VideoPartial(
                protocol=options_of(TubeProtocol, about["protocol"]),
                classes=tuple(str(each) for each in about["classes"]),
                thresholds=tuple(float(each) for each in about["thresholds"]),
                videos=tuple(str(each) for each in about["videos"]),
                counts={str(name): int(each) for name, each in about["counts"].items()},
                **{name: arrays[name] for name in _ARRAYS},
            )
            _check_shapes(part)
        return part


def video_partial(
    truth: Tubes,
    found: Tubes,
    protocol: str | TubeProtocol,
    *,
    iou: Sequence[Threshold] = IOU,
) -> VideoPartial:
    """Score the tubes of the videos that `truth` names, for `combine_videos`.

    Videos and classes are aligned by name. Give each part the found tubes of its own videos:
    tubes on other videos are left out, or false positives if the protocol says so. Thresholds as
    of `video_map`.

    Raises:
        InputError: as `video_map`.
    """
    return video_partial_of(tube_matches(truth, found, protocol, iou=iou))


def video_partial_of(matches: TubeMatches) -> VideoPartial:
    """What these matches add to a video-mAP."""
    return VideoPartial(
        protocol=matches.protocol,
        classes=matches.classes,
        thresholds=matches.thresholds,
        videos=matches.truth.videos,
        label=matches.found.label,
        score=matches.found.score,
        correct=matches.taken >= 0,
        truth_label=matches.truth.label,
        best=matches.best,
        best_of_class=matches.best_of_class,
        counts=matches.counts,
    )


def join_videos(shards: Iterable[VideoPartial]) -> VideoPartial:
    """One part of all videos, what scoring them at once would give.

    Raises:
        InputError: if there is no part, or they differ in protocol, classes or thresholds, or have
            a video in common.
    """
    parts = list(shards)
    check_alike(parts, ("protocol", "classes", "thresholds"))
    first = parts[0]
    return VideoPartial(
        protocol=first.protocol,
        classes=first.classes,
        thresholds=first.thresholds,
        videos=tuple(name for part in parts for name in part.videos),
        label=np.concatenate([part.label for part in parts]),
        score=np.concatenate([part.score for part in parts]),
        correct=np.concatenate([part.correct for part in parts], axis=1),
        truth_label=np.concatenate([part.truth_label for part in parts]),
        best=np.concatenate([part.best for part in parts]),
        best_of_class=np.concatenate([part.best_of_class for part in parts]),
        counts={key: sum(part.counts.get(key, 0) for part in parts) for key in first.counts},
    )


def _check_shapes(part: VideoPartial) -> None:
    found, truths = part.label.shape, part.truth_label.shape
    expected = {
        "label": (found, "i"),
        "score": (found, "f"),
        "correct": ((len(part.thresholds), *found), "b"),
        "truth_label": (truths, "i"),
        "best": (truths, "f"),
        "best_of_class": (truths, "f"),
    }
    for name, (shape, kind) in expected.items():
        array: NDArray[np.generic] = getattr(part, name)
        if array.shape != shape or len(array.shape) == 0 or array.dtype.kind != kind:
            raise ValueError(f"{name}: {array.dtype} {list(array.shape)}")
    for labels in (part.label, part.truth_label):
        if labels.size and not 0 <= labels.min() <= labels.max() < len(part.classes):
            raise ValueError("a label out of range")
