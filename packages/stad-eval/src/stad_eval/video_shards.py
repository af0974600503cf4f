"""Video-mAP in parts: score subsets of the videos, put the parts together, get exactly the whole.

A part keeps of every tube its score and where it is right, of every true tube how well it is
covered, and is saved as npz without pickles. Parts of a strict protocol make the same number as all
videos at once, to the last bit. Under a protocol that depends on the order of tubes, the whole is
that of the parts' tubes, one part after the other.

Suffix legend: N = found tubes, M = true tubes, T = thresholds.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stad_eval.formats.npz import read_npz, write_npz
from stad_eval.input_error import InputError
from stad_eval.scored_tubes import scored_tubes
from stad_eval.tube_matching import match_tubes, preference, ranking
from stad_eval.tube_nms import tube_nms
from stad_eval.tube_overlap import Pairs, pairs_within, tube_overlaps
from stad_eval.tube_protocols import TubeProtocol, tube_protocol
from stad_eval.tube_tables import Tubes
from stad_eval.tube_thresholds import IOU, Threshold, threshold_ranges

FORMAT = "stad-video-partial-1"
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
        names = ("classes", "thresholds", "videos", "counts")
        about: dict[str, object] = {name: getattr(self, name) for name in names}
        about |= {"format": FORMAT, "protocol": asdict(self.protocol)}
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        write_npz(path, {"about": np.array(json.dumps(about)), **arrays})

    @staticmethod
    def load(path: str | Path) -> "VideoPartial":
        """Read what `save` wrote; nothing in the file is run.

        Raises:
            InputError: if the file is none of them.
        """
        content = read_npz(path)
        try:
            about = json.loads(str(content["about"]))
            if about["format"] != FORMAT:
                raise ValueError(about["format"])
            options: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value
                for name, value in about["protocol"].items()
            }
            part = VideoPartial(
                protocol=TubeProtocol(**options),
                classes=tuple(about["classes"]),
                thresholds=tuple(about["thresholds"]),
                videos=tuple(about["videos"]),
                counts=about["counts"],
                **{name: content[name] for name in _ARRAYS},
            )
            _check_shapes(part)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise InputError(
                "not a partial result", path=path, expected=f"npz of {FORMAT}", found=repr(error)
            ) from None
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
    protocol = tube_protocol(protocol) if isinstance(protocol, str) else protocol
    limits = tuple(sorted({each for values in threshold_ranges(iou).values() for each in values}))
    scored = scored_tubes(truth, found, protocol)
    classes, truth, kept, counts = scored.classes, scored.truth, scored.found, scored.counts
    pairs = pairs_within(kept.video, truth.video)
    overlap = tube_overlaps(kept, truth, pairs, protocol)
    same = kept.label[pairs.a] == truth.label[pairs.b]
    best = _best(pairs, overlap, len(truth))
    pairs, overlap = pairs.select(same), overlap[same]
    best_of_class = _best(pairs, overlap, len(truth))
    if protocol.nms is not None:
        left = tube_nms(kept, threshold=protocol.nms, protocol=protocol)
        counts["detections_suppressed"] = len(kept) - left.size
        place = np.full(len(kept), -1, dtype=np.int64)
        place[left] = np.arange(left.size)
        kept, remain = kept.select(left), place[pairs.a] >= 0
        pairs = Pairs(a=place[pairs.a[remain]], b=pairs.b[remain])
        overlap = overlap[remain]
    won = match_tubes(
        pairs,
        overlap,
        ranking(kept, protocol),
        preference(truth, protocol),
        limits,
        protocol.matching,
    )
    return VideoPartial(
        protocol=protocol,
        classes=classes,
        thresholds=limits,
        videos=truth.videos,
        label=kept.label,
        score=kept.score,
        correct=won >= 0,
        truth_label=truth.label,
        best=best,
        best_of_class=best_of_class,
        counts=counts,
    )


def join_videos(shards: Iterable[VideoPartial]) -> VideoPartial:
    """One part of all videos, what scoring them at once would give.

    Raises:
        InputError: if there is no part, or they differ in protocol, classes or thresholds, or have
            a video in common.
    """
    parts = list(shards)
    if not parts:
        raise InputError("no parts to combine", expected="at least one", found="none")
    first = parts[0]
    seen: set[str] = set()
    for part in parts:
        for name in ("protocol", "classes", "thresholds"):
            if getattr(part, name) != getattr(first, name):
                raise InputError(
                    f"parts of different {name} cannot be combined",
                    expected=getattr(first, name),
                    found=getattr(part, name),
                )
        twice = seen.intersection(part.videos)
        if twice:
            raise InputError("a video is in two parts", found=min(twice))
        seen.update(part.videos)
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


def _best(pairs: Pairs, overlap: NDArray[np.float64], truths: int) -> NDArray[np.float64]:
    """The largest overlap of every truth; an undefined overlap counts as none."""
    best = np.zeros(truths)
    np.maximum.at(best, pairs.b, np.nan_to_num(overlap, nan=0.0))
    return best
