"""Hostile pickles are refused and run nothing; honest ones read as pickle itself reads them."""

import builtins
import contextlib
import io
import os
import pickle
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_eval import (
    InputError,
    read_act_truth,
    read_act_tubes,
    read_frame_rows,
    read_multisports_tubes,
    read_pyannot,
    read_retinanet_frames,
    read_retinanet_tubes,
    read_tube_truth,
    read_tubelets,
    read_tubes,
    read_tubes_npz,
    safe_pickle,
)


def same(a, b):
    if isinstance(a, np.ndarray):
        if type(b) is not np.ndarray or a.dtype != b.dtype or a.shape != b.shape:
            return False
        return same(a.ravel().tolist(), b.ravel().tolist())
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        alike = type(a) is type(b) and len(a) == len(b)
        return alike and all(same(x, y) for x, y in zip(a, b, strict=True))
    return type(a) is type(b) and a == b


HONEST = {
    "labels": ["walk", "run"],
    "nframes": {"v": 40},
    "resolution": {"v": (240, 320)},
    "gttubes": {"v": {0: [np.arange(10, dtype=np.float32).reshape(2, 5)]}},
    "mixed": [
        None,
        True,
        False,
        1,
        -5,
        2**70,
        1.5,
        b"bytes",
        b"",
        "text",
        {1, 2},
        frozenset("a"),
        (),
    ],
    "arrays": [
        np.zeros((0, 5)),
        np.array(3.5),
        np.arange(6, dtype=">i2").reshape(2, 3),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.array([True, False]),
        np.array(["walk", "run"]),
        np.array([b"a", b"bc"]),
        np.array([1 + 2j]),
        np.array([{"a": 1}, None, np.arange(3)], dtype=object),
    ],
    "scalars": [np.float32(0.5), np.int64(7), np.str_("name"), np.bool_(True)],
    ("a", 1): "a tuple as key",
    np.str_("key"): np.uint16(9),
}


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_honest_data_reads_as_it_was(protocol):
    data = pickle.dumps(HONEST, protocol=protocol)
    assert same(safe_pickle.loads(data), pickle.loads(data))


def test_shared_arrays_stay_shared():
    array = np.arange(3)
    first, second = safe_pickle.loads(pickle.dumps([array, array], protocol=4))
    assert first is second


def test_byte_strings_of_python_2_are_latin_1():
    assert safe_pickle.loads(b"(dp0\nS'na\\xefve'\np1\nI5\ns.") == {"naïve": 5}
    assert safe_pickle.loads(b"\x80\x02U\x02\xe9a.") == "éa"
    # An array as Python 2 wrote it: its content is a byte string.
    raw = struct.pack("<2f", 0.5, -2.0).decode("latin-1")
    text = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89U\x08" + raw.encode("latin-1") + b"tb."
    )
    assert safe_pickle.loads(text).tolist() == [0.5, -2.0]


def test_numpy_names_in_either_spelling():
    data = pickle.dumps(np.arange(3), protocol=4)
    assert b"numpy._core" in data or b"numpy.core" in data
    for old, new in ((b"numpy._core.multiarray", b"numpy.core.multiarray"),):
        data = pickle.dumps(np.arange(3), protocol=3).replace(old, new)
        assert safe_pickle.loads(data).tolist() == [0, 1, 2]


class Calls:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


class WithState:
    def __setstate__(self, state):
        raise AssertionError("ran")


TOUCH = "touch stad_was_here"
HOSTILE = {
    "os.system": (Calls(os.system, TOUCH), "system"),
    "builtins.eval": (Calls(builtins.eval, f"__import__('os').system('{TOUCH}')"), "builtins.eval"),
    "builtins.exec": (Calls(builtins.exec, "raise SystemExit"), "builtins.exec"),
    "builtins.getattr": (Calls(getattr, "text", "upper"), "builtins.getattr"),
    "open": (Calls(open, "stad_was_here", "w"), "io.open"),
    "setstate": (WithState(), "WithState"),
    "nested in honest data": ({"v": [np.arange(3), Calls(os.system, TOUCH)]}, "system"),
    "numpy's own loader": (Calls(np.load, "stad_was_here"), "numpy"),
    "a function of numpy": (Calls(np.fromfile, "stad_was_here"), "fromfile"),
    "structured dtype": (np.zeros(2, dtype=[("a", "f4")]), "dtype"),
    "dates": (np.array(["2020-01-01"], dtype="datetime64[D]"), "dtype 'M8'"),
    "a type alone": (np.ndarray, "a type, not data"),
    "a string array's subclass": (np.ma.array([1]), "numpy.ma"),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_hostile_pickles_are_refused_by_name_and_run_nothing(tmp_path, monkeypatch, name, protocol):
    value, named = HOSTILE[name]
    data = pickle.dumps(value, protocol=protocol)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "hostile.pkl"
    path.write_bytes(data)
    with pytest.raises(InputError, match="refused to read this pickle") as caught:
        safe_pickle.load(path)
    if protocol == 4:
        assert named in str(caught.value)
    assert [each.name for each in tmp_path.iterdir()] == ["hostile.pkl"]


@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "setstate"])
def test_no_hostile_pickle_reaches_any_reader(tmp_path, monkeypatch, name):
    names = {"videos": ("v",), "classes": ("walk",)}
    readers = [
        read_act_truth,
        read_pyannot,
        read_tube_truth,
        lambda path: read_tubes(path, **names),
        lambda path: read_multisports_tubes(path, **names),
        lambda path: read_retinanet_tubes(path, **names),
        lambda path: read_retinanet_frames(path, **names),
        lambda path: read_frame_rows(path, **names),
        lambda path: read_act_tubes(path.parent, **names),
        lambda path: read_tubelets(path.parent, **names),
    ]
    monkeypatch.chdir(tmp_path)
    data = pickle.dumps(HOSTILE[name][0], protocol=4)
    folder = tmp_path / "v"
    folder.mkdir()
    for path in (tmp_path / "v_tubes.pkl", folder / "00001.pkl"):
        path.write_bytes(data)
    before = sorted(tmp_path.rglob("*"))
    for reader in readers:
        with pytest.raises(InputError, match="refused to read this pickle"):
            reader(tmp_path / "v_tubes.pkl")
    assert sorted(tmp_path.rglob("*")) == before


