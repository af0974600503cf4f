"""Frames that lie in a folder as numbered images, as many datasets are prepared.

The folder holds one image per frame: JPEG, PNG, BMP, WebP or PNM files whose names end in
the frame's number before the suffix (`00001.jpg`, `img_00001.png`), all with the same beginning.
They may start at any number, commonly 0 or 1: the lowest is frame 0. Other files are ignored.
The kind of an image is told from its first bytes, not from its name. FFmpeg decodes it, so a JPEG's
colours may differ by a few levels from other decoders', which interpolate chroma otherwise.
"""

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import numpy as np
from av.codec.context import CodecContext
from av.error import FFmpegError
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from stad_data.video_backend import Frame, check_ranks
from stad_data.video_image import ImageMaker, Orientation, PictureError, Scaling, orientation_of
from stad_data.video_times import Timeline
from stad_data.video_watchdog import Progress
from stad_eval import InputError

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".pnm"})
_NUMBERED = re.compile(r"(?P<name>.*?)(?P<number>\d+)", re.ASCII | re.DOTALL)
_DEFAULT_FPS = 25.0
_MAGIC = (
    (re.compile(rb"\xff\xd8\xff"), "mjpeg"),
    (re.compile(rb"\x89PNG"), "png"),
    (re.compile(rb"BM"), "bmp"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "webp"),
    (re.compile(rb"P6"), "ppm"),
    (re.compile(rb"P5"), "pgm"),
)


