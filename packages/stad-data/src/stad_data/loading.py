"""From samples to batches for training: a map-style dataset, its batches, their collation.

Needs the extra ``torch``. The samplers live in ``stad_data.sampling``.
Suffix legend: N = clips of a batch, T, H, W = frames, height, width.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from stad_data import mixing
from stad_data.annotation import VideoAnnotation
from stad_data.clip_tracks import ClipTracks
from stad_data.clips import Clip, ClipMaker, FrameSource, Placement, centred
from stad_data.mixing import MixUp
from stad_data.sampling import Key
from stad_data.video import VideoReader
from stad_eval import InputError

Transform = Callable[[Clip, np.random.Generator], Clip]


class ClipDataset(TorchDataset[Clip]):
    """Clips around samples, transformed, ready for a DataLoader with ``EpochBatches``.

    A sample's randomness derives from (seed, epoch, row) alone, so neither the number of workers
    or processes nor a restart can change it. Video files stay open between samples; a worker opens
    its own.

    Args:
        annotations: The videos.
        samples: int64 [S, 2], rows (video number, frame), from ``keyframe_samples``.
        length: Frames per clip.
        stride: Frames of the video per frame of the clip; or (low, high), a range that every clip's
            is drawn from.
        transform: Applied to every clip with the sample's own generator; None changes nothing.
        mix: Mix clips with others drawn at random, after the transform; None mixes none.
        seed: Root of all randomness.
        caches: Frames by video name, instead of the video's file, for the videos it names.
        open_files: How many video files one process keeps open.
        make: What makes the clip of a sample; a function that can be sent to a worker.

    Raises:
        InputError: A sample that names no frame of the videos.
    """

    def __init__(  # noqa: PLR0913 - all that decides what a sample is
        self,
        annotations: Sequence[VideoAnnotation],
        samples: NDArray[np.int64],
        *,
        length: int,
        stride: int | tuple[int, int],
        transform: Transform | None = None,
        mix: MixUp | None = None,
        seed: int = 0,
        caches: Mapping[str, FrameSource] | None = None,
        open_files: int = 8,
        make: ClipMaker = centred,
    ) -> None:
        self.annotations = tuple(annotations)
        self.samples = np.asarray(samples, dtype=np.int64).reshape(-1, 2)
        self.length = length
        self.stride = stride
        self.transform = transform
        self.mix = mix
        self.seed = seed
        self.caches = dict(caches or {})
        self.open_files = open_files
        self.make = make
        self._readers: OrderedDict[str, VideoReader] = OrderedDict()
        self._check_samples()

    def _check_samples(self) -> None:
        frames = np.array([annotation.num_frames for annotation in self.annotations], np.int64)
        video, frame = self.samples[:, 0], self.samples[:, 1]
        good = (video >= 0) & (video < len(frames)) & (frame >= 0)
        good[good] = frame[good] < frames[video[good]]
        if not good.all():
            raise InputError(
                "a sample outside the videos",
                row=int(np.argmin(good)),
                expected=f"(video, frame) within {len(frames)} videos and their frames",
                found=str(tuple(self.samples[int(np.argmin(good))].tolist())),
            )

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: Key | int) -> Clip:
        """The clip of a key (epoch, row); a bare row means epoch 0."""
        epoch, row = (0, key) if isinstance(key, int) else key
        if not 0 <= row < len(self.samples):
            raise IndexError(f"sample {row} of {len(self.samples)}")  # ends a plain iteration
        rng = np.random.default_rng([self.seed, epoch, row])
        clip = self._clip(row, rng)
        share = 1.0 if self.mix is None else self.mix.draw(rng)
        if share == 1.0:
            return clip
        return mixing.mix(clip, self._clip(int(rng.integers(len(self.samples))), rng), share)

    def _clip(self, row: int, rng: np.random.Generator) -> Clip:
        """The clip of a row, after the transform."""
        video, frame = self.samples[row].tolist()
        annotation = self.annotations[video]
        source = self.caches.get(annotation.video)
        if source is None:
            source = self._reader(annotation)
        stride = self.stride
        if isinstance(stride, tuple):
            stride = int(rng.integers(stride[0], stride[1] + 1))
        clip = self.make(annotation, frame, length=self.length, stride=stride, source=source)
        return clip if self.transform is None else self.transform(clip, rng)

    def _reader(self, annotation: VideoAnnotation) -> VideoReader:
        name = annotation.video
        if name in self._readers:
            self._readers.move_to_end(name)
            return self._readers[name]
        while len(self._readers) >= max(1, self.open_files):
            self._readers.popitem(last=False)[1].close()
        reader = self._readers[name] = VideoReader(annotation.path, gaps=annotation.gaps)
        return reader

    def close(self) -> None:
        """Close the video files that this process holds open."""
        while self._readers:
            self._readers.popitem()[1].close()


@dataclass(frozen=True, kw_only=True)
class ClipInfo:
    """Where a clip of a batch came from.

    Attributes:
        video: Name of the video.
        frame: Index of the keyframe.
        indices: int64 [T], which frame of the video each frame is.
        placement: From pixels of the annotated frame to pixels of the clip.
        size: (width, height) of the clip within the batch, without the padding.
        actors: Numbers of the actors of its boxes.
    """

    video: str
    frame: int
    indices: NDArray[np.int64] = field(compare=False)
    placement: Placement
    size: tuple[int, int]
    actors: tuple[int, ...] = ()


@dataclass(kw_only=True)
class Batch:
    """Clips of one training step.

    Attributes:
        clips: uint8 [N, 3, T, H, W], each clip in the upper left corner, black beyond it.
        boxes: Per clip float32 [Ni, 4], half-open ``xyxy`` in clip pixels, at the keyframe.
        labels: Per clip float32 [Ni, C] in {0, 1}; in [0, 1] where clips were mixed.
        clips_info: Per clip where it came from.
        masks: uint8 or float32 [N, T, H, W], 0 beyond each clip; None where clips have none.
        tracks: Per clip its actors in more frames than the keyframe, or None.
        flow: float32 [N, 2, T, H, W], (dx, dy) in clip pixels, 0 beyond each clip; None where
            clips have none. `clip_flow.early_fusion` stacks it under the frames.
        proposals: Per clip float32 [Pi, 5], boxes in clip pixels that another detector found at the
            keyframe, and their scores; None where there is no such detector.
        given: bool [N, H, W], the mask of each clip's first frame where it is given to the network
            (``Clip.given``); None where it is not.
    """

    clips: Tensor
    boxes: list[Tensor]
    labels: list[Tensor]
    clips_info: list[ClipInfo] = field(default_factory=list[ClipInfo])
    masks: Tensor | None = None
    tracks: list[ClipTracks | None] = field(default_factory=list[ClipTracks | None])
    flow: Tensor | None = None
    proposals: list[Tensor] | None = None
    given: Tensor | None = None

    def __len__(self) -> int:
        return len(self.clips)

    def pin_memory(self) -> "Batch":
        """The batch in page-locked memory; a DataLoader with ``pin_memory=True`` calls it."""
        return Batch(
            clips=self.clips.pin_memory(),
            boxes=[boxes.pin_memory() for boxes in self.boxes],
            labels=[labels.pin_memory() for labels in self.labels],
            clips_info=self.clips_info,
            masks=None if self.masks is None else self.masks.pin_memory(),
            tracks=self.tracks,
            flow=None if self.flow is None else self.flow.pin_memory(),
            proposals=(
                None if self.proposals is None else [rows.pin_memory() for rows in self.proposals]
            ),
            given=None if self.given is None else self.given.pin_memory(),
        )


def collate(clips: Sequence[Clip]) -> Batch:
    """One batch from clips of one length; frames are copied once.

    Smaller clips are padded with black to the right and below. In memory the channels stay last, as
    frames have them: it is the layout in which 3D convolutions are fastest, and costs no transpose.

    Raises:
        InputError: No clips, clips of different lengths, or masks of one kind, flow, or a given
            mask, in some clips only.
    """
    lengths = {len(clip.frames) for clip in clips}
    if len(lengths) != 1:
        raise InputError(
            "a batch needs clips of one length",
            expected="at least one clip, all with the same number of frames",
            found=f"{len(clips)} clips of lengths {sorted(lengths)}",
        )
    width = max(clip.size[0] for clip in clips)
    height = max(clip.size[1] for clip in clips)
    out = np.zeros((len(clips), lengths.pop(), height, width, 3), np.uint8)
    for place, clip in zip(out, clips, strict=True):
        w, h = clip.size
        place[:, :h, :w] = clip.frames
    masks = _masks(clips, out.shape[1:4])
    return Batch(
        clips=torch.from_numpy(out).permute(0, 4, 1, 2, 3),
        boxes=[torch.tensor(clip.boxes, dtype=torch.float32) for clip in clips],
        labels=[torch.tensor(clip.labels, dtype=torch.float32) for clip in clips],
        clips_info=[
            ClipInfo(
                video=clip.video,
                frame=clip.frame,
                indices=clip.indices,
                placement=clip.placement,
                size=clip.size,
                actors=tuple(clip.actors.tolist()),
            )
            for clip in clips
        ],
        masks=masks,
        tracks=[clip.tracks for clip in clips],
        flow=_flow(clips, out.shape[1:4]),
        given=_given(clips, masks),
    )


def _masks(clips: Sequence[Clip], shape: Sequence[int]) -> Tensor | None:
    """The masks of the clips, each in the upper left corner of [T, H, W]."""
    kinds = {None if clip.masks is None else clip.masks.dtype.name for clip in clips}
    if kinds == {None}:
        return None
    if len(kinds) > 1:
        raise InputError(
            "a batch needs masks of one kind",
            expected="all clips without masks, all with uint8 or all with float32",
            found=", ".join(sorted(map(str, kinds))),
        )
    out = np.zeros((len(clips), *shape), kinds.pop())
    for place, clip in zip(out, clips, strict=True):
        w, h = clip.size
        place[:, :h, :w] = clip.masks
    return torch.from_numpy(out)


def _flow(clips: Sequence[Clip], shape: Sequence[int]) -> Tensor | None:
    """The flow of the clips, each in the upper left corner of [T, H, W]."""
    given = [clip for clip in clips if clip.flow is not None]
    if not given:
        return None
    if len(given) < len(clips):
        raise InputError(
            "a batch needs flow in all of its clips or in none",
            expected=f"{len(clips)} clips with flow",
            found=f"{len(given)}",
        )
    out = np.zeros((len(clips), *shape, 2), np.float32)
    for place, clip in zip(out, clips, strict=True):
        w, h = clip.size
        place[:, :h, :w] = clip.flow
    return torch.from_numpy(out).permute(0, 4, 1, 2, 3)


def _given(clips: Sequence[Clip], masks: Tensor | None) -> Tensor | None:
    """The mask of each clip's first frame, where all clips give it."""
    count = sum(clip.given for clip in clips)
    if not count:
        return None
    if count < len(clips) or masks is None:
        raise InputError(
            "a batch needs a given mask in all of its clips or in none",
            expected=f"{len(clips)} clips with masks of which the first is given",
            found=f"{count}",
        )
    return masks[:, 0] == 1
