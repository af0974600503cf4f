"""The restricted reader: what old checkpoints hold comes back, everything else is refused."""

import contextlib
import io
import pickle
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stad_models.weights.restricted_pickle import RefusedError, loads

KINDS = st.sampled_from(["<f4", "<f8", ">f4", "<i4", "<i8", "|u1", "|b1", "<f2"])


@given(
    value=KINDS.flatmap(
        lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0))
    ),
    protocol=st.integers(0, 5),
)
def test_arrays_come_back(value, protocol):
    if protocol == 5:
        value = np.array(value)  # owns its memory, in C order
    found = loads(pickle.dumps({"blobs": {"w": value}}, protocol=protocol))
    array = found["blobs"]["w"]
    assert array.dtype == value.dtype
    np.testing.assert_array_equal(array, value)


def test_arrays_in_columns_and_numbers_come_back():
    value = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    found = loads(
        pickle.dumps({"w": value, "lr": np.float32(0.5), "n": 3, "s": "text"}, protocol=2)
    )
    np.testing.assert_array_equal(found["w"], value)
    assert (float(found["lr"]), found["n"], found["s"]) == (0.5, 3, "text")


def test_text_of_python_2_keeps_its_bytes():
    # As Python 2 wrote {'blobs': {'w': array([1.5, -2.0], float32)}}: arrays keep bytes in a str.
    data = np.array([1.5, -2.0], "<f4").tobytes()
    code = io.BytesIO()
    code.write(b"\x80\x02}U\x05blobs}U\x01wcnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n")
    code.write(b"K\x00\x85U\x01b\x87R(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R")
    code.write(b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89")
    code.write(b"U" + bytes([len(data)]) + data + b"tbss.")
    np.testing.assert_array_equal(loads(code.getvalue())["blobs"]["w"], [1.5, -2.0])


def _global(module: str, name: str, arguments: bytes = b")") -> bytes:
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + arguments + b"R."


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("posix", "system"),
        ("builtins", "eval"),
        ("__builtin__", "getattr"),
        ("numpy", "load"),
        ("numpy.core.multiarray", "fromfile"),
        ("torch._utils", "_rebuild_tensor_v2"),
        ("functools", "partial"),
        ("collections", "OrderedDict.update"),
    ],
)
def test_other_names_are_refused_by_name(module, name):
    with pytest.raises(RefusedError, match=re.escape(f"asks for {module}.{name}")):
        loads(_global(module, name))


def test_objects_in_arrays_are_refused():
    with pytest.raises(RefusedError, match="kind 'O8'"):
        loads(pickle.dumps(np.array([{}], dtype=object), protocol=2))
    with pytest.raises(RefusedError, match=r"structured|kind"):
        loads(pickle.dumps(np.zeros(1, dtype=[("a", "f4")]), protocol=2))


def test_functions_cannot_be_changed():
    # BUILD on an allowed function, with an attribute to set.
    code = b"\x80\x02cnumpy\ndtype\n}U\x05_makeK\x01sb."
    with pytest.raises(RefusedError, match="changes a function"):
        loads(code)


def test_persistent_objects_and_extensions_are_refused():
    with pytest.raises(ValueError, match="no readable pickle"):
        loads(b"\x80\x02U\x01xQ.")
    with pytest.raises(ValueError, match="no readable pickle"):
        loads(b"\x80\x02\x82\x01.")


def test_a_memo_cannot_claim_more_than_the_file_holds():
    with pytest.raises(ValueError, match="odd memo entry"):
        loads(b"\x80\x02}r\xff\xff\xff\x7f.")


def test_an_array_cannot_claim_more_than_the_file_holds():
    whole = pickle.dumps(np.zeros(4, np.float32), protocol=2)
    shape = whole.index(b"K\x04\x85")
    with pytest.raises(ValueError, match="cut short"):
        loads(whole[:shape] + b"K\x08\x85" + whole[shape + 3 :])
    with pytest.raises(ValueError, match=r"odd shape|no readable"):
        loads(whole[:shape] + b"J\xff\xff\xff\xff\x85" + whole[shape + 3 :])


@given(data=st.data())
def test_damage_is_told_and_nothing_else_happens(data):
    value = {"blobs": {"w": np.arange(3, dtype=np.float32), "lr": 0.1}}
    content = bytearray(pickle.dumps(value, protocol=2))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ValueError, RefusedError):
        loads(bytes(content[: data.draw(st.integers(0, len(content)))]))
