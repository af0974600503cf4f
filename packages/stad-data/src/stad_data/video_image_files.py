"""Single images as bytes: decoded and, as JPEG, encoded.

The kind of an image is told from its first bytes, not from its name. FFmpeg decodes it, so a JPEG's
colours may differ by a few levels from other decoders', which interpolate chroma otherwise.
"""

import re
from fractions import Fraction
from pathlib import Path
from typing import cast

import numpy as np
from av.codec.context import CodecContext
from av.error import FFmpegError
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from numpy.typing import NDArray

from stad_eval import InputError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".pnm"})
_MAGIC = (
    (re.compile(rb"\xff\xd8\xff"), "mjpeg"),
    (re.compile(rb"\x89PNG"), "png"),
    (re.compile(rb"BM"), "bmp"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "webp"),
    (re.compile(rb"P6"), "ppm"),
    (re.compile(rb"P5"), "pgm"),
)
BEST_QUALITY, WORST_QUALITY = 2, 31


class ImageDecoder:
    """Decodes images of any kind; keeps one decoder for each."""

    def __init__(self) -> None:
        self._decoders: dict[str, VideoCodecContext] = {}

    def decode(self, data: bytes, path: Path) -> VideoFrame:
        """The picture in these bytes.

        Args:
            data: A whole image file.
            path: Where they come from, for the error.

        Raises:
            InputError: Damaged or cut off, or of an unknown kind.
        """
        kind = next((name for magic, name in _MAGIC if magic.match(data)), None)
        if kind is None:
            raise undecodable(path, f"{len(data)} bytes of no kind that is known")
        # The decoder lets the last few bytes of a JPEG be missing. Its picture data cannot hold the
        # mark of the end, so one has to come behind the last start of picture data.
        if kind == "mjpeg" and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
            raise undecodable(path, f"{kind}: cut off")
        decoder = self._decoders.pop(kind, None) or _decoder(kind)
        try:
            packet = Packet(data)
            packet.is_keyframe = True  # else FFmpeg's PNG decoder adds the image to the one before
            pictures = decoder.decode(packet)
        except FFmpegError as error:
            raise undecodable(path, f"{kind}: {error.strerror}") from error
        if len(pictures) != 1 or pictures[0].is_corrupt:
            raise undecodable(path, f"{kind}: cut off or damaged")
        self._decoders[kind] = decoder  # only one that went well is used again
        return pictures[0]


class JpegEncoder:
    """Encodes images of one size as baseline JPEG with halved chroma (4:2:0).

    Args:
        size: (width, height) of the images.
        quality: FFmpeg's quantiser scale, 2 (best) to 31 (smallest).

    Raises:
        InputError: Another quality.
    """

    def __init__(self, size: tuple[int, int], *, quality: int) -> None:
        if not BEST_QUALITY <= quality <= WORST_QUALITY:
            raise InputError(
                "no such quality of JPEG",
                expected=f"{BEST_QUALITY} (best) to {WORST_QUALITY} (smallest)",
                found=str(quality),
            )
        self._reformatter = VideoReformatter()
        encoder = CodecContext.create("mjpeg", "w")
        encoder.width, encoder.height = size
        encoder.pix_fmt = "yuv420p"
        encoder.color_range = ColorRange.JPEG.value
        encoder.time_base = Fraction(1, 25)
        encoder.thread_count = 1
        encoder.options = {"qmin": str(quality), "qmax": str(quality), "huffman": "optimal"}
        self._encoder = encoder
        self._count = 0

    def encode(self, image: NDArray[np.uint8]) -> bytes:
        """The file of an image uint8 [H, W, 3] RGB."""
        frame = self._reformatter.reformat(
            VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU601,
            dst_color_range=ColorRange.JPEG,
            threads=1,
        )
        frame.pts = self._count
        self._count += 1
        return b"".join(bytes(packet) for packet in self._encoder.encode(frame))


def undecodable(path: Path, reason: str) -> InputError:
    """The complaint about an image that does not decode."""
    return InputError(
        "the image of a frame cannot be read",
        path=path,
        expected="a whole JPEG, PNG, BMP, WebP or PNM file",
        found=reason,
        remedy="copy it again, or extract the frames again",
    )


def _decoder(kind: str) -> VideoCodecContext:
    decoder = cast("VideoCodecContext", CodecContext.create(kind, "r"))
    decoder.thread_count = 1
    decoder.options = {"err_detect": "explode"}
    return decoder
