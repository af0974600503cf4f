"""What one sample of a recipe is: a clip around a keyframe, with a tubelet or masks, or a video.

The five forms of `[clip] form` differ in which samples there are, in how a clip is made of one, and
in how the predictions of clips become tables; all of it is chosen here and nowhere else.
Suffix legend: S = samples, T = frames of a clip.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from stad_cli.config import EvalSection, Recipe
from stad_cli.engine.collectors.findings import Collector
from stad_cli.engine.collectors.keyframes import KeyframeCollector
from stad_cli.engine.collectors.maps import MapCollector
from stad_cli.engine.collectors.tubelets import TubeletCollector
from stad_cli.engine.collectors.tubes import TubeCollector
from stad_data import ActionClasses, Clip, VideoAnnotation, windows
from stad_data.clip_flow import FlowClips, FlowSource
from stad_data.clip_masks import BoxMasks, with_masks
from stad_data.clip_samples import tubelet_samples
from stad_data.clips import ClipMaker, FrameSource, centred
from stad_data.object_clips import (
    covering_samples,
    given_objects,
    labelled_objects,
    object_clip,
    object_samples,
)
from stad_data.sampling import keyframe_samples
from stad_eval import InputError, Trimming, TubeletLinking


def clip_maker(recipe: Recipe, flows: Mapping[str, FlowSource] | None = None) -> ClipMaker:
    """What makes the clip of a sample; it can be sent to a worker.

    Args:
        recipe: The form of clips, and whether they have flow.
        flows: Optical flow by video name; None reads the recipe's folder.
    """
    makers: dict[str, ClipMaker] = {
        "keyframe": centred,
        "tubelet": partial(windows.tubelet, boxes=recipe.clip.tubelet),
        "video": whole_video,
        "map": masked,
        "object": object_clip,
    }
    make, folder = makers[recipe.clip.form], recipe.data.flow
    return make if folder is None else FlowClips(folder, make=make, given=flows)


def trained_on(
    recipe: Recipe, annotations: Sequence[VideoAnnotation]
) -> tuple[VideoAnnotation, ...]:
    """What samples point into: the annotated videos, or for objects each object of each of them."""
    if recipe.clip.form != "object":
        return tuple(annotations)
    return tuple(one for annotation in annotations for one in labelled_objects(annotation))


def followed(recipe: Recipe, annotations: Sequence[VideoAnnotation]) -> tuple[VideoAnnotation, ...]:
    """The same of videos of which, for objects, the first mask of each is known alone."""
    if recipe.clip.form != "object":
        return tuple(annotations)
    return tuple(one for annotation in annotations for one in given_objects(annotation))


def training_samples(recipe: Recipe, annotations: Sequence[VideoAnnotation]) -> NDArray[np.int64]:
    """The samples int64 [S, 2] (video number, frame) of an epoch of training.

    Keyframes and maps: every n-th annotated frame. Tubelets: windows of annotated frames which no
    actor enters or leaves. Videos: each of them. Objects: every n-th annotated frame after their
    first one.

    Args:
        recipe: The form of clips.
        annotations: From `trained_on`.
    """
    clip, data = recipe.clip, recipe.data
    if clip.form == "object":
        return object_samples(annotations, every=data.every_nth_frame, empty=not data.skip_empty)
    if clip.form == "video":
        return video_samples(annotations, empty=not data.skip_empty)
    if clip.form == "tubelet":
        return tubelet_samples(
            annotations,
            boxes=clip.tubelet or 1,
            stride=clip.stride,
            step=data.every_nth_frame,
            partial=False,
            empty=not data.skip_empty,
        )
    return keyframe_samples(annotations, every=data.every_nth_frame, empty=not data.skip_empty)


def evaluation_samples(
    recipe: Recipe, annotations: Sequence[VideoAnnotation], *, every_nth_frame: int = 1
) -> NDArray[np.int64]:
    """The samples int64 [S, 2] that together look at everything annotated, in order.

    Keyframes: every n-th. Tubelets: one for each first frame. Maps: clips side by side in which
    every frame of the video comes once. Videos: each of them. Objects: clips side by side of every
    frame after their first one.

    Args:
        recipe: The form of clips.
        annotations: From `followed`.
        every_nth_frame: Of keyframes alone.
    """
    clip = recipe.clip
    if clip.form == "object":
        return covering_samples(annotations, length=clip.length, stride=clip.stride)
    if clip.form == "keyframe":
        return keyframe_samples(annotations, every=every_nth_frame)
    if clip.form == "video":
        return video_samples(annotations)
    rows = [np.zeros((0, 2), np.int64)]
    for number, annotation in enumerate(annotations):
        if clip.form == "tubelet":
            frames = _middles(annotation.num_frames, clip.tubelet or 1)
        else:
            frames = _side_by_side(annotation.num_frames, clip.length, clip.stride)
        rows.append(np.stack([np.full_like(frames, number), frames], axis=1))
    return np.concatenate(rows)


def collector(
    recipe: Recipe,
    annotations: Sequence[VideoAnnotation],
    classes: ActionClasses,
    *,
    every_nth_frame: int = 1,
) -> Collector:
    """What gathers the predictions of this recipe's clips (of objects see `object_evaluation`).

    Raises:
        InputError: Keyframes are to be linked that lie seconds apart.
    """
    if recipe.clip.form == "tubelet":
        return TubeletCollector(
            annotations,
            classes,
            linking=TubeletLinking(min_length=recipe.eval.min_tube),
            trimming=_trimming(recipe.eval),
        )
    if recipe.clip.form == "map":
        return MapCollector(annotations, classes, threshold=recipe.eval.map_threshold)
    if recipe.clip.form == "video":
        return TubeCollector(annotations, classes)
    if recipe.eval.link and any(each.timestamps is not None for each in annotations):
        raise InputError(
            "keyframes that are annotated once a second cannot be linked",
            expected="a dataset that annotates every frame",
            found=recipe.data.dataset,
            remedy="set eval.link=false",
        )
    link = every_nth_frame if recipe.eval.link else None
    return KeyframeCollector(annotations, classes, link=link, min_tube=recipe.eval.min_tube)


def _trimming(section: EvalSection) -> Trimming | None:
    if section.trim_penalty is None:
        return None
    return Trimming(
        penalty=section.trim_penalty, level=section.trim_level, window=section.trim_window
    )


def video_samples(
    annotations: Sequence[VideoAnnotation], *, empty: bool = True
) -> NDArray[np.int64]:
    """One sample per video, at its middle frame; `empty` keeps videos without any actor."""
    rows = [
        (number, annotation.num_frames // 2)
        for number, annotation in enumerate(annotations)
        if empty or annotation.tracks
    ]
    return np.array(rows, np.int64).reshape(-1, 2)


def whole_video(
    annotation: VideoAnnotation,
    frame: int,  # noqa: ARG001 - every frame stands for the whole video
    *,
    length: int,
    stride: int,  # noqa: ARG001 - follows from the video's length
    source: FrameSource | None = None,
) -> Clip:
    """A whole video in `length` frames, with the actors of all of them."""
    return windows.resampled(annotation, length=length, source=source)


def masked(
    annotation: VideoAnnotation,
    frame: int,
    *,
    length: int,
    stride: int,
    source: FrameSource | None = None,
) -> Clip:
    """The clip around a frame with the masks of its frames: the dataset's own, or of its boxes."""
    clip = centred(annotation, frame, length=length, stride=stride, source=source)
    source_of_masks = annotation.masks
    if source_of_masks is None:
        source_of_masks = BoxMasks(annotation=annotation)
    return with_masks(clip, source_of_masks)


def _middles(frames: int, tubelet: int) -> NDArray[np.int64]:
    """Where the tubelets of a video have their middle; a video that is shorter has one."""
    if frames < tubelet:
        return np.array([frames // 2], np.int64)
    return np.arange(frames - tubelet + 1, dtype=np.int64) + tubelet // 2


def _side_by_side(frames: int, length: int, stride: int) -> NDArray[np.int64]:
    """The keyframes of clips that together show every frame of a video once.

    Within spans of length x stride frames there is one clip for each offset below the stride. The
    last span ends with the video and may overlap the one before.
    """
    span = length * stride
    starts = np.arange(0, max(1, frames - span), span)
    starts = np.append(starts, max(0, frames - span)) if frames > span else starts
    first = (starts[:, None] + np.arange(stride)).reshape(-1)
    return np.unique((first + (length // 2) * stride).clip(0, frames - 1))
