"""MATLAB files: the same arrays as a general reader, and damage that is named, not crashed on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.io import loadmat, savemat

from stad_data.datasets.mat_file import read_arrays, read_values
from stad_eval import InputError

ARRAYS = arrays.arrays(
    st.sampled_from(["u1", "i1", "u2", "i2", "u4", "i4", "i8", "u8", "f4", "f8"]),
    st.one_of(
        arrays.array_shapes(min_dims=2, max_dims=4, max_side=5),
        st.sampled_from([(0, 0), (3, 0), (1, 1)]),
    ),
    elements={"allow_nan": False},
)
NAMES = st.sampled_from(["a", "part_mask", "longer_than_four"])


@settings(deadline=None, max_examples=50)
@given(content=st.dictionaries(NAMES, ARRAYS), compressed=st.booleans())
def test_arrays_are_what_a_general_reader_gives(tmp_path_factory, content, compressed):
    path = tmp_path_factory.mktemp("mat") / "a.mat"
    savemat(path, content, do_compression=compressed)
    found = read_arrays(path)
    expected = {k: v for k, v in loadmat(path).items() if not k.startswith("__")}
    assert set(found) == set(expected)
    for name, values in found.items():
        assert values.dtype == expected[name].dtype
        np.testing.assert_array_equal(values, expected[name])


def test_other_variables_are_passed_over(tmp_path):
    path = tmp_path / "a.mat"
    content = {"text": "words", "struct": {"x": 1.0}, "z": 1j * np.ones(3), "n": np.ones((2, 3))}
    savemat(path, content)
    assert set(read_arrays(path)) == {"n"}


def test_big_endian_files(tmp_path):
    """One uncompressed uint16 array, byte by byte as the format says."""
    import struct

    values = np.array([[1, 2, 300], [4, 5, 600]], ">u2")
    flags = struct.pack(">IIII", 6, 8, 11, 0)
    shape = struct.pack(">IIii", 5, 8, 2, 3)
    name = struct.pack(">HH", 1, 1) + b"v\0\0\0"
    data = struct.pack(">II", 4, 12) + values.tobytes(order="F") + bytes(4)
    body = flags + shape + name + data
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI"
    path = tmp_path / "big.mat"
    path.write_bytes(header + struct.pack(">II", 14, len(body)) + body)
    np.testing.assert_array_equal(read_arrays(path)["v"], values)
    np.testing.assert_array_equal(loadmat(path)["v"], values)


@pytest.mark.parametrize("compressed", [True, False])
def test_damage_is_named(tmp_path, compressed):
    path = tmp_path / "a.mat"
    mask = np.zeros((20, 30, 8), np.uint8)
    mask[3:9, 4:12] = 1
    savemat(path, {"part_mask": mask, "other": np.arange(5.0)}, do_compression=compressed)
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = []
    for attempt in range(1000):
        data = bytearray(good if attempt % 2 else good[: rng.integers(0, len(good))])
        for place in rng.integers(0, max(len(data), 1), 3):
            data[place : place + 1] = bytes([rng.integers(0, 256)])
        path.write_bytes(data)
        try:
            read_arrays(path)
        except InputError as error:
            refused.append(error.path)
    assert len(refused) > 300
    assert set(refused) == {path}


@pytest.mark.parametrize(
    "content", [b"", b"x" * 300, b"MATLAB 7.3 MAT-file".ljust(126) + b"IM" + bytes(400)]
)
def test_other_formats_are_refused(tmp_path, content):
    path = tmp_path / "a.mat"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a MATLAB 5 file"):
        read_arrays(path)


def test_absent_files_and_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such"):
        read_arrays(tmp_path / "a.mat")
    with pytest.raises(InputError, match="folder"):
        read_arrays(tmp_path)


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    from stad_data.datasets import mat_file

    path = tmp_path / "a.mat"
    savemat(path, {"a": np.zeros((1000, 1000))}, do_compression=True)
    monkeypatch.setattr(mat_file, "_MOST_BYTES", 1 << 20)
    with pytest.raises(InputError, match="cut off or too large"):
        read_arrays(path)


NESTED = {
    "text": "words",
    "lines": np.array(["ab", "cd"]),
    "nothing": np.zeros((0, 0)),
    "cell": np.array([[1.0, "two"], [np.arange(3), ""]], dtype=object),
    "struct": {"number": np.uint8(7), "inner": {"name": "x"}, "list": np.arange(4)},
    "complex": 1j * np.ones(3),
}


@pytest.mark.parametrize("compressed", [True, False])
def test_text_cells_and_structs(tmp_path, compressed):
    path = tmp_path / "a.mat"
    savemat(path, NESTED, do_compression=compressed)
    found = read_values(path)
    assert found["text"] == "words"
    assert found["lines"] == ["ab", "cd"]
    assert found["complex"] is None
    assert found["nothing"].shape == (0, 0)
    one, other, two, empty = found["cell"]  # the first axis first
    assert one.tolist() == [[1]]
    assert other.tolist() == [[0, 1, 2]]
    assert two == "two"
    assert len(empty) == 0
    (struct,) = found["struct"]
    assert struct["number"].tolist() == [[7]]
    assert struct["inner"] == [{"name": "x"}]
    assert struct["list"].tolist() == [[0, 1, 2, 3]]
    rows = np.zeros((1, 2), dtype=[("a", "O"), ("b", "O")])
    rows[0, 0], rows[0, 1] = (1, "x"), (2, "y")
    savemat(path, {"rows": rows}, do_compression=compressed)
    assert [(row["a"].item(), row["b"]) for row in read_values(path)["rows"]] == [
        (1, "x"),
        (2, "y"),
    ]


def test_structs_nested_too_deeply_are_refused(tmp_path):
    path = tmp_path / "a.mat"
    value = {"x": 1.0}
    for _ in range(20):
        value = {"x": value}
    savemat(path, {"deep": value})
    with pytest.raises(InputError, match="nested too deeply"):
        read_values(path)


def test_damaged_structs_are_named(tmp_path):
    path = tmp_path / "a.mat"
    savemat(path, NESTED)
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = []
    for _ in range(500):
        data = bytearray(good)
        for place in rng.integers(128, len(data), 3):
            data[place] = rng.integers(0, 256)
        path.write_bytes(data)
        try:
            read_values(path)
        except InputError as error:
            refused.append(error.path)
    assert len(refused) > 100
    assert set(refused) == {path}
