"""Boxes that another detector found beforehand, at the keyframes of a dataset.

Suffix legend: P = proposals of a keyframe.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stad_cli.config import Recipe
from stad_data import VideoAnnotation
from stad_data.datasets.proposals import read_proposals
from stad_data.loading import ClipInfo
from stad_eval import InputError

_NONE = np.zeros((0, 5))


@dataclass(frozen=True, eq=False)
class ExternalProposals:
    """Proposals by video and keyframe.

    Attributes:
        by_frame: From (video, frame) to float64 [P, 5]: ``xyxy`` as shares of the annotated frame,
            and a score. Keyframes without proposals are not in it.
    """

    by_frame: Mapping[tuple[str, int], NDArray[np.float64]]

    def of(self, infos: Sequence[ClipInfo]) -> list[Tensor]:
        """Per clip float32 [P, 5] in pixels of the clip, cut at its border.

        A box of which no area is left within the clip is left out.
        """
        return [self._of_clip(info) for info in infos]

    def _of_clip(self, info: ClipInfo) -> Tensor:
        rows_P5 = self.by_frame.get((info.video, info.frame), _NONE)
        width, height = info.placement.size
        boxes_P4 = info.placement.to_clip(rows_P5[:, :4] * (width, height, width, height))
        boxes_P4[:, 0::2] = boxes_P4[:, 0::2].clip(0, info.size[0])
        boxes_P4[:, 1::2] = boxes_P4[:, 1::2].clip(0, info.size[1])
        good_P = (boxes_P4[:, 2:] > boxes_P4[:, :2]).all(axis=1)
        whole = np.concatenate([boxes_P4, rows_P5[:, 4:]], axis=1)[good_P]
        return torch.from_numpy(whole.astype(np.float32))


def wanted_proposals(
    recipe: Recipe,
    inputs: Literal["train_inputs", "test_inputs"],
    annotations: Sequence[VideoAnnotation],
) -> ExternalProposals | None:
    """Those of `data.proposals`, where this option of the recipe's model is "external".

    Raises:
        InputError: See `read_external_proposals`.
    """
    if recipe.model.options.get(inputs) != "external":
        return None
    return read_external_proposals(recipe.data.proposals, annotations)


def read_external_proposals(
    paths: Sequence[str], annotations: Sequence[VideoAnnotation]
) -> ExternalProposals:
    """The proposals of AVA's pickles for the keyframes of these videos.

    The files count seconds where the dataset does, else frames from 1. What they hold of other
    videos and moments is ignored; a video may be named with its suffix.

    Raises:
        InputError: A file that is missing or of another form, or files that say nothing about any
            keyframe of these videos.
    """
    moments = {annotation.video: _frames_by_moment(annotation) for annotation in annotations}
    found: dict[tuple[str, int], NDArray[np.float64]] = {}
    for path in paths:
        table = read_proposals(Path(path))
        rows_P5 = np.concatenate([table.box, table.score[:, None]], axis=1)
        for number, name in enumerate(table.videos):
            video = name if name in moments else str(Path(name).with_suffix(""))
            frames = moments.get(video, {})
            of_video = table.video == number
            for moment in np.unique(table.frame[of_video]).tolist():
                if moment in frames:
                    key = (video, frames[moment])
                    here = rows_P5[of_video & (table.frame == moment)]
                    found[key] = np.concatenate([found.get(key, _NONE), here])
    if not found:
        raise InputError(
            "data.proposals says nothing about any keyframe of the dataset",
            path=Path(paths[0]) if paths else None,
            expected="keys such as " + ", ".join(map(repr, _examples(annotations))),
            remedy="name the files for the training and the test videos, in a list",
        )
    return ExternalProposals(found)


def _frames_by_moment(annotation: VideoAnnotation) -> dict[int, int]:
    """From what the files count to the keyframe: seconds, or frames from 1."""
    frames = annotation.keyframes
    moments = frames + 1 if annotation.timestamps is None else annotation.timestamps
    return dict(zip(moments.tolist(), frames.tolist(), strict=True))


def _examples(annotations: Sequence[VideoAnnotation]) -> list[str]:
    return [
        f"{annotation.video},{next(iter(_frames_by_moment(annotation)), 1):04d}"
        for annotation in annotations[:2]
    ]
