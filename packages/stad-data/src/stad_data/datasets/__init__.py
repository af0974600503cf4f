"""Readers of published datasets and of annotation tools; every one gives the same ``Dataset``."""

from stad_data.datasets import (
    act,
    ava,
    ava_kinetics,
    coco_video,
    cvat,
    davis,
    jhmdb,
    label_studio,
    multisports,
    stad_json,
    ucf24,
    ucf_sports,
    youtube_vos,
)

__all__ = [
    "act",
    "ava",
    "ava_kinetics",
    "coco_video",
    "cvat",
    "davis",
    "jhmdb",
    "label_studio",
    "multisports",
    "stad_json",
    "ucf24",
    "ucf_sports",
    "youtube_vos",
]
