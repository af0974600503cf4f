"""Detectors of spatio-temporal action detection, and their parts."""

from stad_models import flops, zoo
from stad_models.detectors.se_stad import SeStad, SeStadOptions
from stad_models.normalisation import FrozenBatchNorm, freeze_batch_norm
from stad_models.structures import Detections, Targets

__all__ = [
    "Detections",
    "FrozenBatchNorm",
    "SeStad",
    "SeStadOptions",
    "Targets",
    "flops",
    "freeze_batch_norm",
    "zoo",
]
