"""Does a video file reach as far as its own structure says? Told from a few header bytes."""

from pathlib import Path

_BOX_HEADER = 8


def missing_bytes(path: Path, format_name: str) -> int:
    """Bytes that the container's outermost structure promises beyond the file's end; 0 if none.

    Sources: ISO/IEC 14496-12 (boxes), RIFF (AVI), RFC 8794 (Matroska's EBML sizes).
    """
    size = path.stat().st_size
    names = set(format_name.split(","))
    if names & {"mov", "mp4"}:
        return max(0, _end_of_boxes(path, size) - size)
    if "avi" in names:
        return max(0, _end_of_riff(path) - size)
    if "matroska" in names:
        return max(0, _end_of_segment(path) - size)
    return 0


def _end_of_boxes(path: Path, size: int) -> int:
    position = 0
    with path.open("rb") as file:
        while position + _BOX_HEADER <= size:
            file.seek(position)
            header = file.read(16)
            length = int.from_bytes(header[:4], "big")
            if not header[4:8].isascii() or length in (0, *range(2, 8)):
                break  # to the end of the file, or no box at all
            if length == 1:
                length = int.from_bytes(header[8:16], "big")
                if length < 16:
                    break
            position += length
    return position


def _end_of_riff(path: Path) -> int:
    with path.open("rb") as file:
        header = file.read(12)
    # A recorder that was switched off leaves a size of 0: then nothing is promised.
    length = int.from_bytes(header[4:8], "little")
    return length + 8 if header[:4] == b"RIFF" and length < 2**31 else 0


def _end_of_segment(path: Path) -> int:
    with path.open("rb") as file:
        head = file.read(4096)
    position = 0
    for identifier in (b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"):
        if head[position : position + 4] != identifier:
            return 0
        position += 4
        length, value = _ebml_size(head[position:])
        if value is None:
            return 0
        position += length + value
    return position


def _ebml_size(data: bytes) -> tuple[int, int | None]:
    """Length in bytes of an EBML size field and its value, None for "unknown"."""
    if not data or data[0] == 0:
        return 0, None
    length = 9 - data[0].bit_length()
    raw = int.from_bytes(data[:length], "big")
    value = raw & ((1 << (7 * length)) - 1)
    return length, None if value == (1 << (7 * length)) - 1 else value
