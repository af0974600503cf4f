"""What tests of readers share: equality of datasets, damaged copies of files."""

import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import numpy as np
import pytest

from stad_data import Dataset
from stad_eval import InputError


@pytest.fixture(scope="session")
def assert_same() -> Callable[..., None]:
    """Asserts that two datasets hold the same videos, tracks and labels; files may differ."""

    def check(
        a: Dataset, b: Dataset, *, atol: float = 0.0, rates: bool = True, times: bool = True
    ) -> None:
        assert a.classes.names == b.classes.names
        for one, other in ((a.train, b.train), (a.test, b.test)):
            assert [v.video for v in one] == [v.video for v in other]
            for x, y in zip(one, other, strict=True):
                assert (x.num_frames, x.size) == (y.num_frames, y.size), x.video
                assert not rates or x.fps == y.fps, x.video
                assert x.keyframes.tolist() == y.keyframes.tolist(), x.video
                if times:
                    assert (x.timestamps is None) == (y.timestamps is None)
                    if x.timestamps is not None:
                        assert x.timestamps.tolist() == y.timestamps.tolist()
                tracks = {track.actor: track for track in y.tracks}
                assert sorted(track.actor for track in x.tracks) == sorted(tracks), x.video
                for track in x.tracks:
                    match = tracks[track.actor]
                    assert track.frames.tolist() == match.frames.tolist(), x.video
                    np.testing.assert_array_equal(track.labels, match.labels)
                    np.testing.assert_allclose(track.boxes, match.boxes, rtol=0, atol=atol)

    return check


def _damaged(good: bytes, rng: np.random.Generator) -> bytes:
    """The bytes with some of them changed, taken out, doubled, or cut off."""
    data = bytearray(good)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(0, len(data) + 1))
        kind = rng.integers(0, 5)
        if kind == 0:
            data[at : at + 1] = bytes([rng.integers(0, 256)])
        elif kind == 1:
            data[at : at + int(rng.integers(1, 9))] = b""
        elif kind == 2:
            data[at:at] = data[at : at + int(rng.integers(1, 30))]
        elif kind == 3:
            words = [b"-1", b"1e999", b"nan", b"\x00", b'"', b"<", b",", b"9" * 30, b"[" * 3]
            data[at : at + 2] = words[int(rng.integers(len(words)))]
        elif data:
            del data[max(at, 1) :]
    return bytes(data)


class TooLongError(AssertionError):
    """A read that does not come back."""


@contextmanager
def _in_time(seconds: int) -> Generator[None]:
    """Fails what takes longer; only in the main thread of a system that has signals."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise TooLongError(f"no end after {seconds} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _refusal(read: Callable[[], object]) -> InputError | None:
    try:
        with _in_time(60):
            read()
    except InputError as error:
        return error
    return None


@pytest.fixture
def survives() -> Callable[..., int]:
    """Mutates a file many times: reading it gives a dataset or an InputError, and nothing else.

    Returns how often it was refused. Every refusal must say what is wrong, in a file, and every
    read must come to an end.
    """

    def check(path: Path, read: Callable[[], object], times: int = 300) -> int:
        good = path.read_bytes()
        read()
        rng = np.random.default_rng(0)
        refused = 0
        for _ in range(times):
            path.write_bytes(_damaged(good, rng))
            error = _refusal(read)
            if error is not None:
                refused += 1
                assert error.path is not None, str(error)
        path.write_bytes(good)
        return refused

    return check
