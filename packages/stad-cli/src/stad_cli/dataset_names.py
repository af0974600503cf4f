"""The layouts of datasets that can be read, by the names that recipes and commands use."""

from typing import Literal, get_args

DatasetName = Literal[
    "ava",
    "ava-kinetics",
    "jhmdb",
    "ucf24",
    "ucf-sports",
    "multisports",
    "youtube-vos",
    "davis",
    "cvat",
    "label-studio",
    "json",
    "act",
    "coco-video",
    "synthetic",
]
"""A layout; "synthetic" is what `stad data make synthetic` wrote for AVA."""

DATASET_NAMES: tuple[DatasetName, ...] = get_args(DatasetName)
