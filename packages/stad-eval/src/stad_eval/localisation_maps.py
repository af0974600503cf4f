"""Localisation maps: where on each frame the action is, as values in [0, 1] of every pixel.

The strict way to score them is the ordinary one: `map_detections` and `map_tubes` turn maps into
boxes and tubes, which `frame_map` and `video_map` score by any protocol. `stad_eval.map_overlap`
gives the numbers of the semi-supervised paper's script instead.

Legend: T frames, H rows, W columns, C classes, N boxes.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stad_eval.input_error import InputError
from stad_eval.tables import Boxes, concatenate, empty_boxes
from stad_eval.tubes import Tube

MAP_THRESHOLD = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class LocalisationMaps:
    """What a model says of one video.

    Attributes:
        video: its name.
        maps: [T, H, W], any finite numbers, usually in [0, 1]; booleans for a mask.
        scores: float64 [C], the score of each class for the whole video.
        frames: int64 [T], increasing frame indices of the maps; None: 0 to T - 1.
        size: (width, height) of the frames, in whose pixels boxes are given; None: (W, H).

    Raises:
        InputError: on wrong shapes, frames out of order, or numbers that are not finite.
    """

    video: str
    maps: NDArray[np.generic]
    scores: NDArray[np.float64]
    frames: NDArray[np.int64] | None = None
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        place = f"localisation maps of video '{self.video}'"
        maps = _stack(self.maps, place)
        scores = np.asarray(self.scores)
        if scores.ndim != 1 or scores.dtype.kind not in "iuf" or not np.isfinite(scores).all():
            found = f"{scores.dtype} {list(scores.shape)}"
            raise InputError(f"{place}: bad scores", expected="finite numbers [C]", found=found)
        frames = np.arange(len(maps)) if self.frames is None else np.asarray(self.frames)
        whole = frames.dtype.kind in "iu" and frames.shape == (len(maps),)
        if not whole or (frames.size and frames[0] < 0) or (np.diff(frames) <= 0).any():
            raise InputError(
                f"{place}: bad frames",
                expected=f"{len(maps)} increasing frame indices, 0 or more",
                found=f"{frames.dtype} {list(frames.shape)}: {frames[:10].tolist()}",
            )
        size = (maps.shape[2], maps.shape[1]) if self.size is None else self.size
        if min(size) < 1:
            raise InputError(f"{place}: bad size", expected="(width, height), positive", found=size)
        object.__setattr__(self, "maps", maps)
        object.__setattr__(self, "scores", scores.astype(np.float64, copy=False))
        object.__setattr__(self, "frames", frames.astype(np.int64, copy=False))
        object.__setattr__(self, "size", (int(size[0]), int(size[1])))


def map_box(
    values: ArrayLike, *, threshold: float = MAP_THRESHOLD, connectivity: Literal[4, 8] = 4
) -> NDArray[np.float64] | None:
    """The box around the largest component of `values` [H, W] >= threshold; None if there is none.

    float64 [4], xyxy half-open, in pixels of the map. Components touch along edges (4), or corners
    too (8). Of components of one size, that whose box is smaller in the order x1, y1, x2, y2 wins.

    Raises:
        InputError: if the map is not [H, W] of finite numbers, or the connectivity not 4 or 8.
    """
    # Here and not above: scipy takes longer to import than all of the package.
    from scipy import ndimage

    if connectivity not in (4, 8):
        raise InputError("unknown connectivity", expected="4 or 8", found=connectivity)
    inside = _stack(np.asarray(values)[None], "localisation map")[0] >= threshold
    structure = ndimage.generate_binary_structure(2, 1 if connectivity == 4 else 2)
    labels = np.zeros(inside.shape, dtype=np.int32)
    ndimage.label(inside, structure, output=labels)
    sizes = np.bincount(labels.ravel())[1:]
    if sizes.size == 0:
        return None
    spans = ndimage.find_objects(labels)
    boxes = [
        (columns.start, rows.start, columns.stop, rows.stop)
        for at in np.flatnonzero(sizes == sizes.max())
        for rows, columns in [spans[at]]
    ]
    return np.array(min(boxes), dtype=np.float64)


def map_boxes(
    prediction: LocalisationMaps,
    *,
    threshold: float = MAP_THRESHOLD,
    connectivity: Literal[4, 8] = 4,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Frames [N] that have a box, and the boxes [N, 4] in pixels of the frame; see `map_box`."""
    frames: list[int] = []
    boxes: list[NDArray[np.float64]] = []
    for frame, values in zip(_frames(prediction), prediction.maps, strict=True):
        box = map_box(values, threshold=threshold, connectivity=connectivity)
        if box is not None:
            frames.append(int(frame))
            boxes.append(box)
    height, width = prediction.maps.shape[1:]
    size = prediction.size or (width, height)
    scale = np.array([size[0] / width, size[1] / height] * 2)
    stacked = np.array(boxes, dtype=np.float64).reshape(-1, 4) * scale
    return np.array(frames, dtype=np.int64), stacked