class FolderFrames:
    """Frames of a folder of numbered images.

    Args:
        path: the folder.
        scaling: the size of the images.
        fps: frames per second; None means 25.
        complain: whether a stream ends with an InputError at an image that is damaged.

    Raises:
        ValueError: a rate that cannot be.
    """

    def __init__(
        self, path: Path, *, scaling: Scaling, fps: float | None = None, complain: bool = True
    ) -> None:
        if fps is not None and not 0 < fps <= 1000:
            raise ValueError(f"fps: expected a rate over 0 and at most 1000, found {fps}")
        self.path = path
        self.scaling = scaling
        self.complain = complain
        # NTSC rates come as floats such as 29.97002997: 1001 restores 30000/1001 exactly.
        self.rate = Fraction(_DEFAULT_FPS if fps is None else fps).limit_denominator(1001)
        self.timeline: Timeline | None = None
        self.progress = Progress()
        self._files: list[Path] = []
        self._size: tuple[int, int] | None = None
        self.release()

    def __getstate__(self) -> dict[str, Any]:
        open_now = ("progress", "_decoders", "_images")
        return {name: value for name, value in self.__dict__.items() if name not in open_now}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.progress = Progress()
        self.release()

    def release(self) -> None:
        """Let go of the decoders; no file stays open anyway."""
        self._decoders: dict[str, VideoCodecContext] = {}
        self._images: dict[Orientation, ImageMaker] = {}

    def open(self) -> None:
        """List the folder."""
        self.indexed()

    def indexed(self) -> Timeline:
        """The frames, listed now where they are not known yet."""
        if self.timeline is None:
            self._files = numbered_images(self.path)
            times_N = np.arange(len(self._files)) * self.rate.denominator / self.rate.numerator
            self.timeline = Timeline(times_N=times_N, rate=self.rate)
        return self.timeline

    def fps(self) -> float:
        """Frames per second, as given."""
        return float(self.rate)

    def source_size(self) -> tuple[int, int]:
        """(width, height) of the first image as shown, before scaling."""
        if self._size is None:
            self.indexed()
            self._size = _shown_size(self._decoded(self._files[0]))
        return self._size

    def images(self, ranks: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """(index, image) of frames."""
        check_ranks(self.path, ranks, self.indexed())
        for rank in ranks:
            yield rank, self._image(self._files[rank])

    def stream(self) -> Iterator[Frame]:
        """All frames from the first."""
        timeline = self.indexed()
        for rank, file in enumerate(self._files):
            try:
                image = self._image(file)
            except InputError:
                if self.complain:
                    raise
                return
            time = float(timeline.times_N[rank])
            yield Frame(index=rank, time=time, image=np.ascontiguousarray(image))

    def _image(self, file: Path) -> NDArray[np.uint8]:
        picture = self._decoded(file)
        orientation = orientation_of(picture)
        maker = self._images.get(orientation)
        if maker is None:
            shown = self.source_size()
            size = self.scaling.size(shown)
            maker = ImageMaker(orientation, size, scaled=size != shown)
            self._images[orientation] = maker
        try:
            return maker.make(picture)
        except PictureError as error:
            raise _undecodable(file, str(error)) from error

    def _decoded(self, file: Path) -> VideoFrame:
        try:
            data = file.read_bytes()
        except OSError as error:
            raise _undecodable(file, error.strerror or str(error)) from error
        kind = next((name for magic, name in _MAGIC if magic.match(data)), None)
        if kind is None:
            raise _undecodable(file, f"{len(data)} bytes of no kind that is known")
        # The decoder lets the last few bytes of a JPEG be missing. Its picture data cannot hold the
        # mark of the end, so one has to come behind the last start of picture data.
        if kind == "mjpeg" and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
            raise _undecodable(file, f"{kind}: cut off")
        decoder = self._decoders.pop(kind, None) or _decoder(kind)
        try:
            packet = Packet(data)
            packet.is_keyframe = True  # else FFmpeg's PNG decoder adds the image to the one before
            pictures = decoder.decode(packet)
        except FFmpegError as error:
            raise _undecodable(file, f"{kind}: {error.strerror}") from error
        if len(pictures) != 1 or pictures[0].is_corrupt:
            raise _undecodable(file, f"{kind}: cut off or damaged")
        self._decoders[kind] = decoder  # only one that went well is used again
        self.progress.advance()
        return pictures[0]


def numbered_images(folder: Path) -> list[Path]:
    """The images of a folder in the order of their numbers.

    Raises:
        InputError: none, names without a number or with several beginnings, a number twice, or a
            number missing in between: then later frames would take an earlier one's place.
    """
    found: dict[int, Path] = {}
    begun: tuple[str, Path] | None = None
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() not in _SUFFIXES or file.name.startswith("."):
            continue
        match = _NUMBERED.fullmatch(file.stem)
        if match is None:
            raise _disorder(folder, f"{file.name}, which has no number")
        begun = begun or (match["name"], file)
        if match["name"] != begun[0]:
            raise _disorder(folder, f"{begun[1].name} and {file.name}, which begin differently")
        number = int(match["number"])
        if number in found:
            raise _disorder(folder, f"{found[number].name} and {file.name}, the same number")
        found[number] = file
    if not found:
        raise _disorder(folder, "a folder without images")
    numbers = sorted(found)
    for number, due in zip(numbers, range(numbers[0], numbers[-1] + 1), strict=False):
        if number != due:
            raise _disorder(folder, f"no image numbered {due}, though {found[numbers[-1]].name}")
    return [found[number] for number in numbers]


def _decoder(kind: str) -> VideoCodecContext:
    decoder = cast("VideoCodecContext", CodecContext.create(kind, "r"))
    decoder.thread_count = 1
    decoder.options = {"err_detect": "explode"}
    return decoder


def _shown_size(picture: VideoFrame) -> tuple[int, int]:
    return orientation_of(picture).size(picture.width, picture.height)


def _disorder(folder: Path, found: str) -> InputError:
    return InputError(
        "the folder is not read as a video",
        path=folder,
        expected="images numbered without a gap, such as 00001.jpg, 00002.jpg; or a video file",
        found=found,
        remedy="name the folder of one video's frames, or the video file itself",
    )


def _undecodable(file: Path, reason: str) -> InputError:
    return InputError(
        "the image of a frame cannot be read",
        path=file,
        expected="a whole JPEG, PNG, BMP, WebP or PNM file",
        found=reason,
        remedy="copy it again, or extract the frames again",
    )
