"""Videos decoded once into tar files of JPEG images, for file systems that like few large files.

The form is that of webdataset, so its readers take the shards as they are: ``shard-000000.tar``,
``shard-000001.tar``, ... are plain tar files. A sample is a run of successive frames of one video;
its files stand one after the other:

    <video>/<first>.json            what the sample is
    <video>/<first>.<frame>.jpg     one image per frame

with numbers of six digits or more, frames counted from 0. In the JSON file ``video``, ``first`` and
``frames`` tell which frames these are; ``num_frames`` and ``fps`` how long the whole video is;
``annotated_size`` the (width, height) that boxes refer to and ``image_size`` that of the images;
``quality``, ``size`` and ``short_side`` how these were made, ``source`` from what file, and
``crc32`` what is in them. ``frames.index`` beside the shards tells where every image lies
(`shard_frames`), so that clips are read without unpacking.
"""

import io
import json
import tarfile
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from stad_data import array_file
from stad_data.annotation import VideoAnnotation
from stad_data.fingerprint import Fingerprint
from stad_data.shard_plan import Sample, plan
from stad_data.shard_plan import ShardSettings as ShardSettings
from stad_data.video import VideoReader
from stad_data.video_image_files import JpegEncoder
from stad_eval import InputError
from stad_eval.formats.files import replaced_bytes

KIND = "shards"
INDEX = "frames.index"
_CHUNK = 16  # frames that one read decodes


def fill(
    annotations: Sequence[VideoAnnotation],
    folder: Path | str,
    settings: ShardSettings | None = None,
    *,
    workers: int = 1,
    seen: Callable[[int], None] = lambda _: None,
) -> int:
    """Make the shards of some videos and their index; what is there and whole is kept.

    A shard appears when it is complete, the index last of all, so a run that was broken off goes on
    where it was. Shards whose videos or settings changed, and damaged ones, are made again.

    Args:
        annotations: The videos.
        folder: Where the shards go; it is made.
        settings: How; of the videos' own size where None.
        workers: Threads, each with a shard at a time.
        seen: Told the number of frames of every shard that is done.

    Returns:
        The number of shards that were made now.

    Raises:
        InputError: A video that cannot be read or has fewer frames than its annotation, or a folder
            with more shards than these.
        ValueError: `workers` below 1.
    """
    if workers < 1:
        raise ValueError(f"workers: expected 1 or more, found {workers}")
    folder, chosen = Path(folder), settings or ShardSettings()
    shards = plan(annotations, chosen)
    paths = [folder / f"shard-{number:06d}.tar" for number in range(len(shards))]
    folder.mkdir(parents=True, exist_ok=True)
    others = sorted(set(folder.glob("shard-*.tar")) - set(paths))
    if others:
        raise InputError(
            "the folder holds shards of something else",
            path=others[0],
            expected=f"at most {len(paths)} shards of this dataset",
            found=f"{len(paths) + len(others)} or more",
            remedy="choose another folder, or empty this one",
        )

    def one(number: int) -> tuple[Rows, bool]:
        found = scan(paths[number], shards[number], chosen)
        if found is not None:
            return found, False
        _write(paths[number], shards[number], chosen)
        written = scan(paths[number], shards[number], chosen)
        if written is None:
            raise InputError("a shard is not what was written to it", path=paths[number])
        return written, True

    rows: list[Rows] = []
    made = 0
    with ThreadPoolExecutor(workers) as pool:
        try:
            for samples, (found, new) in zip(
                shards, pool.map(one, range(len(shards))), strict=True
            ):
                rows.append(found)
                made += new
                seen(sum(sample.stop - sample.first for sample in samples))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    _write_index(folder / INDEX, annotations, paths, rows)
    return made


def _write(path: Path, samples: Sequence[Sample], settings: ShardSettings) -> None:
    with replaced_bytes(path) as stream, tarfile.open(fileobj=stream, mode="w") as tar:
        for _, some in groupby(samples, key=lambda sample: sample.annotation.video):
            _write_video(tar, list(some), settings)


