"""Clips of one object that is followed from its mask: video object segmentation.

A video with several objects becomes one annotation per object, all of them with the video's name.
A clip begins with the reference, a frame on which the object's mask is given; the frames to be
segmented come after it. Needs the extra ``torch``.
Suffix legend: T = frames to be segmented, S = samples, H, W = height and width.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stad_data.annotation import MaskSource, VideoAnnotation
from stad_data.clip_masks import BoxMasks, with_masks
from stad_data.clips import Clip, FrameSource, gathered
from stad_data.tracks import Track
from stad_eval import InputError

_VOID = 255
_GOLDEN_SECTION = (5**0.5 - 1) / 2


@dataclass(frozen=True, kw_only=True, eq=False)
class ObjectMasks:
    """The masks of one object, a `MaskSource`: 1 where it is, 0 elsewhere, 255 undecided.

    Attributes:
        source: The masks of all objects of the video.
        index: The object's number in them.
        known: The only frames whose masks may be told, 0 on all others; None tells all.
    """

    source: MaskSource
    index: int
    known: tuple[int, ...] | None = None

    def read(self, frames: Sequence[int]) -> NDArray[np.uint8]:
        """Masks uint8 [T, H, W]."""
        if self.known is None:
            return self._own(self.source.read(frames))
        told = [at for at, frame in enumerate(frames) if frame in self.known]
        # One mask is read in any case, for its size.
        found = self._own(self.source.read([frames[at] for at in told] or self.known[:1]))
        masks = np.zeros((len(frames), *found.shape[1:]), np.uint8)
        if told:
            masks[told] = found
        return masks

    def _own(self, masks: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.where(masks == _VOID, np.uint8(_VOID), (masks == self.index).astype(np.uint8))


def labelled_objects(annotation: VideoAnnotation) -> tuple[VideoAnnotation, ...]:
    """The objects of a video, each with its masks on all annotated frames.

    An annotation per track, in their order, whose ``masks`` are `ObjectMasks`. A video without
    masks is taken by its boxes (`BoxMasks`). A video without objects gives none.
    """
    found: list[VideoAnnotation] = []
    for track in annotation.tracks:
        alone = replace(annotation, tracks=(track,))
        source = annotation.masks or BoxMasks(annotation=alone)
        masks = ObjectMasks(source=source, index=track.actor + 1)
        found.append(replace(alone, masks=masks))
    return tuple(found)


def given_objects(annotation: VideoAnnotation) -> tuple[VideoAnnotation, ...]:
    """The objects of a video with what the task gives of each: the mask on its first frame alone.

    As `labelled_objects`, but tracks and masks end with the first frame, and all frames of the
    video are keyframes: each of them may be asked for.
    """
    found: list[VideoAnnotation] = []
    for one in labelled_objects(annotation):
        track: Track = one.tracks[0]
        first = Track(
            actor=track.actor,
            frames=track.frames[:1],
            boxes=track.boxes[:1],
            labels=track.labels[:1],
        )
        masks = one.masks
        if isinstance(masks, ObjectMasks):
            masks = replace(masks, known=(int(track.frames[0]),))
        found.append(
            replace(
                one,
                tracks=(first,),
                masks=masks,
                keyframes=np.arange(one.num_frames),
                timestamps=None,
            )
        )
    return tuple(found)


def object_samples(
    objects: Sequence[VideoAnnotation], *, every: int = 1, empty: bool = True
) -> NDArray[np.int64]:
    """Frames that clips can begin with: int64 [S, 2] rows (object number, frame), in order.

    These are the keyframes after the object's first one. An object without any (its video ends
    with it) gives none.

    Args:
        objects: From `labelled_objects` or `given_objects`; the number points into them.
        every: Take each ``every``-th of them, beginning in the middle of the first step.
        empty: Whether frames on which the object is hidden or gone belong to them.

    Raises:
        InputError: ``every`` below 1.
    """
    if every < 1:
        raise InputError("a step between samples", expected="every >= 1", found=str(every))
    rows = [np.zeros((0, 2), np.int64)]
    for number, one in enumerate(objects):
        track = one.tracks[0]
        frames = one.keyframes[one.keyframes > track.frames[0]]
        if not empty:
            frames = np.intersect1d(frames, track.frames)
        frames = frames[min(every // 2, len(frames) // 2) :: every]
        rows.append(np.stack([np.full_like(frames, number), frames], axis=1))
    return np.concatenate(rows)


def covering_samples(
    objects: Sequence[VideoAnnotation], *, length: int, stride: int
) -> NDArray[np.int64]:
    """Samples whose clips together show every keyframe after each object's first: int64 [S, 2].

    Within spans of length x stride keyframes there is one clip for each offset below the stride.
    The last span ends with the video and may overlap the one before.
    """
    rows = [np.zeros((0, 2), np.int64)]
    span = length * stride
    for number, one in enumerate(objects):
        frames = one.keyframes[one.keyframes > one.tracks[0].frames[0]]
        starts = np.append(np.arange(0, len(frames) - span, span), max(0, len(frames) - span))
        places = (starts[:, None] + np.arange(stride)).reshape(-1)
        chosen = frames[np.unique(places[places < len(frames)])]
        rows.append(np.stack([np.full_like(chosen, number), chosen], axis=1))
    return np.concatenate(rows)


def object_clip(
    annotation: VideoAnnotation,
    frame: int,
    *,
    length: int,
    stride: int,
    source: FrameSource | None = None,
) -> Clip:
    """The reference and the T frames of a video that begin with one frame; a `ClipMaker`.

    The reference is a frame before ``frame`` on which the object's mask is known; where there are
    several, ``frame`` says which, so that near and far ones come equally often over many clips. It
    is the clip's keyframe, at position 0, and ``clip.given`` is true. The others are every
    ``stride``-th keyframe from ``frame`` on; where the video ends its last keyframe is repeated.
    ``clip.masks`` are the object's.

    Args:
        annotation: One of `labelled_objects` or `given_objects`.
        frame: A keyframe after the object's first one.
        length: T; the clip has T + 1 frames.
        stride: Keyframes from one frame of the clip to the next.
        source: Where frames come from, as for `centred`.

    Raises:
        InputError: No mask is known before this frame, no keyframe is left from it on, or a file
            that cannot be read.
    """
    masks, track = annotation.masks, annotation.tracks[0]
    known = track.frames[track.frames < frame]
    steps = annotation.keyframes[annotation.keyframes >= frame]
    if not len(known) or not len(steps) or masks is None:
        raise InputError(
            f"video {annotation.video!r}: object {track.actor + 1} cannot be followed from frame "
            f"{frame} on",
            path=annotation.path,
            expected="a mask of it on an earlier frame, and a frame to be segmented",
            found=f"its first mask on frame {track.frames[0]}, {len(steps)} frames left",
        )
    # Multiples of the golden section fill [0, 1) evenly, in whatever order they are met.
    reference = int(known[int(frame * _GOLDEN_SECTION % 1.0 * len(known))])
    places = (np.arange(length) * stride).clip(max=len(steps) - 1)
    indices = np.concatenate([[reference], steps[places]])
    clip = gathered(annotation, reference, indices, source=source)
    return with_masks(replace(clip, keyframe=0, given=True), masks)
