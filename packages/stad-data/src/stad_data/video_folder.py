"""Frames that lie in a folder as numbered images, as many datasets are prepared.

The folder holds one image per frame: JPEG, PNG, BMP, WebP or PNM files whose names end in
the frame's number before the suffix (`00001.jpg`, `img_00001.png`), all with the same beginning.
They may start at any number, commonly 0 or 1: the lowest is frame 0. Other files are ignored.
Frames are counted by the images, not by their numbers: of `00000.jpg`, `00005.jpg`, `00010.jpg` the
second is frame 1, and a rate is that of the images. See `video_image_files` for how images decode.
"""

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from stad_data.video_backend import Frame, check_ranks
from stad_data.video_image import ImageMaker, Orientation, PictureError, Scaling, orientation_of
from stad_data.video_image_files import SUFFIXES, ImageDecoder, undecodable
from stad_data.video_times import Timeline
from stad_data.video_watchdog import Progress
from stad_eval import InputError

Gaps = Literal["refuse", "step", "close"]
"""What may be missing among the numbers of a folder's images: nothing ("refuse"); all but every
n-th ("step": 00000, 00005, 00010, ...; of fewer than three images nothing); anything ("close")."""

_NUMBERED = re.compile(r"(?P<name>.*?)(?P<number>\d+)", re.ASCII | re.DOTALL)
_DEFAULT_FPS = 25.0
_LEAST_STEPPED = 3


class FolderFrames:
    """Frames of a folder of numbered images.

    Args:
        path: the folder.
        scaling: the size of the images.
        fps: frames per second; None means 25.
        gaps: what may be missing among the numbers.
        complain: whether a stream ends with an InputError at an image that is damaged.

    Raises:
        ValueError: a rate that cannot be.
    """

    def __init__(
        self,
        path: Path,
        *,
        scaling: Scaling,
        fps: float | None = None,
        gaps: Gaps = "step",
        complain: bool = True,
    ) -> None:
        if fps is not None and not 0 < fps <= 1000:
            raise ValueError(f"fps: expected a rate over 0 and at most 1000, found {fps}")
        self.path = path
        self.scaling = scaling
        self.gaps: Gaps = gaps
        self.complain = complain
        # NTSC rates come as floats such as 29.97002997: 1001 restores 30000/1001 exactly.
        self.rate = Fraction(_DEFAULT_FPS if fps is None else fps).limit_denominator(1001)
        self.timeline: Timeline | None = None
        self.progress = Progress()
        self._files: list[Path] = []
        self._size: tuple[int, int] | None = None
        self.release()

    def __getstate__(self) -> dict[str, Any]:
        open_now = ("progress", "_decoder", "_images")
        return {name: value for name, value in self.__dict__.items() if name not in open_now}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.progress = Progress()
        self.release()

    def release(self) -> None:
        """Let go of the decoders; no file stays open anyway."""
        self._decoder = ImageDecoder()
        self._images: dict[Orientation, ImageMaker] = {}

    def open(self) -> None:
        """List the folder."""
        self.indexed()

    def indexed(self) -> Timeline:
        """The frames, listed now where they are not known yet."""
        if self.timeline is None:
            self._files = numbered_images(self.path, gaps=self.gaps)
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
            raise undecodable(file, str(error)) from error

    def _decoded(self, file: Path) -> VideoFrame:
        try:
            data = file.read_bytes()
        except OSError as error:
            raise undecodable(file, error.strerror or str(error)) from error
        picture = self._decoder.decode(data, file)
        self.progress.advance()
        return picture


def numbered_images(folder: Path, *, gaps: Gaps = "step") -> list[Path]:
    """The images of a folder in the order of their numbers: the i-th one is frame i.

    Args:
        folder: the folder.
        gaps: "refuse": a number missing in between is an error, since later frames would take an
            earlier one's place. "step": the numbers may be a constant step apart, as in sets of
            which every fifth frame is published; with fewer than three images they may not, as
            nothing tells a step from a gap. "close": any number may be missing; for those who know
            that these images are the frames.

    Raises:
        InputError: no images, names without a number or with several beginnings, a number twice, or
            numbers missing that may not.
        ValueError: another word for `gaps`.
    """
    if gaps not in get_args(Gaps):
        raise ValueError(f"gaps: expected one of {', '.join(get_args(Gaps))}, found {gaps!r}")
    found: dict[int, Path] = {}
    begun: tuple[str, Path] | None = None
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() not in SUFFIXES or file.name.startswith("."):
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
    stepped = gaps == "step" and len(numbers) >= _LEAST_STEPPED
    step = min(np.diff(numbers).tolist()) if stepped else 1
    whole = range(numbers[0], numbers[-1] + 1, step)
    for number, due in zip(numbers, () if gaps == "close" else whole, strict=False):
        if number != due:
            known = (
                f"{found[number].name}, in steps of {step}"
                if step > 1
                else f"{found[numbers[-1]].name}"
            )
            raise _disorder(folder, f"no image numbered {due}, though {known}")
    return [found[number] for number in numbers]


def _shown_size(picture: VideoFrame) -> tuple[int, int]:
    return orientation_of(picture).size(picture.width, picture.height)


def _disorder(folder: Path, found: str) -> InputError:
    return InputError(
        "the folder is not read as a video",
        path=folder,
        expected="images numbered without a gap or in one step, such as 00001.jpg, 00002.jpg; or a "
        "video file",
        found=found,
        remedy="name the folder of one video's frames, or the video file itself; or take the "
        'images that are there for its frames, by gaps="close"',
    )