def test_objects_hidden_in_npz_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hidden = np.empty(1, dtype=object)
    hidden[0] = Calls(os.system, TOUCH)
    np.savez(tmp_path / "hostile.npz", dets=hidden)
    names = {"videos": ("v",), "classes": ("walk",)}
    for reader in (read_tubes_npz, lambda path: read_frame_rows(path, **names)):
        with pytest.raises(InputError, match="not a readable npz"):
            reader(tmp_path / "hostile.npz")
    with pytest.raises(InputError, match="not a readable npz"):
        read_tubelets(tmp_path / "hostile.npz", **names)
    assert [each.name for each in tmp_path.iterdir()] == ["hostile.npz"]


def test_torch_storages_are_refused():
    # torch.save pickles storages as persistent ids.
    text = b"\x80\x02(X\x07\x00\x00\x00storageX\x01\x00\x00\x000tQ."
    with pytest.raises(InputError, match="instruction BINPERSID"):
        safe_pickle.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        b"ios\nsystem\n.",  # INST without mark
        b"(S'x'\nios\nsystem\n.",
        b"(cos\nsystem\nS'x'\no.",
        b"\x80\x02\x82\x01.",
        b"\x80\x02cbuiltins\nset\n)\x81.",
        b"P0\n.",
    ],
)
def test_other_ways_to_make_objects_are_refused(text):
    with pytest.raises(InputError):
        safe_pickle.loads(text)


def test_numpy_types_cannot_be_changed_from_inside():
    # BUILD on a shared builtin dtype would turn the byte order of every float64 in the process.
    head = b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00f8\x89\x89\x87R"
    state = b"(K\x03X\x01\x00\x00\x00>NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb."
    with pytest.raises(InputError, match="a type, not data"):
        safe_pickle.loads(head + state)
    assert np.dtype("f8").str in ("<f8", "=f8")
    # BUILD on a function or a class would set attributes on it.
    for name in (b"numpy\nndarray", b"numpy.core.multiarray\n_reconstruct"):
        with pytest.raises(InputError, match="sets the state"):
            safe_pickle.loads(b"\x80\x02c" + name + b"\n}X\x01\x00\x00\x00aK\x01sb.")
    assert not hasattr(np.ndarray, "a")


def array_pickle(dtype, shape, data):
    """The pickle of an array with whatever state is wanted."""
    out = io.BytesIO()
    pickler = pickle.Pickler(out, protocol=4)

    class Array:
        def __reduce__(self):
            function, arguments, _ = np.zeros(1).__reduce__()
            return function, arguments, (1, shape, dtype, False, data)

    pickler.dump(Array())
    return out.getvalue()


def test_array_states_are_checked():
    good = array_pickle(np.dtype("f4"), (2,), b"\0" * 8)
    assert safe_pickle.loads(good).tolist() == [0, 0]
    bad = [
        array_pickle(np.dtype("f4"), (3,), b"\0" * 8),
        array_pickle(np.dtype("f4"), (-1,), b""),
        array_pickle(np.dtype("f4"), (2**40, 2**40), b"\0" * 8),
        array_pickle(np.dtype("f4"), (1,) * 40, b"\0" * 4),
        array_pickle(np.dtype("f4"), 2, b"\0" * 8),
        array_pickle(np.dtype("f4"), (2,), [1.0, 2.0]),
        # Bytes taken for pointers to objects would be the end of the process.
        array_pickle(np.dtype(object), (1,), b"\0" * 8),
        array_pickle(np.dtype(object), (2,), [1]),
        array_pickle("f4", (2,), b"\0" * 8),
    ]
    for data in bad:
        with pytest.raises(InputError):
            safe_pickle.loads(data)


