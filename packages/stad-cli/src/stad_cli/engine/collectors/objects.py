"""Localisation maps of the objects of a video, as one index mask per frame.

Suffix legend: H, W = height and width of the annotated frame, h, w = those of clips.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from stad_data import VideoAnnotation
from stad_data.datasets import video_files
from stad_data.loading import ClipInfo
from stad_data.warping import undo
from stad_models.structures import Maps


class FollowedObjects:
    """What was found of the objects of one video.

    A frame that several clips show has the mean of their maps.

    Args:
        annotation: The video.
        objects: Its objects, from `object_clips.given_objects`; perhaps none.
        threshold: Value of a map from which a pixel belongs to the object.
    """

    def __init__(
        self, annotation: VideoAnnotation, objects: Sequence[VideoAnnotation], *, threshold: float
    ) -> None:
        self._annotation, self._objects, self._threshold = annotation, objects, threshold
        self._info: ClipInfo | None = None
        self._sums: dict[tuple[int, int], NDArray[np.float32]] = {}
        self._counts: dict[tuple[int, int], int] = {}

    def add(self, info: ClipInfo, prediction: Maps) -> None:
        """Add the maps of one object's clip, of all frames but the given one."""
        self._info = info
        width, height = info.size
        maps = prediction.localisation.detach().float().cpu().numpy()[:, :height, :width]
        for frame, values in zip(info.indices[1:].tolist(), maps, strict=True):
            key = (info.actors[0], frame)
            self._sums[key] = self._sums[key] + values if key in self._sums else values
            self._counts[key] = self._counts.get(key, 0) + 1

    def index_mask(self, frame: int) -> NDArray[np.uint8]:
        """The mask uint8 [H, W] of a frame: 0 background, ``actor + 1`` an object.

        A pixel belongs to the object that is surest of it, if that reaches the threshold; of
        equals the one with the smaller number. On the frame on which an object's mask is given the
        object has that mask, whatever else was found there. Before that frame it is nowhere.
        """
        width, height = self._annotation.size
        found = np.zeros((height, width), np.uint8)
        keys = sorted(key for key in self._sums if key[1] == frame)
        if keys and self._info is not None:
            means = np.stack([self._sums[key] / self._counts[key] for key in keys])
            maps, _ = undo(torch.from_numpy(means)[:, None], self._info)
            best, place = maps[:, 0].max(dim=0)
            numbers = np.array([actor + 1 for actor, _ in keys], np.uint8)
            sure = (best >= self._threshold).numpy()
            found = np.where(sure, numbers[place.numpy()], np.uint8(0))
        for one in self._objects:
            track, masks = one.tracks[0], one.masks
            if masks is not None and int(track.frames[0]) == frame:
                found[masks.read([frame])[0] == 1] = track.actor + 1
        return found


def frame_names(annotation: VideoAnnotation) -> list[str]:
    """What the mask files of a video's frames are called: as its images, or 00000, 00001, ..."""
    images = video_files.images(Path(annotation.path))
    if len(images) == annotation.num_frames:
        return [path.stem for path in images]
    return [f"{frame:05d}" for frame in range(annotation.num_frames)]
