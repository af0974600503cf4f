"""Index masks as PNG files, one per frame: ROOT/<video>/<frame>.png (DAVIS, YouTube-VOS).

Read: palette images of 1, 2, 4 or 8 bits, whose indices are the objects, and greyscale of 1 or 8
bits, whose values are. Written: palette images of 8 bits. Nothing but zlib and numpy is needed;
the size of an image is checked before anything of that size is allocated.

Source of the format: PNG (Portable Network Graphics) Specification, third edition, W3C.
"""

import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stad_eval.formats.files import read_bytes
from stad_eval.formats.png_filters import unfilter
from stad_eval.input_error import InputError
from stad_eval.masks import index_mask

MAX_PIXELS: Final = 1 << 25  # one frame of 8K video
SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
PALETTE, GREY = 3, 0
KINDS: Final = {0: "greyscale", 2: "RGB", 3: "palette", 4: "greyscale with alpha", 6: "RGBA"}
DEPTHS: Final = {PALETTE: (1, 2, 4, 8), GREY: (1, 8)}


@dataclass(frozen=True, kw_only=True)
class MaskFolder:
    """A folder of masks, ROOT/<video>/<frame>.png, read one frame at a time.

    Raises:
        InputError: if there is no such folder.
    """

    root: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root))
        if not self.root.is_dir():
            raise InputError("no such folder of masks", path=self.root)

    def videos(self) -> tuple[str, ...]:
        """Names of the subfolders that hold PNG files, sorted."""
        folders = (each for each in self.root.iterdir() if each.is_dir())
        return tuple(sorted(each.name for each in folders if next(each.glob("*.png"), None)))

    def frames(self, video: str) -> tuple[str, ...]:
        """Names of the frames of a video, in the order of their numbers; none if it is missing."""
        names = [each.stem for each in (self.root / video).glob("*.png")]
        return tuple(sorted(names, key=natural_order))

    def read(self, video: str, frame: str) -> NDArray[np.uint8]:
        """The mask of one frame, uint8 [H, W].

        Raises:
            InputError: as `read_mask_png`.
        """
        return read_mask_png(self.root / video / f"{frame}.png")


def natural_order(name: str) -> tuple[tuple[int, str], ...]:
    """A key that sorts frame names by their numbers: frame_9 before frame_10."""
    parts = re.split(r"(\d+)", name)
    return (*((int(part), "") if part.isdecimal() else (-1, part) for part in parts), (-1, name))


def read_mask_png(path: str | Path) -> NDArray[np.uint8]:
    """The index mask of a PNG file, uint8 [H, W].

    Raises:
        InputError: if there is no such file, it is damaged or cut short, interlaced, larger than
            `MAX_PIXELS`, or of a kind that holds no indices (RGB, alpha, 16 bits).
    """
    return decode_mask_png(read_bytes(path), path=path)


def decode_mask_png(data: bytes, *, path: str | Path | None = None) -> NDArray[np.uint8]:
    """The index mask of PNG data, uint8 [H, W]; `path` stands in errors.

    Raises:
        InputError: as `read_mask_png`.
    """
    return _Decoder(data, path).mask()


def encode_mask_png(mask: ArrayLike, *, palette: ArrayLike | None = None) -> bytes:
    """PNG data of an index mask [H, W] as a palette image of 8 bits.

    `palette` is [256, 3] RGB; by default `davis_palette()`.

    Raises:
        InputError: if the mask is not integers 0 to 255 [H, W], or the palette not [256, 3] of 0
            to 255.
    """
    indices = index_mask(mask)
    colours = davis_palette() if palette is None else np.asarray(palette)
    whole = colours.shape == (256, 3) and colours.dtype.kind in "iu"
    if not whole or colours.min() < 0 or colours.max() > 255:
        found = f"{colours.dtype} {list(colours.shape)}"
        raise InputError("bad palette", expected="integers 0 to 255, [256, 3]", found=found)
    height, width = indices.shape
    rows = np.zeros((height, width + 1), dtype=np.uint8)  # a leading 0: no filter
    rows[:, 1:] = indices
    return b"".join(
        (
            SIGNATURE,
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, PALETTE, 0, 0, 0)),
            _chunk(b"PLTE", colours.astype(np.uint8).tobytes()),
            _chunk(b"IDAT", zlib.compress(rows.tobytes(), 6)),
            _chunk(b"IEND", b""),
        )
    )


def write_mask_png(path: str | Path, mask: ArrayLike, *, palette: ArrayLike | None = None) -> None:
    """Write an index mask [H, W] as a palette image of 8 bits.

    Raises:
        InputError: if the folder does not exist, or as `encode_mask_png`.
        OSError: if the file cannot be written.
    """
    path = Path(path)
    data = encode_mask_png(mask, palette=palette)
    if not path.parent.is_dir():
        raise InputError("no such folder to write to", path=path, remedy="Create it first.")
    path.write_bytes(data)


def davis_palette() -> NDArray[np.uint8]:
    """The 256 colours of DAVIS (and Pascal VOC), uint8 [256, 3].

    By rule: bits 0, 3 and 6 of the index are the highest bits of red, bits 1, 4 and 7 those of
    green, bits 2 and 5 those of blue, each the earlier the higher.
    """
    index = np.arange(256)[:, None]
    channel = np.arange(3)
    colours = np.zeros((256, 3), dtype=np.int64)
    for place in range(3):
        colours |= ((index >> (3 * place + channel)) & 1) << (7 - place)
    return colours.astype(np.uint8)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(content, zlib.crc32(kind))
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


