"""Detections in an AVA CSV file too large for memory, by video, whatever the order of its rows."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from stad_eval.formats.ava_csv import ava_boxes, label_map
from stad_eval.formats.ava_rows import ava_row_blocks
from stad_eval.formats.files import opened
from stad_eval.formats.label_map import LabelMap
from stad_eval.tables import Boxes

# Bytes of the CSV file that become one shard, about 1.2 million rows.
SHARD = 1 << 26

_ROW = np.dtype(
    [("video", "i8"), ("frame", "i8"), ("box", "f8", 4), ("label", "i8"), ("score", "f8")]
)


def ava_shards(
    truth: Boxes,
    path: str | Path,
    *,
    classes: LabelMap | Sequence[str] | str | Path,
    unlisted: Literal["refused", "skipped"] = "refused",
    folder: str | Path | None = None,
) -> Iterator[tuple[Boxes, Boxes]]:
    """Shards (truth, detections) of whole videos, one at a time, for `frame_map_streamed`.

    The file is read once; its rows lie in `folder`, by default a temporary one, 72 bytes each,
    until their shard comes. Every video of `truth` and of the file is in one shard. Memory holds
    the ground truth, one shard and some megabytes of the file; a single video must fit.

    Raises:
        InputError: as `read_ava_csv`.
    """
    names = label_map(classes)
    with opened(path) as (_, size):
        shards = size // SHARD + 1
    with tempfile.TemporaryDirectory(dir=folder) as place:
        parts = [Path(place) / f"{at}.rows" for at in range(shards)]
        videos: tuple[str, ...] = ()
        for block in ava_row_blocks(path):
            videos = block.videos
            table = ava_boxes(block, path, classes=names, column_8="score", unlisted=unlisted)
            rows = np.empty(len(table), dtype=_ROW)
            for name in _ROW.names or ():
                rows[name] = getattr(table, name)
            shard = (table.video % shards).astype(np.min_scalar_type(shards))
            order = np.argsort(shard, kind="stable")
            ends = np.cumsum(np.bincount(shard, minlength=shards)).tolist()
            for part, low, high in zip(parts, [0, *ends], ends, strict=False):
                if low < high:
                    with part.open("ab") as stream:
                        rows[order[low:high]].tofile(stream)
        number = {name: at for at, name in enumerate(videos)}
        shard_of = np.array([number.get(name, 0) % shards for name in truth.videos], dtype=np.int64)
        for at, part in enumerate(parts):
            rows = np.fromfile(part, dtype=_ROW) if part.exists() else np.empty(0, dtype=_ROW)
            part.unlink(missing_ok=True)
            columns = {name: np.ascontiguousarray(rows[name]) for name in _ROW.names or ()}
            del rows
            found = Boxes(videos=videos, classes=names, **columns)
            yield _of_videos(truth, shard_of == at), found


def _of_videos(truth: Boxes, wanted: np.ndarray) -> Boxes:
    """The rows and the annotated frames of some videos, by a mask over all."""
    part = truth.select(wanted[truth.video])
    if truth.annotated is None:
        return part
    return Boxes(
        videos=part.videos,
        classes=part.classes,
        video=part.video,
        frame=part.frame,
        box=part.box,
        label=part.label,
        score=part.score,
        annotated=truth.annotated[wanted[truth.annotated[:, 0]]],
    )
