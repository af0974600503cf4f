"""What is known about a video: who is where in which frame, and what they do there.

Every dataset reader gives these types, whatever its files look like. Boxes are ``xyxy`` floats
in pixels of the annotated frame, half-open, and frame indices count decoded frames from 0.

Suffix legend: T = frames of a track, N = actors in a frame, C = classes, K = keyframes,
M = boxes of a whole video.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from stad_data.tracks import BoxTable, TableTracks, frozen, table_of
from stad_data.tracks import FrameAnnotation as FrameAnnotation
from stad_data.tracks import Track as Track
from stad_data.video_folder import Gaps
from stad_eval import Boxes, InputError, Tube


@dataclass(frozen=True, kw_only=True)
class ActionClasses:
    """The actions of a dataset, in the order of the label indices.

    Attributes:
        names: One name per class; the position is the 0-based label used everywhere in the code.
        ids: The class numbers of the dataset's own files, aligned with ``names``.
        exclusive: Whether an actor does exactly one action at a time (JHMDB, UCF101-24: softmax);
            otherwise an actor may do several at once (AVA: one sigmoid per class).

    Raises:
        InputError: No class, a name or an id given twice, or lists of different lengths.
    """

    names: tuple[str, ...]
    ids: tuple[int, ...]
    exclusive: bool

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "ids", tuple(int(number) for number in self.ids))
        if not self.names:
            raise InputError("a dataset needs at least one action class", found="no names")
        if len(self.ids) != len(self.names):
            raise InputError(
                "classes need one id each",
                expected=f"{len(self.names)} ids",
                found=f"{len(self.ids)}",
            )
        for what, values in (("name", self.names), ("id", self.ids)):
            if len(set(values)) != len(values):
                twice = sorted({str(value) for value in values if values.count(value) > 1})
                raise InputError(f"a class {what} is given twice", found=", ".join(twice))

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def index_of_id(self) -> dict[int, int]:
        """From the file's class number to the 0-based label."""
        return {number: label for label, number in enumerate(self.ids)}

    @cached_property
    def index_of_name(self) -> dict[str, int]:
        """From the class name to the 0-based label."""
        return {name: label for label, name in enumerate(self.names)}


