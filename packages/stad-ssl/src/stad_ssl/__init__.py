"""Semi-supervised training for any detector: a teacher, pseudo labels, consistency of views.

Everything sees networks and tensors, never a detector class.
"""

from stad_ssl.assignment import (
    CostWeights,
    assign_temporal_labels,
    assignment_cost,
    background_cost,
    solve_assignment,
)
from stad_ssl.boxes import pairwise_giou_loss, pairwise_iou, pairwise_smooth_l1
from stad_ssl.calibration import calibrate_thresholds, class_thresholds
from stad_ssl.consistency import (
    class_divergence,
    jensen_shannon,
    localisation_consistency,
    seen_mean,
    squared_difference,
)
from stad_ssl.frames import Keyframe, Neighbours, Proposals, PseudoLabels
from stad_ssl.interpolation import interpolate_labels
from stad_ssl.mean_teacher import MeanTeacher
from stad_ssl.mixing import mix_share, mixed, sharpen, sharpen_maps
from stad_ssl.pseudo_labels import Strategy, no_pseudo_labels, threshold_labels
from stad_ssl.quality import PseudoLabelCounts, count_pseudo_labels, match_boxes
from stad_ssl.schedules import (
    cosine,
    early_momentum,
    exponential_ramp_up,
    linear_ramp_up,
    sigmoid_ramp_up,
)
from stad_ssl.self_training import class_pseudo_labels, map_pseudo_labels, round_starts
from stad_ssl.temporal import (
    attended,
    consistency_objective,
    cyclic_clip,
    cyclic_variance_attention,
    gradient_attention,
    variance_attention,
)

__all__ = [
    "CostWeights",
    "Keyframe",
    "MeanTeacher",
    "Neighbours",
    "Proposals",
    "PseudoLabelCounts",
    "PseudoLabels",
    "Strategy",
    "assign_temporal_labels",
    "assignment_cost",
    "attended",
    "background_cost",
    "calibrate_thresholds",
    "class_divergence",
    "class_pseudo_labels",
    "class_thresholds",
    "consistency_objective",
    "cosine",
    "count_pseudo_labels",
    "cyclic_clip",
    "cyclic_variance_attention",
    "early_momentum",
    "exponential_ramp_up",
    "gradient_attention",
    "interpolate_labels",
    "jensen_shannon",
    "linear_ramp_up",
    "localisation_consistency",
    "map_pseudo_labels",
    "match_boxes",
    "mix_share",
    "mixed",
    "no_pseudo_labels",
    "pairwise_giou_loss",
    "pairwise_iou",
    "pairwise_smooth_l1",
    "round_starts",
    "seen_mean",
    "sharpen",
    "sharpen_maps",
    "sigmoid_ramp_up",
    "solve_assignment",
    "squared_difference",
    "threshold_labels",
    "variance_attention",
]
