"""Detectors of spatio-temporal action detection, and their parts."""

from stad_models import flops, weights, zoo
from stad_models.compilation import compile_for_inference
from stad_models.detectors.cfad import Cfad
from stad_models.detectors.cfad_options import CfadOptions
from stad_models.detectors.moc import Moc, MocOptions
from stad_models.detectors.se_stad import SeStad
from stad_models.detectors.se_stad_options import SeStadOptions
from stad_models.detectors.stma import Stma
from stad_models.detectors.stma_options import StmaOptions
from stad_models.folding import fold_batch_norm
from stad_models.normalisation import FrozenBatchNorm, freeze_batch_norm
from stad_models.structures import Detections, Targets

__all__ = [
    "Cfad",
    "CfadOptions",
    "Detections",
    "FrozenBatchNorm",
    "Moc",
    "MocOptions",
    "SeStad",
    "SeStadOptions",
    "Stma",
    "StmaOptions",
    "Targets",
    "compile_for_inference",
    "flops",
    "fold_batch_norm",
    "freeze_batch_norm",
    "weights",
    "zoo",
]
