"""The files of tubes and of boxes on frames that several commands take, told apart by content."""

import argparse
import json
from pathlib import Path
from typing import Literal, get_args

from stad_eval.formats import detections_json, safe_pickle
from stad_eval.formats.act_pickle import read_act_tubes
from stad_eval.formats.files import read_text
from stad_eval.formats.frame_rows import read_frame_rows
from stad_eval.formats.npz import read_npz
from stad_eval.formats.reference_tubes import COLUMNS, reference_truth, reference_tubes
from stad_eval.formats.retinanet import read_retinanet_frames
from stad_eval.formats.tube_arrays import Corners
from stad_eval.formats.tube_files import read_tube_truth, read_tubes
from stad_eval.tables import Boxes
from stad_eval.tube_tables import TubeFile, Tubes


def add_corners(parser: argparse.ArgumentParser) -> None:
    """The option `--corners`."""
    parser.add_argument(
        "--corners",
        choices=get_args(Corners),
        default="half-open",
        help="what the corners of the ground truth's boxes are, where it is a pickle; to score "
        "boxes from elsewhere against it, say inclusive for UCF101v2-GT.pkl, one-based for "
        "JHMDB-GT.pkl and pyannot (default: half-open, as they are)",
    )


def read_truth(
    path: Path,
    *,
    split: int = 1,
    part: Literal["test", "train"] = "test",
    corners: Corners = "half-open",
) -> TubeFile:
    """Ground truth of tubes: a pickle of ACT, MOC, MultiSports or `pyannot`, or our JSON or npz.

    Raises:
        InputError: naming file and place, if it has none of these forms.
    """
    if path.suffix == ".json":
        content = _json(path)
        if isinstance(content, dict) and "gttubes" in content:
            return reference_truth(content, path)
    return read_tube_truth(path, split=split, part=part, corners=corners)


def read_found_tubes(path: Path, truth: TubeFile) -> Tubes:
    """Detected tubes: a pickle of MultiSports or 3D-RetinaNet, a folder of ACT's, our JSON or npz.

    Raises:
        InputError: naming file and place, if they have none of these forms.
    """
    names: dict[str, tuple[str, ...]] = {
        "videos": truth.tubes.videos,
        "classes": truth.tubes.classes,
    }
    if path.is_dir():
        return read_act_tubes(path, videos=names["videos"], classes=names["classes"])
    if path.suffix == ".npz":
        arrays = read_npz(path)
        if set(COLUMNS) <= set(arrays) and "about" not in arrays:
            return reference_tubes(arrays, path, videos=names["videos"], classes=names["classes"])
    return read_tubes(path, videos=names["videos"], classes=names["classes"])


def read_found_boxes(path: Path, truth: TubeFile) -> Boxes:
    """Detections on frames: rows in a pickle or npz, 3D-RetinaNet's pickle, or our JSON.

    Raises:
        InputError: naming file and place, if they have none of these forms.
    """
    videos, classes = truth.tubes.videos, truth.tubes.classes
    if path.suffix == ".json":
        return detections_json.read(path).found
    if path.suffix != ".npz":
        content = safe_pickle.load(path)
        if isinstance(content, dict) and "action" in content:
            return read_retinanet_frames(path, videos=videos, classes=classes)
    return read_frame_rows(path, videos=videos, classes=classes)


def _json(path: Path) -> object:
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError):
        return None  # the reader of our own format says what is wrong, and where
