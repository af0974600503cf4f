"""Semi-supervised training for any detector: a teacher that follows the student, pseudo labels.

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
from stad_ssl.frames import Keyframe, Neighbours, Proposals, PseudoLabels
from stad_ssl.interpolation import interpolate_labels
from stad_ssl.mean_teacher import MeanTeacher
from stad_ssl.pseudo_labels import Strategy, no_pseudo_labels, threshold_labels
from stad_ssl.quality import PseudoLabelCounts, count_pseudo_labels, match_boxes
from stad_ssl.schedules import cosine, early_momentum, linear_ramp_up, sigmoid_ramp_up

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
    "background_cost",
    "calibrate_thresholds",
    "class_thresholds",
    "cosine",
    "count_pseudo_labels",
    "early_momentum",
    "interpolate_labels",
    "linear_ramp_up",
    "match_boxes",
    "no_pseudo_labels",
    "pairwise_giou_loss",
    "pairwise_iou",
    "pairwise_smooth_l1",
    "sigmoid_ramp_up",
    "solve_assignment",
    "threshold_labels",
]
