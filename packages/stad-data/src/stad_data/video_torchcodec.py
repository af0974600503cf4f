"""torchcodec as a decoder (extra ``torchcodec``): MP4, MKV and WebM, upright, real keyframes.

torchcodec needs FFmpeg's shared libraries besides (version 4 to 8). It reads the timestamps of all
packets first ("exact" mode) and returns each frame's, which are compared with those asked for.
H.264 files whose keyframes are not all IDR pictures are refused, since under gradual refresh it
begins at them too late; so are rotated ones. Where it is used, frames equal those of the default
backend byte for byte when both are built on the same FFmpeg.
"""

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stad_data.video_delegate import Decoder, Facts, Library


class _TorchCodec:
    def __init__(self, path: str, facts: Facts, threads: int) -> None:
        self._zero = 0.0
        self._times_N = facts.index.times_N
        try:
            module: Any = import_module("torchcodec.decoders")  # an extra
            self._decoder = module.VideoDecoder(
                path,
                stream_index=facts.stream,
                dimension_order="NHWC",
                num_ffmpeg_threads=threads,
                seek_mode="exact",
            )
        except (RuntimeError, OSError) as error:
            # Some versions look for FFmpeg's libraries on import, others for the first decoder.
            if "libtorchcodec" in str(error):
                raise ImportError(str(error)) from error
            raise
        self._zero = float(self._decoder.metadata.begin_stream_seconds or 0.0)

    def times(self) -> NDArray[np.float64]:
        # It tells a frame's time with the frame only: `read` compares them one by one.
        count = len(self._decoder)
        return self._times_N if count == self._times_N.size else np.arange(count, dtype=np.float64)

    def read(self, ranks: list[int]) -> NDArray[np.uint8]:
        batch = self._decoder.get_frames_at(ranks)
        off = np.abs(batch.pts_seconds.numpy() - self._zero - self._times_N[ranks])
        if off.max(initial=0.0) > max(np.diff(self._times_N).min(initial=1.0) / 2, 2e-3):
            wrong = int(off.argmax())
            raise ValueError(f"frame {ranks[wrong]} came {off[wrong]:.3f} s from its time")
        return batch.data.numpy()


def _objection(facts: Facts) -> str | None:
    if not facts.upright:
        return "it is rotated or mirrored, which torchcodec does in its own way"
    if not facts.clean:
        return "it may begin at keyframes that need pictures before them (no IDR pictures)"
    return None


def _open(path: str, facts: Facts, threads: int) -> Decoder:
    return _TorchCodec(path, facts, threads)


TORCHCODEC = Library(name="torchcodec", objection=_objection, open=_open)
