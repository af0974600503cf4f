"""Flow in clips: put beside the frames, moved with them, and stacked under them for a model.

Needs the extra ``torch``. Suffix legend: N = clips, T = frames, H, W = height and width.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stad_data import flow_vectors
from stad_data.annotation import VideoAnnotation
from stad_data.clips import Clip, ClipMaker, FrameSource, centred
from stad_data.flow import FlowSettings
from stad_data.flow_cache import FlowFile, open_flow
from stad_data.placement import Placement
from stad_eval import InputError

BOUND = 20.0
"""Pixels of displacement that early fusion maps to 1."""


class FlowSource(Protocol):
    """Anything that gives flow by frame: a `flow_cache.FlowFile`, a stub."""

    def read(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """Flow float32 [T, h, w, 2] of these frames, in pixels of its own size."""
        ...


def with_flow(clip: Clip, source: FlowSource) -> Clip:
    """The clip with the flow of its frames, before it is transformed.

    A frame's flow leads to the next frame of the video, whatever the stride of the clip, in pixels
    of the clip's size: where the source has another size, it is resized and scaled.

    Raises:
        InputError: A clip that shows another view than the whole frame, or flow that cannot be
            read.
    """
    width, height = clip.placement.size
    whole = Placement(size=(width, height)).scaled(clip.size[0] / width, clip.size[1] / height)
    if clip.placement != whole:
        raise InputError(
            f"clip of {clip.video!r}: flow comes before transforms",
            expected="a clip of whole frames",
            found=repr(clip.placement),
        )
    return replace(clip, flow=flow_vectors.resized(source.read(clip.indices), *clip.size))


class FlowClips:
    """Makes clips with flow, for `loading.ClipDataset`.

    Args:
        folder: Where `stad data flow` (`flow_cache.fill`) put the flow of the videos.
        make: What makes the clips: `clips.centred`, `windows.tubelet`, ...
        settings: What the flow has to be; None takes it as it was computed.
        given: Flow by video name, instead of the files of the folder.
        open_files: How many files of flow one process keeps open.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        make: ClipMaker = centred,
        settings: FlowSettings | None = None,
        given: Mapping[str, FlowSource] | None = None,
        open_files: int = 64,
    ) -> None:
        self.folder = Path(folder)
        self.make = make
        self.settings = settings
        self.given = given
        self.open_files = open_files
        self._files: OrderedDict[str, FlowFile] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": OrderedDict()}

    def __call__(
        self,
        annotation: VideoAnnotation,
        frame: int,
        *,
        length: int,
        stride: int,
        source: FrameSource | None = None,
    ) -> Clip:
        """The clip around a frame of a video, with its flow.

        Raises:
            InputError: As ``make``; or the video's flow is missing, damaged, or of another file.
        """
        clip = self.make(annotation, frame, length=length, stride=stride, source=source)
        given = self.given
        return with_flow(clip, self._file(annotation) if given is None else given[annotation.video])

    def _file(self, annotation: VideoAnnotation) -> FlowFile:
        name = annotation.video
        if name not in self._files:
            self._files[name] = open_flow(self.folder, annotation, self.settings)
            if len(self._files) > max(1, self.open_files):
                self._files.popitem(last=False)
        self._files.move_to_end(name)
        return self._files[name]


def early_fusion(clips: Tensor, flow: Tensor, *, bound: float = BOUND) -> Tensor:
    """Frames and flow as one input of five channels: [N, 5, T, H, W].

    The displacements are cut at ``bound`` pixels and divided by it, so that they lie in [-1, 1].

    Args:
        clips: float [N, 3, T, H, W], normalised as the model wants them.
        flow: float32 [N, 2, T, H, W], as `loading.Batch.flow`.
        bound: Pixels.

    Raises:
        InputError: Frames that are bytes still, shapes that disagree, or a bound of 0.

    Source: Carreira and Zisserman, "Quo vadis, action recognition?" (cut at 20 pixels).
    """
    alike = clips.ndim == 5 and clips.shape[1] == 3
    wanted = (len(clips), 2, *clips.shape[2:]) if alike else None
    if wanted is None or flow.shape != wanted or not clips.is_floating_point() or not bound > 0:
        raise InputError(
            "frames and flow cannot be stacked",
            expected="clips float [N, 3, T, H, W], flow [N, 2, T, H, W], bound > 0",
            found=f"clips {clips.dtype} {tuple(clips.shape)}, flow {tuple(flow.shape)}, "
            f"bound {bound}",
        )
    return torch.cat([clips, (flow / bound).clamp(-1, 1).to(clips)], dim=1)
