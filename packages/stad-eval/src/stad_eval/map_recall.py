"""How far localisation maps cover the true regions, as the semi-supervised paper's script counts.

The script calls its numbers f-mAP and v-mAP, but they are recalls: of the frames that have ground
truth and of videos, at an IoU, whatever class and score were found; and the overlap of a video is
a ratio of pixels pooled over its frames, not the overlap of tubes. Its means are NaN if a class
has no video. For comparison with its numbers only: `stad_eval.localisation_maps` is the strict way.

Legend: T frames, H rows, W columns, C classes, K thresholds.
Source: Kumar and Rawat, "End-to-End Semi-Supervised Learning for Video Action Detection", and the
evaluation that the authors published with it.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stad_eval.input_error import InputError
from stad_eval.localisation_maps import MAP_THRESHOLD, LocalisationMaps, check_classes
from stad_eval.protocol_names import by_name
from stad_eval.version import __version__


@dataclass(frozen=True, kw_only=True)
class MapOverlapProtocol:
    """How the overlap of maps with ground-truth regions is counted.

    Attributes:
        name: the id that results carry.
        map_threshold: a pixel is found where the map is at least this.
        thresholds: overlaps that count as right, IoU >= threshold.
        numbers: whether overlap and threshold are compared as "single" or "double" precision.
    """

    name: str
    map_threshold: float = MAP_THRESHOLD
    thresholds: tuple[float, ...] = tuple(step / 20 for step in range(20))
    numbers: Literal["single", "double"] = "single"


MAP_OVERLAP_PROTOCOLS: tuple[MapOverlapProtocol, ...] = (
    MapOverlapProtocol(name="localisation-maps+pi"),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class MapOverlapResult:
    """Recall of ground-truth frames and videos by localisation maps; no precision is in it.

    A class without a video (or without a frame) has no value, NaN in arrays.

    Attributes:
        protocol: id of the protocol.
        thresholds: the K overlaps.
        classes: names of the C classes.
        frame_recall: float64 [C, K], the script's "f-AP": frames with ground truth whose IoU
            reaches the threshold, whatever the class and score that were found.
        video_recall: float64 [C, K], the script's "v-AP": videos whose pooled overlap (shared
            pixels over all frames to covered pixels over all frames) reaches the threshold.
        accuracy: share of videos whose best score is that of their class.
        counts: videos and frames that were scored, videos without ground truth.
        version: version of stad-eval.
    """

    protocol: str
    thresholds: tuple[float, ...]
    classes: tuple[str, ...]
    frame_recall: NDArray[np.float64]
    video_recall: NDArray[np.float64]
    accuracy: float
    counts: dict[str, int]
    version: str = __version__

    def means(self, *, present: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Means over classes of both, [K] each.

        Over all classes, as the script takes them, they are NaN as soon as a class has no video;
        `present` leaves such classes out.
        """
        kept = ~np.isnan(self.video_recall[:, 0]) if present else np.ones(len(self.classes), bool)
        if not kept.any():
            nothing = np.full(len(self.thresholds), math.nan)
            return nothing, nothing.copy()
        return self.frame_recall[kept].mean(axis=0), self.video_recall[kept].mean(axis=0)

    def to_json(self) -> str:
        """JSON object; null where undefined."""
        content: dict[str, object] = {"protocol": self.protocol, "thresholds": self.thresholds}
        for name, present in (("all_classes", False), ("present_classes", True)):
            frame, video = self.means(present=present)
            content[name] = {"frame_recall": _numbers(frame), "video_recall": _numbers(video)}
        content["per_class"] = {
            name: {"frame_recall": _numbers(frame), "video_recall": _numbers(video)}
            for name, frame, video in zip(
                self.classes, self.frame_recall, self.video_recall, strict=True
            )
        }
        content["accuracy"] = None if math.isnan(self.accuracy) else self.accuracy
        content |= {"counts": self.counts, "version": self.version}
        return json.dumps(content, indent=2, allow_nan=False)


def map_overlap(
    videos: Iterable[tuple[LocalisationMaps, ArrayLike, int]],
    classes: Sequence[str],
    protocol: str | MapOverlapProtocol = "localisation-maps+pi",
) -> MapOverlapResult:
    """Score maps as the semi-supervised paper's script does, reading one video at a time.

    Each video comes as its maps, the ground-truth regions [T, H, W] (0 outside, anything else
    inside; `box_regions` draws boxes) and the index of its class. Frames without ground truth are
    not looked at, videos without any are left out.

    Raises:
        InputError: on an unknown protocol, regions of another size than the maps, or a class or
            scores that do not fit `classes`.
    """
    options = _overlap_protocol(protocol) if isinstance(protocol, str) else protocol
    names = tuple(classes)
    kind = np.float32 if options.numbers == "single" else np.float64
    limits_K = np.array(options.thresholds, dtype=kind)
    frames, videos_of, right, empty = (np.zeros(len(names), dtype=np.int64) for _ in range(4))
    frame_hits, video_hits = (np.zeros((len(names), limits_K.size), np.int64) for _ in range(2))
    for maps, regions, label in videos:
        check_classes(maps, names)
        if not 0 <= label < len(names):
            expected = f"0 to {len(names) - 1}"
            raise InputError(f"video '{maps.video}': bad class", expected=expected, found=label)
        shared_T, covered_T = _overlap(maps, regions, options)
        if shared_T.size == 0:
            empty[label] += 1
            continue
        frames[label] += shared_T.size
        videos_of[label] += 1
        right[label] += int(np.argmax(maps.scores)) == label
        iou_T = (shared_T / covered_T).astype(kind)
        frame_hits[label] += (iou_T[:, None] >= limits_K).sum(axis=0)
        video_hits[label] += kind(shared_T.sum() / covered_T.sum()) >= limits_K
    total = int(videos_of.sum())
    return MapOverlapResult(
        protocol=options.name,
        thresholds=options.thresholds,
        classes=names,
        frame_recall=_shares(frame_hits, frames),
        video_recall=_shares(video_hits, videos_of),
        accuracy=int(right.sum()) / total if total else math.nan,
        counts={
            "videos": total,
            "frames": int(frames.sum()),
            "videos_without_truth": int(empty.sum()),
        },
    )


def _overlap_protocol(name: str) -> MapOverlapProtocol:
    known = {each.name: each for each in MAP_OVERLAP_PROTOCOLS}
    return by_name(name, known, what="protocol of localisation maps")


def _overlap(
    maps: LocalisationMaps, regions: ArrayLike, options: MapOverlapProtocol
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels that both cover and that either covers, of each frame with ground truth."""
    inside = np.asarray(regions) != 0
    if inside.shape != maps.maps.shape:
        raise InputError(
            f"video '{maps.video}': ground truth does not fit the maps",
            expected=list(maps.maps.shape),
            found=list(inside.shape),
        )
    shared: list[int] = []
    covered: list[int] = []
    for values, region in zip(maps.maps, inside, strict=True):
        if region.any():
            there = values >= options.map_threshold
            shared.append(int(np.count_nonzero(there & region)))
            covered.append(int(np.count_nonzero(there | region)))
    return np.array(shared, dtype=np.int64), np.array(covered, dtype=np.int64)


def _shares(hits: NDArray[np.int64], totals: NDArray[np.int64]) -> NDArray[np.float64]:
    result = np.full(hits.shape, math.nan)
    return np.divide(hits, totals[:, None], out=result, where=totals[:, None] > 0)


def _numbers(values: NDArray[np.float64]) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]
