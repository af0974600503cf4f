"""A whole video through a tubelet detector, each frame's features worked out once.

Frames come in order, one by one or in chunks; the clip around every frame is looked at as soon as
its last frame is there. Suffixes: F frames, K frames of a tubelet, T frames of a clip.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from stad_models.structures import Tubelets


class TubeletDetector(Protocol):
    """A detector in two stages: frames on their own, then K of them together."""

    @property
    def training(self) -> bool:
        """Whether it is in training mode."""
        ...

    @property
    def tubelet_length(self) -> int:
        """K."""
        ...

    @property
    def clip_length(self) -> int:
        """T."""
        ...

    @property
    def clip_stride(self) -> int:
        """Frames of the video per frame of a clip."""
        ...

    @property
    def channels_in(self) -> int:
        """Channels of a frame."""
        ...

    @property
    def sees_clip(self) -> bool:
        """Whether it looks at all T frames, rather than at the K middle ones only."""
        ...

    @property
    def clip_step(self) -> int:
        """Frames of the video from one clip that is looked at to the next."""
        ...

    def frame_maps(self, frames: Tensor) -> tuple[Tensor, ...]:
        """Maps of frames `[F, C, H, W]`, each `[F, ...]`."""
        ...

    def clip_maps(self, clips: Tensor) -> tuple[Tensor, ...]:
        """Maps of clips `[N, C, T, H, W]`, each `[N, ...]`; none where it does not look at them."""
        ...

    def tubelets(
        self, maps: tuple[Tensor, ...], size: tuple[int, int], first: int
    ) -> list[Tubelets]:
        """Tubelets from the maps of K frames, `[N, K, ...]`, and of clips, `[N, ...]`."""
        ...


class TubeletStream:
    """Tubelets around every frame of one video, as its frames arrive.

    They are those that the detector gives for the clips of `stad_data.clips.window`: the clip
    around frame t has it at T // 2, and where it reaches over an end of the video the first or last
    frame is repeated. With a `clip_step` of s > 1 what is told from whole clips is told from those
    around the frames 0, s, 2 s, ..., the last one moved into the video, and a tubelet has that of
    the nearest (in the middle the later one). Memory holds the frames of one clip, or their maps,
    however long the video.

    Args:
        model: the detector, in evaluation mode.
        batch: how many frames, and how many clips, are worked out at a time.

    Raises:
        ValueError: the detector is in training mode, or the batch has no room for a frame.
    """

    def __init__(self, model: TubeletDetector, *, batch: int = 8) -> None:
        if model.training:
            raise ValueError("TubeletStream: call eval() on the detector first")
        if batch < 1:
            raise ValueError(f"TubeletStream: batch must be at least 1, found {batch}")
        self.model = model
        self.batch = batch
        length, stride, clip = model.tubelet_length, model.clip_stride, model.clip_length
        self.first = clip // 2 - length // 2
        self._snippet = [(place - length // 2) * stride for place in range(length)]
        self._clip = [(place - clip // 2) * stride for place in range(clip)]
        self._maps: dict[int, tuple[Tensor, ...]] = {}
        self._frames: dict[int, Tensor] = {}
        self._clip_maps: dict[int, tuple[Tensor, ...]] = {}
        self._seen = 0
        self._next = 0
        self._size: tuple[int, int] | None = None
        self._finished = False

    @torch.no_grad()
    def push(self, frames: Tensor) -> list[tuple[int, Tubelets]]:
        """Take the next frames and give what they complete.

        Args:
            frames: `[F, C, H, W]`, normalised as for the detector, on its device; F may be 0.

        Returns:
            (frame, tubelets) for each frame of the video whose clip is complete, in order. Box k of
            a tubelet lies on frame + (k - K // 2) * clip_stride, moved into the video.

        Raises:
            ValueError: frames of another shape than before, or after `finish`.
        """
        self._check(frames)
        for chunk in frames.split(self.batch):
            rows = zip(*self.model.frame_maps(chunk), strict=True)
            for frame, row in zip(chunk, rows, strict=True):
                self._maps[self._seen] = row
                if self.model.sees_clip:
                    self._frames[self._seen] = frame
                self._seen += 1
        return self._found(self._complete())

    @torch.no_grad()
    def finish(self) -> list[tuple[int, Tubelets]]:
        """Give what is left at the end of the video, as `push` does; no frames give nothing.

        Raises:
            ValueError: when called twice.
        """
        if self._finished:
            raise ValueError("TubeletStream: the video has ended; make a new stream for the next")
        self._finished = True
        found = self._found(self._seen)
        self._maps.clear()
        self._frames.clear()
        self._clip_maps.clear()
        return found

    def _found(self, end: int) -> list[tuple[int, Tubelets]]:
        """Tubelets around the frames from the next one up to `end`."""
        found: list[tuple[int, Tubelets]] = []
        for start in range(self._next, end, self.batch):
            frames = range(start, min(start + self.batch, end))
            found += zip(frames, self._tubelets(frames), strict=True)
        self._next = max(self._next, end)
        self._forget()
        return found

    def _tubelets(self, frames: range) -> list[Tubelets]:
        if self._size is None:
            raise ValueError("TubeletStream: no frame has come yet")
        rows = [self._maps[at] for frame in frames for at in self._around(frame, self._snippet)]
        maps = tuple(
            torch.stack(parts).unflatten(0, (len(frames), -1)) for parts in zip(*rows, strict=True)
        )
        if self.model.sees_clip:
            anchors = [self._anchor(frame) for frame in frames]
            self._look_at([at for at in dict.fromkeys(anchors) if at not in self._clip_maps])
            rows = [self._clip_maps[at] for at in anchors]
            maps = (*maps, *(torch.stack(parts) for parts in zip(*rows, strict=True)))
        return self.model.tubelets(maps, self._size, self.first)

    def _look_at(self, anchors: list[int]) -> None:
        """Work out the maps of the clips around these frames."""
        if not anchors:
            return
        clips = [
            torch.stack([self._frames[at] for at in self._around(anchor, self._clip)], dim=1)
            for anchor in anchors
        ]
        rows = zip(*self.model.clip_maps(torch.stack(clips)), strict=True)
        self._clip_maps.update(zip(anchors, rows, strict=True))

    def _anchor(self, frame: int) -> int:
        """The middle of the clip that the tubelets around a frame are told from."""
        step = self.model.clip_step
        return min((frame + step // 2) // step * step, self._seen - 1)

    def _complete(self) -> int:
        """How many frames of the video have all that is looked at for them."""
        end = self._seen - self._snippet[-1]
        if not self.model.sees_clip:
            return end
        step, last = self.model.clip_step, self._seen - 1 - self._clip[-1]
        return min(end, (last // step + 1) * step - step // 2)

    def _around(self, frame: int, offsets: list[int]) -> list[int]:
        return [min(max(frame + offset, 0), self._seen - 1) for offset in offsets]

    def _forget(self) -> None:
        """Let go of what no clip to come sees; the last frame stays, since it may be repeated."""
        step = self.model.clip_step
        anchor = (self._next + step // 2) // step * step
        kept: tuple[tuple[dict[int, Any], int], ...] = (
            (self._maps, self._next + self._snippet[0]),
            (self._frames, anchor + self._clip[0]),
            (self._clip_maps, anchor),
        )
        for values, first in kept:
            for old in [at for at in values if at < min(first, self._seen - 1)]:
                del values[old]

    def _check(self, frames: Tensor) -> None:
        if self._finished:
            raise ValueError("TubeletStream: the video has ended; make a new stream for the next")
        if frames.ndim != 4 or frames.shape[1] != self.model.channels_in:
            raise ValueError(
                f"TubeletStream: frames must be [F, {self.model.channels_in}, H, W], "
                f"found {list(frames.shape)}"
            )
        size = (frames.shape[3], frames.shape[2])
        if self._size not in (None, size):
            raise ValueError(
                f"TubeletStream: frames of one video need one size, found {size} after {self._size}"
            )
        self._size = size


def video_tubelets(
    model: TubeletDetector, chunks: Iterable[Tensor], *, batch: int = 8
) -> Iterator[tuple[int, Tubelets]]:
    """(frame, tubelets) for every frame of a video, from its frames in chunks `[F, C, H, W]`.

    Args:
        model: the detector, in evaluation mode.
        chunks: the video's frames in order, in chunks of any length.
        batch: as for `TubeletStream`.

    Raises:
        ValueError: as for `TubeletStream`.
    """
    stream = TubeletStream(model, batch=batch)
    for frames in chunks:
        yield from stream.push(frames)
    yield from stream.finish()
