"""Metrics of spatio-temporal action detection, by named protocol."""

from stad_eval import formats, protocols
from stad_eval.boxes import area, paired_iou, pairwise_iou
from stad_eval.errors import confusion
from stad_eval.formats import detections_json, safe_pickle
from stad_eval.formats.ava_csv import read_ava_csv, read_ava_frames, write_ava_csv
from stad_eval.formats.label_map import LabelMap, read_label_map
from stad_eval.frame import FrameResult, actor_ap, frame_map
from stad_eval.input_error import InputError
from stad_eval.linking import GreedyLinker, link, link_rows
from stad_eval.precision import PrecisionRecall, average_precision, precision_recall
from stad_eval.protocols import FrameProtocol
from stad_eval.tables import Boxes, annotated_frames, check_truth, concatenate, empty_boxes
from stad_eval.tubes import Tube, tube_iou
from stad_eval.version import __version__

__all__ = [
    "Boxes",
    "FrameProtocol",
    "FrameResult",
    "GreedyLinker",
    "InputError",
    "LabelMap",
    "PrecisionRecall",
    "Tube",
    "__version__",
    "actor_ap",
    "annotated_frames",
    "area",
    "average_precision",
    "check_truth",
    "concatenate",
    "confusion",
    "detections_json",
    "empty_boxes",
    "formats",
    "frame_map",
    "link",
    "link_rows",
    "paired_iou",
    "pairwise_iou",
    "precision_recall",
    "protocols",
    "read_ava_csv",
    "read_ava_frames",
    "read_label_map",
    "safe_pickle",
    "tube_iou",
    "write_ava_csv",
]
