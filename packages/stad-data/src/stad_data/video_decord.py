"""decord as a decoder (extra ``decord``): MP4, MKV and WebM, upright, with closed groups only.

decord counts and sorts packets as PyAV does, but begins at a keyframe as if nothing shown after it
needed what came before, knows no edit lists, and its results for rotated files are unusable. Such
files are refused. Where it is used, frames equal those of the default backend byte for byte.
"""

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stad_data.video_delegate import Decoder, Facts, Library


class _Decord:
    def __init__(self, path: str, threads: int) -> None:
        module: Any = import_module("decord")  # an extra
        self._reader = module.VideoReader(path, num_threads=threads)

    def times(self) -> NDArray[np.float64]:
        ranks = list(range(len(self._reader)))
        return np.asarray(self._reader.get_frame_timestamp(ranks), np.float64).reshape(-1, 2)[:, 0]

    def read(self, ranks: list[int]) -> NDArray[np.uint8]:
        batch = self._reader.get_batch(ranks)
        # decord.bridge may have been set to give tensors instead of its own arrays.
        return batch.asnumpy() if hasattr(batch, "asnumpy") else np.asarray(batch)


def _objection(facts: Facts) -> str | None:
    if facts.index.cut:
        return "an edit list hides some of its frames, which decord shows"
    if not facts.upright:
        return "it is rotated or mirrored, which decord does not undo"
    if not (facts.closed and facts.clean):
        return "frames after a keyframe need pictures before it (an open group), which decord drops"
    if facts.streams > 1:
        return "it has several video streams, of which decord picks its own"
    return None


def _open(path: str, facts: Facts, threads: int) -> Decoder:  # noqa: ARG001
    return _Decord(path, threads)


DECORD = Library(name="decord", objection=_objection, open=_open)
