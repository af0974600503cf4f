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

from stad_data.annotation import VideoAnnotation
from stad_data.clips import Clip, FrameSource, Placement, centred
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
        stride: Frames of the video per frame of the clip.
        transform: Applied to every clip with the sample's own generator; None changes nothing.
        seed: Root of all randomness.
        caches: Frames by video name, instead of the video's file, for the videos it names.
        open_files: How many video files one process keeps open.

    Raises:
        InputError: A sample that names no frame of the videos.
    """

    def __init__(
        self,
        annotations: Sequence[VideoAnnotation],
        samples: NDArray[np.int64],
        *,
        length: int,
        stride: int,
        transform: Transform | None = None,
        seed: int = 0,
        caches: Mapping[str, FrameSource] | None = None,
        open_files: int = 8,
    ) -> None:
        self.annotations = tuple(annotations)
        self.samples = np.asarray(samples, dtype=np.int64).reshape(-1, 2)
        self.length = length
        self.stride = stride
        self.transform = transform
        self.seed = seed
        self.caches = dict(caches or {})
        self.open_files = open_files
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
        video, frame = self.samples[row].tolist()
        annotation = self.annotations[video]
        source = self.caches.get(annotation.video)
        if source is None:
            source = self._reader(annotation)
        clip = centred(annotation, frame, length=self.length, stride=self.stride, source=source)
        if self.transform is None:
            return clip
        return self.transform(clip, np.random.default_rng([self.seed, epoch, row]))

    def _reader(self, annotation: VideoAnnotation) -> VideoReader:
        name = annotation.video
        if name in self._readers:
            self._readers.move_to_end(name)
            return self._readers[name]
        while len(self._readers) >= max(1, self.open_files):
            self._readers.popitem(last=False)[1].close()
        reader = self._readers[name] = VideoReader(annotation.path)
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
        placement: From pixels of the annotated frame to pixels of the clip.
        size: (width, height) of the clip within the batch, without the padding.
    """

    video: str
    frame: int
    placement: Placement
    size: tuple[int, int]


@dataclass(kw_only=True)
class Batch:
    """Clips of one training step.

    Attributes:
        clips: uint8 [N, 3, T, H, W], each clip in the upper left corner, black beyond it.
        boxes: Per clip float32 [Ni, 4], half-open ``xyxy`` in clip pixels, at the keyframe.
        labels: Per clip float32 [Ni, C] in {0, 1}.
        clips_info: Per clip where it came from.
    """

    clips: Tensor
    boxes: list[Tensor]
    labels: list[Tensor]
    clips_info: list[ClipInfo] = field(default_factory=list[ClipInfo])

    def __len__(self) -> int:
        return len(self.clips)

    def pin_memory(self) -> "Batch":
        """The batch in page-locked memory; a DataLoader with ``pin_memory=True`` calls it."""
        return Batch(
            clips=self.clips.pin_memory(),
            boxes=[boxes.pin_memory() for boxes in self.boxes],
            labels=[labels.pin_memory() for labels in self.labels],
            clips_info=self.clips_info,
        )


def collate(clips: Sequence[Clip]) -> Batch:
    """One batch from clips of one length; frames are copied once.

    Smaller clips are padded with black to the right and below. In memory the channels stay last, as
    frames have them: it is the layout in which 3D convolutions are fastest, and costs no transpose.

    Raises:
        InputError: No clips, or clips of different lengths.
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
    return Batch(
        clips=torch.from_numpy(out).permute(0, 4, 1, 2, 3),
        boxes=[torch.tensor(clip.boxes, dtype=torch.float32) for clip in clips],
        labels=[torch.tensor(clip.labels, dtype=torch.float32) for clip in clips],
        clips_info=[
            ClipInfo(video=clip.video, frame=clip.frame, placement=clip.placement, size=clip.size)
            for clip in clips
        ],
    )