@pytest.mark.parametrize("depth", [1001, 200_000])
@pytest.mark.parametrize(
    "nested",
    [
        lambda depth: b"]" * depth + b"a" * (depth - 1),
        lambda depth: b")" + b"\x85" * depth,
        lambda depth: b"}X\x07\x00\x00\x00gttubes" * depth + b"N" + b"s" * depth,
    ],
    ids=["lists", "tuples", "dicts"],
)
def test_deep_nesting_is_refused_without_overflow(nested, depth):
    with pytest.raises(InputError, match="nests deeper than 1000 levels"):
        safe_pickle.loads(b"\x80\x02" + nested(depth) + b".")


def test_deep_keys_are_refused():
    # A key would be hashed, level by level, on the C stack.
    deep_key = b"\x80\x02}" + b")" + b"\x85" * 200_000 + b"K\x01s."
    with pytest.raises(InputError, match="as a key"):
        safe_pickle.loads(deep_key)


def laughs(kind, levels=60):
    """Each level holds the one before ten times: 10**60 paths through 61 containers."""
    value = kind([1.0])
    for _ in range(levels):
        value = kind([value] * 10)
    return value


def objects(values):
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


@pytest.mark.parametrize(
    "kind",
    [list, tuple, lambda values: dict(enumerate(values)), objects],
    ids=["lists", "tuples", "dicts", "arrays of objects"],
)
def test_billion_laughs_are_refused(kind):
    with pytest.raises(InputError, match="unfolds to more than 1000000 values"):
        safe_pickle.loads(pickle.dumps(laughs(kind), protocol=4))


def test_billion_laughs_do_not_hold_up_a_reader(tmp_path):
    path = tmp_path / "rows.pkl"
    path.write_bytes(pickle.dumps(laughs(list), protocol=4))
    with pytest.raises(InputError, match="refused to read this pickle"):
        read_frame_rows(path, videos=("v",), classes=("walk",))


def test_what_holds_itself_is_refused():
    itself: list = [1, 2]
    itself.append({"again": itself})
    with pytest.raises(InputError, match="holds itself"):
        safe_pickle.loads(pickle.dumps(itself, protocol=4))


def test_what_is_shared_a_few_times_is_read():
    row = [1.0, 2.0]
    assert safe_pickle.loads(pickle.dumps([row] * 1000, protocol=4)) == [row] * 1000


def test_a_huge_memo_index_costs_nothing():
    assert safe_pickle.loads(b"\x80\x02]r\xff\xff\xff\x7f.") == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b".",
        b"not a pickle",
        b"\x80\x04",
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc.",  # bytes longer than the file
        b"(.",
        b"a.",
        b"]a.",
        b"h\x07.",
        b"}(K\x01u.",
        b"I" + b"9" * 10_000 + b"\n.",
        pickle.dumps(HONEST, protocol=4)[:200],
    ],
)
def test_damaged_files_are_refused(tmp_path, data):
    path = tmp_path / "damaged.pkl"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        safe_pickle.load(path)
    assert caught.value.path == path


BASE = pickle.dumps(HONEST, protocol=4)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.integers(0, len(BASE) - 1), st.integers(0, 255)), max_size=6))
def test_mutated_files_read_or_are_refused(changes):
    data = bytearray(BASE)
    for at, value in changes:
        data[at] = value
    with contextlib.suppress(InputError):
        safe_pickle.loads(bytes(data))


@pytest.mark.parametrize("code", [0x110000, 0xAC0042, 0xFFFFFFFF, 0xD800, 0xDFFF])
@pytest.mark.parametrize("value", [np.str_("x"), np.array(["x", "y"]), np.array(["x"], ">U1")])
def test_strings_of_numpy_that_are_no_strings_are_refused(code, value):
    order = "big" if value.dtype.byteorder == ">" else "little"
    data = pickle.dumps(value, protocol=4)
    character = ord("x").to_bytes(4, order)
    assert data.count(character) == 1
    assert np.array_equal(safe_pickle.loads(data), value)
    with pytest.raises(InputError, match="no characters"):
        safe_pickle.loads(data.replace(character, code.to_bytes(4, order)))


def test_strings_with_half_a_character_are_refused():
    data = b"\x80\x04X\x03\x00\x00\x00\xed\xa0\x80."
    assert pickle.loads(data) == "\ud800"
    with pytest.raises(InputError, match="not a readable pickle"):
        safe_pickle.loads(data)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        safe_pickle.load(tmp_path / "none.pkl")


def test_published_annotations_of_ucf24(real_data):
    path = real_data / "ucf24" / "pyannot.pkl"
    content = safe_pickle.load(path)
    assert len(content) == 3194
    tubes = [tube for video in content.values() for tube in video["annotations"]]
    assert len(tubes) == 4458
    assert sum(len(tube["boxes"]) for tube in tubes) == 573_862
    assert {tube["boxes"].dtype for tube in tubes} == {np.dtype("u1"), np.dtype("u2")}
    assert all(isinstance(name, str) for name in content)
    with path.open("rb") as stream:
        assert same(content, pickle.load(stream, encoding="latin1"))


def test_published_annotations_of_multisports(real_data):
    content = safe_pickle.load(real_data / "multisports" / "gt_sample.pkl")
    assert len(content["labels"]) == 66
    assert sum(len(tubes) for v in content["gttubes"].values() for tubes in v.values()) == 8
