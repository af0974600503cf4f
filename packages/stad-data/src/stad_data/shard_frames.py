"""Frames of a video out of the shards that `shards.fill` made, by index."""

import operator
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from stad_data import array_file
from stad_data.array_file import ArrayFile
from stad_data.shards import INDEX, KIND
from stad_data.video_image import ImageMaker, Orientation, PictureError
from stad_data.video_image_files import ImageDecoder, undecodable
from stad_eval import InputError


class ShardFrames:
    """Frames of one video in shards; reads like a VideoReader, holding no file open.

    It can be sent to a worker, which maps the same index. It is not for use by two threads at once.

    Args:
        index: The open index of the shards.
        number: Which of its videos.
    """

    def __init__(self, index: ArrayFile, number: int) -> None:
        self._index = index
        self._number = number
        self._start()

    def _start(self) -> None:
        self._decoder = ImageDecoder()
        self._images = ImageMaker(Orientation(), self.size, scaled=False)

    def __getstate__(self) -> dict[str, Any]:
        return {"_index": self._index, "_number": self._number}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    @property
    def video(self) -> str:
        """The name of the video."""
        return self._index.about["videos"][self._number]

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the images; boxes of the video have to be scaled to it."""
        width, height = self._index.arrays["size"][self._number].tolist()
        return width, height

    @property
    def num_frames(self) -> int:
        """Frames of the video."""
        start, stop = self._index.arrays["stops"][self._number : self._number + 2].tolist()
        return stop - start

    def read(self, indices: Iterable[int]) -> NDArray[np.uint8]:
        """Frames by index: uint8 [T, H, W, 3], RGB; any order, repeats allowed.

        Raises:
            InputError: An index out of range, or a shard that is missing, cut off or damaged.
        """
        wanted = np.array([operator.index(index) for index in indices], np.int64)
        wrong = wanted[(wanted < 0) | (wanted >= self.num_frames)]
        if wrong.size:
            raise InputError(
                f"there is no such frame of video {self.video!r}",
                path=self._index.path,
                expected=f"a frame index of at least 0 and below {self.num_frames}",
                found=str(int(wrong[0])),
            )
        width, height = self.size
        images = np.empty((len(wanted), height, width, 3), np.uint8)
        arrays = self._index.arrays
        rows = wanted + arrays["stops"][self._number]
        shards = arrays["shard"][rows]
        for shard in np.unique(shards).tolist():
            path = self._index.path.parent / self._index.about["shards"][shard]
            try:
                with path.open("rb") as stream:
                    for row in np.unique(rows[shards == shard]).tolist():
                        images[rows == row] = self._image(stream, path, row)
            except OSError as error:
                raise InputError(
                    f"the shard with frames of video {self.video!r} cannot be read",
                    path=path,
                    found=error.strerror or str(error),
                    remedy="run `stad data shard` again, which makes it anew",
                ) from error
        return images

    def _image(self, stream: IO[bytes], path: Path, row: int) -> NDArray[np.uint8]:
        arrays = self._index.arrays
        start, length = int(arrays["start"][row]), int(arrays["length"][row])
        stream.seek(start)
        data = stream.read(length)
        short = len(data) < length
        if short or zlib.crc32(data) != arrays["crc"][row]:
            frame = row - int(arrays["stops"][self._number])
            raise InputError(
                f"the shard is {'cut off' if short else 'damaged'} at frame {frame} of video "
                f"{self.video!r}",
                path=path,
                expected=f"{length} bytes from byte {start} on, as {INDEX} has them",
                found=f"{len(data)} bytes" if short else "other bytes",
                remedy="copy it again, or run `stad data shard` again, which makes it anew",
            )
        try:
            return self._images.make(self._decoder.decode(data, path))
        except PictureError as error:
            raise undecodable(path, str(error)) from error


def open_shards(folder: Path | str) -> dict[str, ShardFrames]:
    """The frames of every video in a folder of shards, by its name: for `loading.ClipDataset`.

    The dict is its ``caches``: videos in it need no file. The index is mapped into memory once and
    shared between processes.

    Raises:
        InputError: There is no index, or it is damaged.
    """
    path = Path(folder) / INDEX
    if not path.is_file():
        raise InputError(
            "no folder of shards",
            path=path.parent,
            expected=f"a folder that `stad data shard` filled, with {INDEX}",
            found="no such file" if path.parent.is_dir() else "no such folder",
        )
    index = array_file.opened(path, KIND)
    names = index.about["videos"]
    return {name: ShardFrames(index, number) for number, name in enumerate(names)}
