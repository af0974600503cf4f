"""Average precision of persons, whatever they do, by COCO's evaluation (extra `coco`).

It tells localisation apart from classification: a detector whose boxes score high here and low by
action finds the people and misnames what they do.
"""

import contextlib
import importlib
import io
import json
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stad_eval.frame_rows import NO_FRAMES, persons
from stad_eval.input_error import InputError
from stad_eval.tables import Boxes, annotated_frames, check_truth, indices_of
from stad_eval.version import __version__

MOST_PERSONS = 100


@dataclass(frozen=True, kw_only=True)
class PersonResult:
    """COCO's average precision of persons; fractions, NaN without ground truth.

    Attributes:
        mean: AP over IoU 0.5 to 0.95 in steps of 0.05.
        ap_50: AP at IoU 0.5.
        ap_75: AP at IoU 0.75.
        recall: the greatest recall, averaged over these thresholds, at most 100 boxes a frame.
        counts: frames, persons of the ground truth and detected persons that were scored.
        version: version of stad-eval.
    """

    mean: float
    ap_50: float
    ap_75: float
    recall: float
    counts: dict[str, int]
    version: str = __version__

    def table(self) -> str:
        """Aligned text in per cent."""
        rows = {
            "AP 0.5:0.95": self.mean,
            "AP 0.5": self.ap_50,
            "AP 0.75": self.ap_75,
            "recall": self.recall,
        }
        head = f"persons: {self.counts['frames']} frames, {self.counts['truths']} persons"
        lines = [
            f"{name:<12}{'-' if math.isnan(value) else f'{100.0 * value:.2f}':>8}"
            for name, value in rows.items()
        ]
        return "\n".join([head, "-" * 20, *lines])

    def to_json(self) -> str:
        """JSON object: protocol ("coco-persons"), AP (by threshold), recall, counts, version."""
        values = {"0.5:0.95": self.mean, "0.5": self.ap_50, "0.75": self.ap_75}
        content = {
            "protocol": "coco-persons",
            "AP": {key: None if math.isnan(value) else value for key, value in values.items()},
            "recall": None if math.isnan(self.recall) else self.recall,
            "counts": self.counts,
            "version": self.version,
        }
        return json.dumps(content, indent=2, allow_nan=False)


def person_ap(
    truth: Boxes, found: Boxes, *, exclude: Collection[tuple[str, int]] = NO_FRAMES
) -> PersonResult:
    """COCO's AP of boxes, classes aside: one row per distinct box, scored by its best label.

    Detections count on the frames that were annotated and not excluded. No detections give 0, no
    ground truth gives NaN. Sizes of boxes make no difference, so that boxes may be in any unit.
    Source: pycocotools, COCOeval with one category.

    Raises:
        InputError: if pycocotools is not installed, on ground truth without area, and on inverted
            detections.
    """
    coco = _imported("pycocotools.coco")
    cocoeval = _imported("pycocotools.cocoeval")
    check_truth(truth)
    inverted = (found.box[:, 2] < found.box[:, 0]) | (found.box[:, 3] < found.box[:, 1])
    if inverted.any():
        raise InputError(
            f"{int(inverted.sum())} detection(s) have an inverted box",
            expected="x1 <= x2 and y1 <= y2",
            found=found.box[np.flatnonzero(inverted)[0]].tolist(),
        )
    images = _images(truth, exclude)
    true, detected = persons(truth, truth=True), persons(found, truth=False)
    rows = [_rows(table, truth.videos, images) for table in (true, detected)]
    counts = {"frames": len(images), "truths": len(rows[0]), "detections": len(rows[1])}
    if not rows[0] or not rows[1]:
        value = 0.0 if rows[0] else math.nan
        return PersonResult(mean=value, ap_50=value, ap_75=value, recall=value, counts=counts)
    for each in rows[0]:
        each |= {"iscrowd": 0}
    # What pycocotools says of its progress is for people who wait, not for programs.
    with contextlib.redirect_stdout(io.StringIO()):
        known = coco.COCO()
        known.dataset = {
            "info": {},
            "images": [{"id": at} for at in images.values()],
            "categories": [{"id": 1, "name": "person"}],
            "annotations": rows[0],
        }
        known.createIndex()
        evaluation = cocoeval.COCOeval(known, known.loadRes(rows[1]), "bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0.0, 1e10]], ["all"]
        evaluation.params.maxDets = [MOST_PERSONS]
        evaluation.evaluate()
        evaluation.accumulate()
    precision: NDArray[np.float64] = evaluation.eval["precision"][:, :, 0, 0, 0]
    recall: NDArray[np.float64] = evaluation.eval["recall"][:, 0, 0, 0]
    by_threshold = precision.mean(axis=1)
    return PersonResult(
        mean=float(by_threshold.mean()),
        ap_50=float(by_threshold[0]),
        ap_75=float(by_threshold[5]),
        recall=float(recall.mean()),
        counts=counts,
    )


def _imported(name: str) -> Any:  # noqa: ANN401 (pycocotools has no types)
    try:
        return importlib.import_module(name)
    except ImportError:
        raise InputError(
            "person localisation needs pycocotools",
            remedy="pip install 'stad-eval[coco]'",
        ) from None


def _images(truth: Boxes, exclude: Collection[tuple[str, int]]) -> dict[tuple[int, int], int]:
    """A number from 1 for each annotated (video, frame) that is not excluded."""
    place = {name: at for at, name in enumerate(truth.videos)}
    left_out = {(place[name], frame) for name, frame in exclude if name in place}
    pairs = [(video, frame) for video, frame in annotated_frames(truth).tolist()]
    kept = [pair for pair in pairs if pair not in left_out]
    return {pair: at for at, pair in enumerate(kept, start=1)}


def _rows(
    table: Boxes, videos: tuple[str, ...], images: dict[tuple[int, int], int]
) -> list[dict[str, Any]]:
    """The boxes on those images as COCO lists them: x, y, width, height."""
    to_video = indices_of(table.videos, {name: at for at, name in enumerate(videos)})
    video = to_video[table.video] if len(table) else table.video
    size = table.box[:, 2:] - table.box[:, :2]
    columns = (video, table.frame, table.box[:, :2], size, table.score)
    rows: list[dict[str, Any]] = []
    # One dict per box is what pycocotools takes.
    for at, frame, corner, sides, score in zip(*(c.tolist() for c in columns), strict=True):
        if (at, frame) in images:
            rows.append(
                {
                    "id": len(rows) + 1,
                    "image_id": images[at, frame],
                    "category_id": 1,
                    "bbox": [*corner, *sides],
                    "area": sides[0] * sides[1],
                    "score": score,
                }
            )
    return rows