def _write_video(tar: tarfile.TarFile, samples: Sequence[Sample], settings: ShardSettings) -> None:
    """Add samples of one video."""
    annotation = samples[0].annotation
    source = Fingerprint.of(annotation.path)
    with VideoReader(
        annotation.path,
        resize=settings.size,
        short_side=settings.short_side,
        gaps=annotation.gaps,
    ) as reader:
        encoder = JpegEncoder(reader.size, quality=settings.quality)
        for sample in samples:
            images: list[bytes] = []
            for first in range(sample.first, sample.stop, _CHUNK):
                frames = range(first, min(first + _CHUNK, sample.stop))
                images.extend(encoder.encode(image) for image in reader.read(frames))
            text = {
                **_description(sample, settings),
                "image_size": list(reader.size),
                "crc32": [zlib.crc32(data) for data in images],
                "source": source.to_json(),
            }
            content = [json.dumps(text, allow_nan=False).encode(), *images]
            for name, data in zip(sample.names, content, strict=True):
                # Without owner and time, the same frames give the same shard.
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))


def _description(sample: Sample, settings: ShardSettings) -> dict[str, Any]:
    """What is known of a sample before its images are made."""
    annotation = sample.annotation
    return {
        "video": annotation.video,
        "first": sample.first,
        "frames": sample.stop - sample.first,
        "num_frames": annotation.num_frames,
        "fps": annotation.fps,
        "annotated_size": list(annotation.size),
        "quality": settings.quality,
        "size": None if settings.size is None else list(settings.size),
        "short_side": settings.short_side,
    }


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Where the images of a shard lie in it, one row per frame.

    Attributes:
        start: Bytes from the beginning of the shard.
        length: Bytes of the image.
        crc: CRC-32 of the image.
        size: (width, height) of the image.
    """

    start: NDArray[np.int64]
    length: NDArray[np.int64]
    crc: NDArray[np.int64]
    size: NDArray[np.int64]


def scan(path: Path, samples: Sequence[Sample], settings: ShardSettings) -> Rows | None:
    """Read a shard through; None if it is not there, damaged, or not the shard of these samples."""
    rows: list[tuple[int, int, int, int, int]] = []
    try:
        with path.open("rb") as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
            sources: dict[str, bool] = {}
            for sample in samples:
                found = _scan_sample(tar, stream, sample, settings, sources)
                if found is None:
                    return None
                rows.extend(found)
            if tar.next() is not None:
                return None
    except (OSError, tarfile.TarError, ValueError, LookupError, TypeError):
        return None
    table = np.array(rows, np.int64).reshape(-1, 5)
    return Rows(start=table[:, 0], length=table[:, 1], crc=table[:, 2], size=table[:, 3:])


def _scan_sample(
    tar: tarfile.TarFile,
    stream: IO[bytes],
    sample: Sample,
    settings: ShardSettings,
    sources: dict[str, bool],
) -> list[tuple[int, int, int, int, int]] | None:
    """Start, length, CRC-32, width and height of a sample's images; None if it is another one."""
    content: list[tuple[int, bytes]] = []
    for name in sample.names:
        entry = tar.next()
        if entry is None or entry.name != name or not entry.isreg():
            return None
        stream.seek(entry.offset_data)
        content.append((entry.offset_data, stream.read(entry.size)))
    text = json.loads(content[0][1])
    video = sample.annotation.video
    if video not in sources:
        source = Fingerprint.from_json(text["source"])
        sources[video] = source.fits(sample.annotation.path)
    known = _description(sample, settings)
    crcs = [zlib.crc32(data) for _, data in content[1:]]
    same = {name: text[name] for name in known} == known and text["crc32"] == crcs
    if not same or not sources[video]:
        return None
    width, height = text["image_size"]
    return [
        (start, len(data), crc, width, height)
        for (start, data), crc in zip(content[1:], crcs, strict=True)
    ]


def _write_index(
    path: Path, annotations: Sequence[VideoAnnotation], shards: Sequence[Path], rows: Sequence[Rows]
) -> None:
    counts = [annotation.num_frames for annotation in annotations]
    stops = np.cumsum([0, *counts], dtype=np.int64)
    about = {
        "videos": [annotation.video for annotation in annotations],
        "shards": [shard.name for shard in shards],
    }
    with array_file.written(path, KIND, about) as file:
        file.write("stops", stops)
        file.write(
            "shard", np.repeat(np.arange(len(rows), dtype=np.int32), [len(r.crc) for r in rows])
        )
        file.write("start", np.concatenate([each.start for each in rows]))
        file.write("length", np.concatenate([each.length for each in rows]).astype(np.uint32))
        file.write("crc", np.concatenate([each.crc for each in rows]).astype(np.uint32))
        # A video's images are all of one size.
        file.write("size", np.concatenate([each.size for each in rows])[stops[:-1]])
