"""Metrics of spatio-temporal action detection, by named protocol."""

from stad_eval import formats, protocols
from stad_eval.bootstrap import Comparison, Interval, bootstrap_interval, compare, video_means
from stad_eval.boxes import area, paired_iou, pairwise_iou
from stad_eval.error_analysis import ErrorAnalysis
from stad_eval.error_breakdown import ErrorBreakdown
from stad_eval.error_gains import ErrorGains
from stad_eval.error_types import ErrorTypes
from stad_eval.errors import confusion
from stad_eval.evidence import (
    Evidence,
    frame_evidence,
    frame_evidence_of,
    tube_evidence,
    tube_evidence_of,
)
from stad_eval.explain import Explanation, differences, explain_frames, explain_options
from stad_eval.formats import detections_json, safe_pickle
from stad_eval.formats.act_pickle import (
    read_act_truth,
    read_act_tubes,
    write_act_truth,
    write_act_tubes,
)
from stad_eval.formats.ava_csv import read_ava_csv, read_ava_frames, write_ava_csv
from stad_eval.formats.ava_shards import ava_shards
from stad_eval.formats.frame_rows import read_frame_rows, write_frame_rows
from stad_eval.formats.label_map import LabelMap, read_label_map
from stad_eval.formats.mask_png import MaskFolder, davis_palette, read_mask_png, write_mask_png
from stad_eval.formats.multisports import read_multisports_tubes, write_multisports_tubes
from stad_eval.formats.pyannot import read_pyannot
from stad_eval.formats.retinanet import read_retinanet_frames, read_retinanet_tubes
from stad_eval.formats.tube_files import read_tube_truth, read_tubes
from stad_eval.formats.tubelet_files import TubeletFiles, read_tubelets
from stad_eval.formats.tubes_json import read_tubes_json, write_tubes_json
from stad_eval.formats.tubes_npz import read_tubes_npz, write_tubes_npz
from stad_eval.formats.youtube_vos_meta import read_youtube_vos_classes
from stad_eval.frame import FrameResult, actor_ap, frame_map, frame_maps, frame_maps_of
from stad_eval.frame_errors import frame_errors, frame_errors_of
from stad_eval.frame_matches import FrameMatches, frame_matches
from stad_eval.frame_parts import FramePartial
from stad_eval.greedy_linking import TubeletLinker
from stad_eval.input_error import InputError
from stad_eval.linking import GreedyLinker, link, link_rows
from stad_eval.localisation_maps import (
    LocalisationMaps,
    box_regions,
    map_box,
    map_boxes,
    map_detections,
    map_tubes,
)
from stad_eval.map_recall import MapOverlapProtocol, MapOverlapResult, map_overlap
from stad_eval.mask_protocols import MaskProtocol, mask_protocol
from stad_eval.mask_result import MaskResult, MaskStatistics, ObjectScores, combine_masks
from stad_eval.mask_scoring import score_mask_video, score_masks
from stad_eval.masks import boundary_measure, region_similarity
from stad_eval.mmaction2_linking import mmaction2_tubes
from stad_eval.person_localisation import PersonResult, person_ap
from stad_eval.precision import PrecisionRecall, average_precision, precision_recall
from stad_eval.preflight import Finding, check_boxes, check_tubes
from stad_eval.protocols import FrameProtocol
from stad_eval.shards import (
    combine,
    combine_files,
    frame_map_streamed,
    frame_partial,
)
from stad_eval.suppression import Suppression
from stad_eval.tables import Boxes, annotated_frames, check_truth, concatenate, empty_boxes
from stad_eval.trimming import Trimming, trim_rows
from stad_eval.tube_errors import tube_errors, tube_errors_of
from stad_eval.tube_matches import TubeMatches, tube_matches
from stad_eval.tube_nms import tube_nms
from stad_eval.tube_protocols import TubeProtocol, tube_protocol
from stad_eval.tube_rows import tubes_of_rows
from stad_eval.tube_tables import TubeFile, Tubes, concatenate_tubes, stack_tubes, tube_boxes
from stad_eval.tubelet_linking import (
    ACT_FRAME_NMS,
    ACT_LINKING,
    MOC_FRAME_NMS,
    MOC_LINKING,
    TubeletLinking,
    TubeletSmoother,
    link_tubelet_rows,
    link_tubelets,
)
from stad_eval.tubelets import Tubelets, empty_tubelets, frame_boxes, frame_nms, tubelet_nms
from stad_eval.tubes import Tube, tube_iou
from stad_eval.version import __version__
from stad_eval.video import (
    Coverage,
    VideoResult,
    combine_videos,
    video_map,
    video_map_of,
    video_map_streamed,
)
from stad_eval.video_shards import VideoPartial, video_partial
from stad_eval.viterbi import ViterbiLinking, viterbi_rows

