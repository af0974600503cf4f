"""Arrays in one file: what comes back, what is noticed, what workers share; fingerprints."""

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from stad_data import array_file
from stad_data.fingerprint import Fingerprint
from stad_eval import InputError

ARRAYS = {
    "flags": np.array([True, False, True]),
    "numbers": np.arange(12).reshape(3, 4) - 5,
    "none": np.zeros((0, 4)),
    "halves": np.linspace(-1, 1, 7, dtype=np.float32),
    "wide": np.arange(5, dtype=">i4"),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    target = tmp_path / "folder" / "some.file"
    with array_file.written(target, "test", {"name": "ü"}) as writer:
        writer.extend("stream", b"abc")
        writer.extend("stream", b"defg")
        for name, values in ARRAYS.items():
            writer.write(name, values)
        writer.about["late"] = [1, 2]
    return target


def test_what_was_written_comes_back(path: Path):
    file = array_file.opened(path, "test")
    assert file.about == {"name": "ü", "late": [1, 2]}
    assert file.arrays["stream"].tobytes() == b"abcdefg"
    for name, values in ARRAYS.items():
        found = file.arrays[name]
        np.testing.assert_array_equal(found, values)
        assert found.dtype == values.dtype.newbyteorder("<")
        assert not found.flags.writeable
        assert found.ctypes.data % 64 == 0 or not found.size
    assert array_file.is_array_file(path)
    assert [each.name for each in path.parent.iterdir()] == ["some.file"]


def test_every_byte_counts(path: Path):
    """Each byte flipped, each length: refused, or the same where nothing lies between arrays."""
    data = path.read_bytes()
    whole = array_file.opened(path, "test")
    used = np.zeros(len(data), bool)
    used[:8] = True
    for values in (np.frombuffer(b"abcdefg", np.uint8), *ARRAYS.values()):
        at = data.find(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes())
        used[at : at + values.nbytes] = True
    text = data.find(b'{"kind"')
    used[text:] = True
    assert used.sum() < len(data)
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 0x55
        path.write_bytes(damaged)
        if used[at]:
            with pytest.raises(InputError, match=r"not a whole test file"):
                array_file.opened(path, "test")
        else:
            assert array_file.opened(path, "test").stamp == whole.stamp
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match="cut off"):
            array_file.opened(path, "test")
    path.write_bytes(data + b"x")
    with pytest.raises(InputError, match="cut off"):
        array_file.opened(path, "test")


def test_other_files_are_refused(path: Path, tmp_path: Path):
    with pytest.raises(InputError, match="of kind 'test'"):
        array_file.opened(path, "flow")
    other = tmp_path / "film.csv"
    other.write_text("video,second\n" * 20)
    with pytest.raises(InputError, match="it begins with b'video,se'"):
        array_file.opened(other, "test")
    assert not array_file.is_array_file(other)
    assert not array_file.is_array_file(tmp_path / "none")
    with pytest.raises(InputError, match="no such file"):
        array_file.opened(tmp_path / "none", "test")


def test_a_write_that_fails_leaves_the_old_file(path: Path):
    before = path.read_bytes()

    def broken() -> None:
        with array_file.written(path, "test", {}) as writer:
            writer.write("numbers", np.arange(1000))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        broken()
    assert path.read_bytes() == before
    assert len(list(path.parent.iterdir())) == 1


def test_unchecked_arrays_are_left_to_their_user(path: Path):
    data = bytearray(path.read_bytes())
    at = data.find(b"abcdefg")
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="'stream' are damaged"):
        array_file.opened(path, "test")
    assert array_file.opened(path, "test", unchecked=("stream",)).arrays["stream"][1] == ord("b")


def test_pickling_keeps_to_the_path(path: Path):
    with array_file.written(path, "test", {}) as writer:
        writer.write("numbers", np.arange(100_000))
    file = array_file.opened(path, "test")
    data = pickle.dumps(file)
    assert len(data) < 1000
    np.testing.assert_array_equal(pickle.loads(data).arrays["numbers"], np.arange(100_000))
    with array_file.written(path, "test", {}) as writer:
        writer.write("numbers", np.arange(5))
    # What is open stays what it was; another process must not see something else.
    assert file.arrays["numbers"][-1] == 99_999
    with pytest.raises(InputError, match="replaced while it was in use"):
        pickle.loads(data)


def test_a_fingerprint_notices_changes(tmp_path: Path):
    path = tmp_path / "film.mp4"
    path.write_bytes(b"abc" * 1000)
    known = Fingerprint.from_json(Fingerprint.of(path).to_json())
    assert known.fits(path)
    copied = tmp_path / "copy.mp4"
    shutil.copyfile(path, copied)
    os.utime(copied, ns=(5, 5))
    assert known.fits(copied)
    copied.write_bytes(b"abd" + b"abc" * 999)
    assert not known.fits(copied)
    path.write_bytes(b"abc" * 999)
    assert not known.fits(path)
    path.unlink()
    assert not known.fits(path)
    with pytest.raises(InputError, match="cannot be read"):
        Fingerprint.of(path)


def test_a_fingerprint_of_a_folder(tmp_path: Path):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(bytes([number]) * 10)
    known = Fingerprint.of(tmp_path)
    assert known.size == 30
    (tmp_path / "1.png").rename(tmp_path / "4.png")
    os.utime(tmp_path / "4.png", ns=(7, 7))
    (tmp_path / "0.png").touch()
    assert not known.fits(tmp_path)
    (tmp_path / "4.png").rename(tmp_path / "1.png")
    assert known.fits(tmp_path)