class MaskSource(Protocol):
    """The pixel masks of a video, read when asked for; can be sent to a worker process."""

    def read(self, frames: Sequence[int]) -> NDArray[np.uint8]:
        """Masks uint8 [T, H, W] of the annotated frames: 0 is background, ``actor + 1`` an actor.

        255 marks pixels that no one decided on. A frame without a mask is all 0.
        """
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoAnnotation:
    """One video of a dataset: where its file lies, how long it is, and its actors.

    Attributes:
        video: Name, unique in the dataset, for example ``"brush_hair/April_09_..."``.
        path: The video file.
        num_frames: Number of frames that decoding gives (containers may tell another number).
        size: (width, height) of the frame that the boxes refer to. The file may have another
            size (UCF101-24: boxes on 320x240, files at 340x256); clips scale the boxes.
        fps: Mean frame rate, where it is known.
        tracks: The actors. Every frame of a track is one of the keyframes.
        keyframes: int64 [K], the annotated frames, strictly increasing; annotated frames without
            an actor belong to it. Densely annotated sets list all frames.
        timestamps: int64 [K] whole seconds aligned with ``keyframes``, where the dataset counts
            in seconds (AVA); otherwise None.
        num_classes: Number of classes C; taken from the tracks, needed only for a video that
            has none (then 0 unless given).
        masks: Where the pixel masks of its frames are read; None where there are none.
        gaps: How the numbers of its images are taken, if ``path`` is a folder of images; see
            `video_folder.numbered_images`.
        origin: Where it lies in a file, if it does: what to call with what, in another process.
            Copies that were changed by ``dataclasses.replace`` have none.

    Raises:
        InputError: A field that contradicts another; the message names the video.
    """

    video: str
    path: Path
    num_frames: int
    size: tuple[int, int]
    fps: float | None
    tracks: Sequence[Track]
    keyframes: NDArray[np.int64]
    timestamps: NDArray[np.int64] | None = None
    num_classes: int = 0
    masks: MaskSource | None = None
    gaps: Gaps = "step"
    origin: tuple[Callable[[int], "VideoAnnotation"], tuple[int]] | None = field(
        default=None, init=False, repr=False
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))
        if not isinstance(self.tracks, TableTracks):
            object.__setattr__(self, "tracks", tuple(self.tracks))
        object.__setattr__(self, "keyframes", frozen(self.keyframes, np.int64))
        if self.timestamps is not None:
            object.__setattr__(self, "timestamps", frozen(self.timestamps, np.int64))
        self._check_frame()
        self._check_keyframes()
        self._check_tracks()

    def _refuse(self, problem: str, *, expected: str, found: object) -> InputError:
        return InputError(
            f"video {self.video!r}: {problem}", path=self.path, expected=expected, found=str(found)
        )

    def _check_frame(self) -> None:
        if self.num_frames < 1:
            raise self._refuse("has no frames", expected="num_frames >= 1", found=self.num_frames)
        if len(self.size) != 2 or min(self.size) < 1:
            raise self._refuse("bad frame size", expected="(width, height) >= 1", found=self.size)
        if self.fps is not None and not 0 < self.fps < float("inf"):
            raise self._refuse("bad frame rate", expected="fps > 0 or None", found=self.fps)

    def _check_keyframes(self) -> None:
        frames, seconds = self.keyframes, self.timestamps
        if frames.ndim != 1 or (frames[1:] <= frames[:-1]).any():
            raise self._refuse(
                "keyframes must be a strictly increasing list", expected="[K]", found=frames.shape
            )
        if frames.size and (frames[0] < 0 or frames[-1] >= self.num_frames):
            raise self._refuse(
                "keyframes outside the video",
                expected=f"0 <= frame < {self.num_frames}",
                found=f"{frames[0]} to {frames[-1]}",
            )
        if seconds is not None and seconds.shape != frames.shape:
            raise self._refuse(
                "timestamps must match the keyframes",
                expected=str(frames.shape),
                found=seconds.shape,
            )

    def _check_tracks(self) -> None:
        tracks = self.tracks
        if isinstance(tracks, TableTracks):
            actors, frames = tracks.actors.tolist(), tracks.table.frames
            counts = {tracks.table.labels.shape[1]}
        else:
            actors = [track.actor for track in tracks]
            frames = np.concatenate([np.zeros(0, np.int64), *(track.frames for track in tracks)])
            counts = {track.labels.shape[1] for track in tracks}
        if len(set(actors)) != len(actors):
            raise self._refuse("two tracks of one actor", expected="unique numbers", found=actors)
        if self.num_classes:
            counts.add(self.num_classes)
        if len(counts) > 1:
            raise self._refuse(
                "tracks disagree on the classes", expected="one C", found=sorted(counts)
            )
        object.__setattr__(self, "num_classes", counts.pop() if counts else 0)
        place = np.searchsorted(self.keyframes, frames)
        known = place < len(self.keyframes)
        known[known] = self.keyframes[place[known]] == frames[known]
        if not known.all():
            raise self._refuse(
                "a box in a frame that is not among the keyframes",
                expected=f"one of {len(self.keyframes)} keyframes of {self.num_frames} frames",
                found=f"frame {frames[int(np.argmin(known))]}",
            )

    def __reduce_ex__(self, protocol: Any) -> Any:  # noqa: ANN401 - as object declares it
        # An annotation that lies in a file is looked up there by the process that receives it.
        return self.origin or super().__reduce_ex__(protocol)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "table"}

    @cached_property
    def table(self) -> BoxTable:
        """All boxes of the video, sorted by frame, then by the tracks' order."""
        if isinstance(self.tracks, TableTracks):
            return self.tracks.table
        return table_of(self.tracks, self.num_classes)[0]

    @property
    def num_boxes(self) -> int:
        """Number of boxes in the video, over all its actors."""
        if isinstance(self.tracks, TableTracks):
            return len(self.tracks.table)
        return sum(len(track) for track in self.tracks)

    def at(self, frame: int) -> FrameAnnotation:
        """The actors annotated in one frame, in the order of the tracks.

        A frame without boxes gives N = 0, whether it was annotated as empty or not at all; ask
        ``keyframes`` which. The arrays are read-only views. Takes two binary searches.
        """
        return self.table.at(frame)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A dataset with its split into training and test videos.

    Attributes:
        name: For example ``"jhmdb21"``.
        classes: The actions.
        train: Training videos.
        test: Test (or validation) videos.
        protocol: Identifier of the evaluation protocol in stad-eval.
        left_out: What of the files was not read, in words, one line each.

    Raises:
        InputError: A video name that occurs twice, also across the split, or a video with
            another number of classes.
    """

    name: str
    classes: ActionClasses
    train: tuple[VideoAnnotation, ...]
    test: tuple[VideoAnnotation, ...]
    protocol: str
    left_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "train", tuple(self.train))
        object.__setattr__(self, "test", tuple(self.test))
        parts = {"train": self.train, "test": self.test}
        seen: dict[str, str] = {}
        for part, videos in parts.items():
            for annotation in videos:
                if annotation.video in seen:
                    raise InputError(
                        f"{self.name}: video {annotation.video!r} is listed twice",
                        path=annotation.path,
                        expected="each video once",
                        found=f"in {seen[annotation.video]} and in {part}",
                        remedy="remove it from one of the lists: a video in both parts leaks",
                    )
                seen[annotation.video] = part
                if annotation.num_classes not in (0, len(self.classes)):
                    raise InputError(
                        f"{self.name}: video {annotation.video!r} has another number of classes",
                        path=annotation.path,
                        expected=f"{len(self.classes)}",
                        found=f"{annotation.num_classes}",
                    )


def truth_table(
    annotations: Sequence[VideoAnnotation],
    classes: ActionClasses,
    *,
    time: Literal["frame", "second"] = "frame",
) -> Boxes:
    """The ground truth of some videos as the table that stad-eval scores against.

    One row per (box, label) with score 1; ``annotated`` lists every keyframe, so that a detection
    in an empty keyframe counts as wrong and one elsewhere is ignored or refused, as the protocol
    says. An actor without any label gives no row.

    Args:
        annotations: The videos; their names become ``Boxes.videos`` in this order.
        classes: The classes; their names become ``Boxes.classes``.
        time: What the ``frame`` column counts: frame indices, or the whole seconds of the
            dataset's timestamps, as AVA's own files do.

    Raises:
        InputError: ``time="second"`` for a video without timestamps.
    """
    video_M: list[NDArray[np.int64]] = []
    frame_M: list[NDArray[np.int64]] = []
    box_M: list[NDArray[np.float64]] = []
    label_M: list[NDArray[np.int64]] = []
    annotated: list[NDArray[np.int64]] = []
    for number, annotation in enumerate(annotations):
        table, keys = annotation.table, annotation.keyframes
        frames = table.frames
        if time == "second":
            if annotation.timestamps is None:
                raise InputError(
                    f"video {annotation.video!r} has no timestamps to count seconds by",
                    path=annotation.path,
                    remedy='use time="frame"',
                )
            frames = annotation.timestamps[np.searchsorted(keys, frames)]
            keys = annotation.timestamps
        rows, labels = np.nonzero(table.labels)
        video_M.append(np.full(len(rows), number, np.int64))
        frame_M.append(frames[rows])
        box_M.append(table.boxes[rows])
        label_M.append(labels.astype(np.int64))
        annotated.append(np.stack([np.full(len(keys), number, np.int64), keys], axis=1))
    nothing = np.zeros(0, np.int64)
    label = np.concatenate([nothing, *label_M])
    return Boxes(
        videos=tuple(annotation.video for annotation in annotations),
        classes=classes.names,
        video=np.concatenate([nothing, *video_M]),
        frame=np.concatenate([nothing, *frame_M]),
        box=np.concatenate([np.zeros((0, 4)), *box_M]),
        label=label,
        score=np.ones(len(label)),
        annotated=np.concatenate([np.zeros((0, 2), np.int64), *annotated]),
    )


def action_tubes(annotation: VideoAnnotation) -> list[Tube]:
    """The action tubes of a video: one per actor and unbroken run of one of its labels.

    A run ends where the actor loses the label or leaves one of the keyframes, so a gap in a track
    splits it. Tubes are ordered by track, label, start; their score is 1. No tracks give no tubes.
    """
    tubes: list[Tube] = []
    for track in annotation.tracks:
        position = np.searchsorted(annotation.keyframes, track.frames)
        for label in np.flatnonzero(track.labels.any(axis=0)):
            rows = np.flatnonzero(track.labels[:, label])
            breaks = np.flatnonzero(np.diff(position[rows]) != 1) + 1
            tubes.extend(
                Tube(
                    video=annotation.video,
                    label=int(label),
                    score=1.0,
                    frames=track.frames[run],
                    boxes=track.boxes[run],
                )
                for run in np.split(rows, breaks)
            )
    return tubes