class _Decoder:
    """One pass over the chunks of one file."""

    def __init__(self, data: bytes, path: str | Path | None) -> None:
        self.data = data
        self.path = path

    def fail(
        self, problem: str, *, expected: object = None, found: object = None, remedy: str
    ) -> NoReturn:
        raise InputError(
            f"PNG: {problem}", path=self.path, expected=expected, found=found, remedy=remedy
        )

    def mask(self) -> NDArray[np.uint8]:
        if self.data[:8] != SIGNATURE:
            self.fail(
                "not a PNG file",
                expected=SIGNATURE,
                found=self.data[:8],
                remedy="Masks are PNG files; JPEG would change the indices.",
            )
        header: bytes | None = None
        pixels: list[memoryview] = []
        for at, (kind, content) in enumerate(self.chunks()):
            if (kind == b"IHDR") != (at == 0):
                self.fail(
                    "the header is not the first chunk and the only one",
                    expected="IHDR, once",
                    found=kind,
                    remedy="Write the file again.",
                )
            if kind == b"IHDR":
                header = bytes(content)
                self.header(header)
            elif kind == b"IDAT":
                pixels.append(content)
            elif not kind[0] & 0x20 and kind not in (b"PLTE", b"IEND"):
                self.fail(
                    "a chunk that must be understood is unknown",
                    expected="IHDR, PLTE, IDAT, IEND",
                    found=kind,
                    remedy="Write the file again as a plain palette image.",
                )
        if header is None:
            self.fail("no header", expected="IHDR", remedy="Write the file again.")
        width, height, depth, *_ = self.header(header)
        samples = self.samples(b"".join(pixels), height, (width * depth + 7) // 8)
        return _unpacked(samples, depth)[:, :width]

    def chunks(self) -> "list[tuple[bytes, memoryview]]":
        """Every chunk up to the end chunk, its checksum verified."""
        view, at = memoryview(self.data), 8
        result: list[tuple[bytes, memoryview]] = []
        while True:
            length = int.from_bytes(view[at : at + 4], "big")
            end = at + 12 + length
            if end > len(view):
                self.fail(
                    f"cut short at byte {len(view)}",
                    expected=f"at least {max(end, at + 12)} bytes and an end chunk",
                    found=f"{len(view)} bytes",
                    remedy="Copy or write the file again.",
                )
            kind, content = bytes(view[at + 4 : at + 8]), view[at + 8 : end - 4]
            stored = int.from_bytes(view[end - 4 : end], "big")
            if zlib.crc32(view[at + 4 : end - 4]) != stored:
                self.fail(
                    f"chunk {kind!r} at byte {at} is damaged",
                    expected=f"checksum {stored:08x}",
                    found=f"{zlib.crc32(view[at + 4 : end - 4]):08x}",
                    remedy="Copy or write the file again.",
                )
            result.append((kind, content))
            if kind == b"IEND":
                return result
            at = end

    def header(self, content: bytes) -> tuple[int, ...]:
        """Width, height, bits per sample, colour type; anything that cannot be read is refused."""
        if len(content) != 13:
            remedy = "Write the file again."
            self.fail("bad header", expected="13 bytes", found=len(content), remedy=remedy)
        fields = struct.unpack(">IIBBBBB", content)
        width, height, depth, kind, compression, filtering, interlace = fields
        if not 0 < width * height <= MAX_PIXELS:
            self.fail(
                "absurd size",
                expected=f"1 to {MAX_PIXELS} pixels",
                found=f"{width} x {height}",
                remedy="The header is damaged, or this is no mask of a video frame.",
            )
        if depth not in DEPTHS.get(kind, ()):
            self.fail(
                "not an index image",
                expected="palette of 1, 2, 4 or 8 bits, or greyscale of 1 or 8",
                found=f"{KINDS.get(kind, f'colour type {kind}')} of {depth} bits",
                remedy="Save the object indices themselves, not their colours.",
            )
        if compression or filtering or interlace:
            self.fail(
                "interlaced" if not (compression or filtering) else "unknown compression or filter",
                expected="compression 0, filter 0, interlace 0",
                found=f"{compression}, {filtering}, {interlace}",
                remedy="Save it without interlacing.",
            )
        return fields

    def samples(self, compressed: bytes, height: int, row_bytes: int) -> NDArray[np.uint8]:
        """The bytes of every row, uint8 [H, row_bytes], inflated and freed of filters."""
        size = height * (row_bytes + 1)
        stream = zlib.decompressobj()
        try:
            # One byte beyond the expected size is room enough to see that there is more.
            content = stream.decompress(compressed, size + 1)
        except zlib.error as error:
            self.fail(
                f"damaged pixel data ({error})",
                expected=f"{size} bytes",
                remedy="Copy or write the file again.",
            )
        if len(content) != size or not stream.eof:
            found = "more" if len(content) > size else f"{len(content)} bytes, or no end mark"
            self.fail(
                "pixel data do not fit the header",
                expected=f"{size} bytes and the end mark",
                found=found,
                remedy="Copy or write the file again.",
            )
        rows = np.frombuffer(content, dtype=np.uint8).reshape(height, row_bytes + 1)
        worst = int(rows[:, 0].max())
        if worst > 4:
            remedy = "Copy or write the file again."
            self.fail("unknown filter", expected="0 to 4", found=worst, remedy=remedy)
        return unfilter(rows[:, 0], rows[:, 1:])


def _unpacked(samples: NDArray[np.uint8], depth: int) -> NDArray[np.uint8]:
    """One value per pixel from `depth` bits each, the leftmost pixel in the highest bits."""
    if depth == 8:
        return samples
    shifts = np.arange(8 - depth, -1, -depth, dtype=np.uint8)
    values = (samples[:, :, None] >> shifts) & np.uint8((1 << depth) - 1)
    return values.reshape(samples.shape[0], -1)
