"""Datasets of spatio-temporal action detection: readers, frame-exact video, clips, transforms.

Importing this package needs neither torch nor a video; ``stad_data.transforms`` and
``stad_data.loading`` need the extra ``torch``.
"""

from stad_data import check, clips, datasets, synthetic
from stad_data.annotation import (
    ActionClasses,
    Dataset,
    FrameAnnotation,
    Track,
    VideoAnnotation,
    action_tubes,
    truth_table,
)
from stad_data.clips import Clip, FrameSource, Placement
from stad_data.video import Frame, VideoReader, VideoWriter

__all__ = [
    "ActionClasses",
    "Clip",
    "Dataset",
    "Frame",
    "FrameAnnotation",
    "FrameSource",
    "Placement",
    "Track",
    "VideoAnnotation",
    "VideoReader",
    "VideoWriter",
    "action_tubes",
    "check",
    "clips",
    "datasets",
    "synthetic",
    "truth_table",
]