__all__ = [
    "ACT_FRAME_NMS",
    "ACT_LINKING",
    "MOC_FRAME_NMS",
    "MOC_LINKING",
    "Boxes",
    "Comparison",
    "Coverage",
    "ErrorAnalysis",
    "ErrorBreakdown",
    "ErrorGains",
    "ErrorTypes",
    "Evidence",
    "Explanation",
    "Finding",
    "FrameMatches",
    "FramePartial",
    "FrameProtocol",
    "FrameResult",
    "GreedyLinker",
    "InputError",
    "Interval",
    "LabelMap",
    "LocalisationMaps",
    "MapOverlapProtocol",
    "MapOverlapResult",
    "MaskFolder",
    "MaskProtocol",
    "MaskResult",
    "MaskStatistics",
    "ObjectScores",
    "PersonResult",
    "PrecisionRecall",
    "Suppression",
    "Trimming",
    "Tube",
    "TubeFile",
    "TubeMatches",
    "TubeProtocol",
    "TubeletFiles",
    "TubeletLinker",
    "TubeletLinking",
    "TubeletSmoother",
    "Tubelets",
    "Tubes",
    "VideoPartial",
    "VideoResult",
    "ViterbiLinking",
    "__version__",
    "actor_ap",
    "annotated_frames",
    "area",
    "ava_shards",
    "average_precision",
    "bootstrap_interval",
    "boundary_measure",
    "box_regions",
    "check_boxes",
    "check_truth",
    "check_tubes",
    "combine",
    "combine_files",
    "combine_masks",
    "combine_videos",
    "compare",
    "concatenate",
    "concatenate_tubes",
    "confusion",
    "davis_palette",
    "detections_json",
    "differences",
    "empty_boxes",
    "empty_tubelets",
    "explain_frames",
    "explain_options",
    "formats",
    "frame_boxes",
    "frame_errors",
    "frame_errors_of",
    "frame_evidence",
    "frame_evidence_of",
    "frame_map",
    "frame_map_streamed",
    "frame_maps",
    "frame_maps_of",
    "frame_matches",
    "frame_nms",
    "frame_partial",
    "link",
    "link_rows",
    "link_tubelet_rows",
    "link_tubelets",
    "map_box",
    "map_boxes",
    "map_detections",
    "map_overlap",
    "map_tubes",
    "mask_protocol",
    "mmaction2_tubes",
    "paired_iou",
    "pairwise_iou",
    "person_ap",
    "precision_recall",
    "protocols",
    "read_act_truth",
    "read_act_tubes",
    "read_ava_csv",
    "read_ava_frames",
    "read_frame_rows",
    "read_label_map",
    "read_mask_png",
    "read_multisports_tubes",
    "read_pyannot",
    "read_retinanet_frames",
    "read_retinanet_tubes",
    "read_tube_truth",
    "read_tubelets",
    "read_tubes",
    "read_tubes_json",
    "read_tubes_npz",
    "read_youtube_vos_classes",
    "region_similarity",
    "safe_pickle",
    "score_mask_video",
    "score_masks",
    "stack_tubes",
    "trim_rows",
    "tube_boxes",
    "tube_errors",
    "tube_errors_of",
    "tube_evidence",
    "tube_evidence_of",
    "tube_iou",
    "tube_matches",
    "tube_nms",
    "tube_protocol",
    "tubelet_nms",
    "tubes_of_rows",
    "video_map",
    "video_map_of",
    "video_map_streamed",
    "video_means",
    "video_partial",
    "viterbi_rows",
    "write_act_truth",
    "write_act_tubes",
    "write_ava_csv",
    "write_frame_rows",
    "write_mask_png",
    "write_multisports_tubes",
    "write_tubes_json",
    "write_tubes_npz",
]