def map_detections(
    predictions: Iterable[LocalisationMaps],
    classes: Sequence[str],
    *,
    threshold: float = MAP_THRESHOLD,
    connectivity: Literal[4, 8] = 4,
) -> Boxes:
    """One row per frame with a box and class, scored by the video's score of the class.

    `classes` names the classes that `scores` are of. Videos may come one by one. No predictions
    give an empty table.

    Raises:
        InputError: if a video has not one score per class, or stands twice.
    """
    names = tuple(classes)
    tables: list[Boxes] = []
    for each in predictions:
        check_classes(each, names)
        frames, boxes = map_boxes(each, threshold=threshold, connectivity=connectivity)
        count, size = frames.size, len(names)
        tables.append(
            Boxes(
                videos=(each.video,),
                classes=names,
                video=np.zeros(count * size, dtype=np.int64),
                frame=np.repeat(frames, size),
                box=np.repeat(boxes, size, axis=0),
                label=np.tile(np.arange(size), count),
                score=np.tile(each.scores, count),
            )
        )
    _check_distinct([table.videos[0] for table in tables])
    return concatenate(tables) if tables else empty_boxes(classes=names)


def map_tubes(
    predictions: Iterable[LocalisationMaps],
    classes: Sequence[str],
    *,
    threshold: float = MAP_THRESHOLD,
    connectivity: Literal[4, 8] = 4,
) -> list[Tube]:
    """One tube per video and class through the boxes of its frames; none without any box.

    A tube's score is the video's score of the class; its label points into `classes`.

    Raises:
        InputError: if a video has not one score per class, or stands twice.
    """
    names = tuple(classes)
    tubes: list[Tube] = []
    seen: list[str] = []
    for each in predictions:
        check_classes(each, names)
        seen.append(each.video)
        frames, boxes = map_boxes(each, threshold=threshold, connectivity=connectivity)
        if frames.size:
            tubes += [
                Tube(video=each.video, label=label, score=float(score), frames=frames, boxes=boxes)
                for label, score in enumerate(each.scores)
            ]
    _check_distinct(seen)
    return tubes


def box_regions(boxes: ArrayLike, *, width: int, height: int) -> NDArray[np.bool_]:
    """Regions [T, height, width] that boxes [T, 4] fill, xyxy half-open, in whole pixels.

    Boxes are cut to integers and to the frame; a box without area gives an empty region.

    Raises:
        InputError: if the boxes are not finite numbers [T, 4].
    """
    rows = np.asarray(boxes)
    if rows.ndim != 2 or rows.shape[1] != 4 or rows.dtype.kind not in "iuf":
        raise InputError("bad boxes", expected="numbers [T, 4]", found=list(rows.shape))
    if not np.isfinite(rows).all():
        raise InputError("bad boxes", expected="finite numbers", found="NaN or infinity")
    regions = np.zeros((len(rows), height, width), dtype=np.bool_)
    limits = np.array([width, height, width, height])
    cut = np.clip(np.trunc(rows), 0, limits).astype(np.int64)
    for region, (left, top, right, bottom) in zip(regions, cut, strict=True):
        region[top:bottom, left:right] = True
    return regions


def check_classes(prediction: LocalisationMaps, classes: Sequence[str]) -> None:
    """Refuse a prediction that has not one score per class.

    Raises:
        InputError: naming the video.
    """
    if prediction.scores.shape != (len(classes),):
        raise InputError(
            f"video '{prediction.video}': scores do not fit the classes",
            expected=f"{len(classes)} scores",
            found=list(prediction.scores.shape),
        )


def _stack(value: ArrayLike, place: str) -> NDArray[np.generic]:
    maps = np.asarray(value)
    if maps.ndim != 3 or maps.dtype.kind not in "iufb" or 0 in maps.shape[1:]:
        found = f"{maps.dtype} {list(maps.shape)}"
        raise InputError(f"{place}: bad maps", expected="numbers [T, H, W]", found=found)
    if not np.isfinite(maps).all():
        raise InputError(f"{place}: bad maps", expected="finite numbers", found="NaN or infinity")
    return maps


def _frames(prediction: LocalisationMaps) -> NDArray[np.int64]:
    frames = prediction.frames
    return np.arange(len(prediction.maps)) if frames is None else frames


def _check_distinct(videos: Sequence[str]) -> None:
    twice = [name for name, count in Counter(videos).items() if count > 1]
    if twice:
        raise InputError("a video stands twice", expected="one entry per video", found=twice[0])
