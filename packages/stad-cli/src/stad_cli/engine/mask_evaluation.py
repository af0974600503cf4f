"""What following objects by their masks was worth: J and F, of all objects and by seen classes."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from stad_data import Dataset
from stad_eval import MaskResult, combine_masks, score_masks
from stad_eval.mask_protocols import MaskProtocol, mask_protocol

OWN_CLASSES = "youtube-vos+own-classes"
"""Id of YouTube-VOS' protocol with the classes of a dataset's own training part as those seen."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MaskEvaluation:
    """What was found in a part of a dataset, and what that is worth.

    Attributes:
        part: "train" or "test".
        protocol: How masks are scored, see `protocol_of`.
        videos: How many videos were looked at.
        parts: The result of each video, in order. Videos of which nothing is known but the given
            masks are not among them.
        clips: How many clips were looked at.
        seconds: How long that took.
    """

    part: str
    protocol: MaskProtocol
    videos: int
    parts: Mapping[str, MaskResult]
    clips: int
    seconds: float

    @cached_property
    def result(self) -> MaskResult:
        """J and F of all videos together; NaN where there is nothing to score."""
        if not self.parts:
            return score_masks({}, {}, self.protocol)
        return combine_masks(self.parts.values(), self.protocol)

    def on(self, videos: Collection[str]) -> "MaskEvaluation":
        """The same on some of the videos only."""
        kept = {name: part for name, part in self.parts.items() if name in videos}
        return replace(self, parts=kept, videos=len(videos))

    def metrics(self) -> dict[str, float]:
        """The numbers of the log, as fractions; of groups of classes those that have an object."""
        found = self.result
        region, boundary = found.region.mean, found.boundary.mean
        numbers = {"J&F": (region + boundary) / 2, "J": region, "F": boundary}
        groups = {name: each for name, each in found.groups.items() if not math.isnan(each.both)}
        for name, each in groups.items():
            numbers |= {f"J_{name}": each.region, f"F_{name}": each.boundary}
        return numbers

    @property
    def score(self) -> float:
        """What the best checkpoint is chosen by: J&F over objects."""
        return self.metrics()["J&F"]


def protocol_of(dataset: Dataset) -> MaskProtocol:
    """How masks of a dataset are scored.

    DAVIS and YouTube-VOS by their own protocols. Any other dataset as YouTube-VOS, where the
    classes that its training part has are the seen ones: the published list says nothing of them.
    """
    if dataset.name == "davis2017":
        return mask_protocol("davis2017")
    published = mask_protocol("youtube-vos")
    if set(dataset.classes.names) & set(published.seen_classes or ()):
        return published
    seen = {
        dataset.classes.names[label]
        for annotation in dataset.train
        for track in annotation.tracks
        for label in np.flatnonzero(track.labels.any(axis=0)).tolist()
    }
    return replace(published, name=OWN_CLASSES, seen_classes=tuple(sorted(seen)))
