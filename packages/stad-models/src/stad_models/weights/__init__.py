"""Weights of public checkpoints and our own, with a report of what went where.

`load(model, source)` recognises the layout by its keys, fills the model and says what it did;
`save` writes safetensors. One file per public layout: a new one is a `Layout` named in
`detection.LAYOUTS`.
"""

from stad_models.weights.detection import layout_names
from stad_models.weights.loading import load
from stad_models.weights.own_file import save
from stad_models.weights.report import LoadReport, WeightsError

__all__ = ["LoadReport", "WeightsError", "layout_names", "load", "save"]
