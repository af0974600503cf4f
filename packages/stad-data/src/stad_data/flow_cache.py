"""Optical flow computed once, kept in files beside each other, and checked whenever it is used.

``<folder>/<video>.flow`` holds the flow of one video: an `array_file` of kind "flow" whose
``about`` tells the method, its parameters, the size and the video's fingerprint. A displacement is
a whole number of sixteenths of a pixel, int16: off by at most 1/32 pixel, and cut at +-2047. Each
frame is two planes (dx, dy), low bytes before high bytes, deflated (zlib), and has a checksum of
its own.

Suffix legend: T = frames, H, W = height and width.
"""

import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stad_data import array_file
from stad_data.annotation import VideoAnnotation
from stad_data.array_file import ArrayFile
from stad_data.fingerprint import Fingerprint
from stad_data.flow import FlowSettings, flow_stream, opencv
from stad_data.video import VideoReader
from stad_eval import InputError

KIND = "flow"
STEPS = 16
"""Steps per pixel of a displacement."""
_MOST = 2047.0


@dataclass(frozen=True, kw_only=True, eq=False)
class FlowFile:
    """The flow of one video, on disk; can be sent to a worker, which reads the same file.

    Attributes:
        file: The open file.
    """

    file: ArrayFile

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the flow, whose pixels its displacements count."""
        width, height = self.file.about["size"]
        return width, height

    @property
    def num_frames(self) -> int:
        """Frames of the video."""
        return len(self.file.arrays["crcs"])

    def read(self, indices: Iterable[int]) -> NDArray[np.float32]:
        """Flow float32 [T, H, W, 2] of frames by index, in any order; see `flow.optical_flow`.

        Raises:
            InputError: An index out of range, or a damaged frame.
        """
        wanted = np.asarray(list(indices), np.int64)
        outside = (wanted < 0) | (wanted >= self.num_frames)
        if outside.any():
            raise InputError(
                "there is no flow of such a frame",
                path=self.file.path,
                expected=f"a frame index of at least 0 and below {self.num_frames}",
                found=str(int(wanted[outside][0])),
            )
        width, height = self.size
        flow = np.empty((len(wanted), height, width, 2), np.float32)
        frames, places = np.unique(wanted, return_inverse=True)
        for at, frame in enumerate(frames.tolist()):
            flow[places == at] = _unpacked(self._bytes(frame), width, height)
        return flow

    def verify(self) -> None:
        """Compare the checksums of all frames.

        Raises:
            InputError: A damaged frame.
        """
        for frame in range(self.num_frames):
            self._bytes(frame)

    def _bytes(self, frame: int) -> NDArray[np.uint8]:
        arrays = self.file.arrays
        start, stop = arrays["starts"][frame : frame + 2].tolist()
        data = arrays["frames"][start:stop]
        if zlib.crc32(data.data) != arrays["crcs"][frame]:
            raise InputError(
                f"the flow of frame {frame} is damaged",
                path=self.file.path,
                remedy="run `stad data flow` again, which computes it anew",
            )
        return data


def flow_path(folder: Path, video: str) -> Path:
    """The file of a video's flow.

    Raises:
        InputError: A name that would lead out of the folder.
    """
    parts = PurePosixPath(video).parts
    if not parts or PurePosixPath(video).is_absolute() or ".." in parts:
        raise InputError(f"video {video!r} has a name that no file can have", path=folder)
    return folder.joinpath(*parts[:-1], f"{parts[-1]}.flow")


def open_flow(
    folder: Path | str, annotation: VideoAnnotation, settings: FlowSettings | None = None
) -> FlowFile:
    """The kept flow of a video.

    Args:
        folder: Where `fill` put it.
        annotation: The video, whose file is compared with the one that the flow was computed from.
        settings: What the flow has to be; None takes it as it was computed.

    Raises:
        InputError: There is none, it is damaged, or it is that of another video or other settings.
    """
    path = flow_path(Path(folder), annotation.video)
    if not path.is_file():
        raise InputError(
            f"video {annotation.video!r} has no flow",
            path=path,
            expected="a file that `stad data flow` writes",
            found="no such file",
        )
    flow = FlowFile(file=array_file.opened(path, KIND, unchecked=("frames",)))
    about = flow.file.about
    if settings is not None and about["settings"] != _in_words(settings):
        raise InputError(
            "flow of another kind",
            path=path,
            expected=str(_in_words(settings)),
            found=str(about["settings"]),
            remedy="compute it anew, or into another folder",
        )
    if not Fingerprint.from_json(about["video"]).fits(annotation.path):
        raise InputError(
            f"the file of video {annotation.video!r} is not the one that this flow is of",
            path=path,
            expected=f"{annotation.path} as it was when its flow was computed",
            found="another content" if annotation.path.exists() else "no such file",
            remedy="run `stad data flow` again, which computes it anew",
        )
    if flow.num_frames < annotation.num_frames:
        raise InputError(
            f"video {annotation.video!r} has more frames than flow",
            path=path,
            expected=f"{annotation.num_frames} frames",
            found=f"{flow.num_frames}",
        )
    return flow


def compute(annotation: VideoAnnotation, folder: Path | str, settings: FlowSettings) -> FlowFile:
    """Compute the flow of a video and keep it, in place of what was kept before.

    The file appears when it is complete. Several processes may do so at once: the last one's stays.

    Raises:
        InputError: The video cannot be read, is damaged, or is too small; or OpenCV is missing.
    """
    path = flow_path(Path(folder), annotation.video)
    about: dict[str, Any] = {
        "settings": _in_words(settings),
        "opencv": opencv().__version__,
        "video": Fingerprint.of(annotation.path).to_json(),
    }
    starts, crcs = [0], list[int]()
    with (
        VideoReader(annotation.path, resize=settings.size, gaps=annotation.gaps) as reader,
        array_file.written(path, KIND, about) as file,
    ):
        about["size"] = list(reader.size)
        images = (frame.image for frame in reader)
        for flow in flow_stream(images, settings):
            data = _packed(flow)
            file.extend("frames", data)
            starts.append(starts[-1] + len(data))
            crcs.append(zlib.crc32(data))
        file.write("starts", np.array(starts, np.int64))
        file.write("crcs", np.array(crcs, np.uint32))
    return open_flow(folder, annotation, settings)


@dataclass(frozen=True, kw_only=True)
class Filled:
    """What `fill` did: how many videos it computed, and how many were there already."""

    computed: int
    kept: int


def fill(
    annotations: Sequence[VideoAnnotation],
    folder: Path | str,
    settings: FlowSettings | None = None,
    *,
    workers: int = 1,
    seen: Callable[[int], None] = lambda _: None,
) -> Filled:
    """Compute the flow of videos that have none in the folder, or a stale or damaged one.

    What is there already is compared with its video and its checksums, so a run that was broken off
    goes on where it was.

    Args:
        annotations: The videos.
        folder: Where the flow is kept; it is made.
        settings: What to compute; DIS at the videos' own size where None.
        workers: Threads; decoding, flow and packing all run outside the interpreter's lock.
        seen: Told the number of frames of every video that is done.

    Raises:
        InputError: As `compute`; videos that are done by then are kept.
        ValueError: `workers` below 1.
    """
    if workers < 1:
        raise ValueError(f"workers: expected 1 or more, found {workers}")
    chosen = settings or FlowSettings()

    def one(annotation: VideoAnnotation) -> bool:
        try:
            open_flow(folder, annotation, chosen).verify()
        except InputError:
            compute(annotation, folder, chosen)
            return True
        return False

    computed = 0
    with ThreadPoolExecutor(workers) as pool:
        try:
            for annotation, new in zip(annotations, pool.map(one, annotations), strict=True):
                computed += new
                seen(annotation.num_frames)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return Filled(computed=computed, kept=len(annotations) - computed)


def _in_words(settings: FlowSettings) -> dict[str, Any]:
    size = None if settings.size is None else list(settings.size)
    return {"method": settings.method, "parameters": settings.parameters, "size": size}


def _packed(flow: NDArray[np.float32]) -> bytes:
    """A frame [H, W, 2] as it lies in the file."""
    steps = np.rint(flow.clip(-_MOST, _MOST) * STEPS).astype("<i2").transpose(2, 0, 1)
    planes = np.ascontiguousarray(steps).view(np.uint8).reshape(-1, 2)
    # Alike bytes beside each other: what is high is mostly 0 or 255.
    return zlib.compress(np.ascontiguousarray(planes.T).tobytes(), 1)


def _unpacked(data: NDArray[np.uint8], width: int, height: int) -> NDArray[np.float32]:
    planes = np.frombuffer(zlib.decompress(data.data), np.uint8).reshape(2, -1)
    steps = np.ascontiguousarray(planes.T).view("<i2").reshape(2, height, width)
    return steps.transpose(1, 2, 0).astype(np.float32) * np.float32(1 / STEPS)
