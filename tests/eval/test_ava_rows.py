"""The three ways to read a block of AVA's CSV give the same rows, and refuse the same."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stad_eval import InputError
from stad_eval.formats import ava_rows, decimal_fields
from stad_eval.formats.ava_rows import ava_row_blocks, read_ava_rows

WAYS = ("arrow", "numpy", "lines")


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    """Read by one way only, as far as it goes; the slower ones stand behind it."""
    if request.param == "arrow":
        pytest.importorskip("pyarrow")
        monkeypatch.setattr(ava_rows, "ARROW_FROM", 0)
    elif request.param == "lines":
        monkeypatch.setattr(ava_rows, "_by_numpy", lambda *_: None)
    return request.param


def rows_of(path):
    rows = read_ava_rows(path)
    columns = ("video", "timestamp", "box", "action", "eighth", "row", "empty")
    return rows.videos, *(getattr(rows, name).tolist() for name in columns)


LINES = (
    "a,0902,0.1,0.25,1.000,0.4,12,0.5",
    "b,902,1e-1,+0.25,1.,.4,12,-1.5e-3",
    "-v_d00000000,000902,0.123456789012345678,0,1,0.4,080,7",
    "ü,1,-0.05,0.2,1.02,0.4,1,0.000000001",
    " x y ,1, 0.5,0.2 ,1,1,1,2",
)


@pytest.mark.parametrize("count", range(1, 6))
@pytest.mark.parametrize("end", ["", "\n"])
def test_every_way_reads_the_same(tmp_path, way, count, end):
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(LINES[:count]) + end, encoding="utf-8")
    videos, video, timestamp, box, action, eighth, row, empty = rows_of(path)
    fields = [line.split(",") for line in LINES[:count]]
    assert [videos[at] for at in video] == [each[0] for each in fields]
    assert timestamp == [int(each[1]) for each in fields]
    assert box == [[float(text) for text in each[2:6]] for each in fields]
    assert action == [int(each[6]) for each in fields]
    assert eighth == [float(each[7]) for each in fields]
    assert (row, empty) == (list(range(1, count + 1)), [])


@pytest.mark.parametrize("blank", ["\x0b", "\x0c", "\x1c", "\x1e", "\x1f", "\x85", "\u2003", "\0"])
@pytest.mark.parametrize("at", range(1, 8))
def test_odd_blanks_are_no_part_of_a_number(tmp_path, way, blank, at):
    """A digit that was overwritten must not leave another number."""
    fields = ["a", "0902", "0.1", "0.2", "0.3", "0.4", "12", "7"]
    fields[at] = blank + fields[at][1:]
    path = tmp_path / "rows.csv"
    path.write_text(",".join(fields), encoding="utf-8")
    with pytest.raises(InputError):
        read_ava_rows(path)


def test_rows_of_every_width_in_one_file(tmp_path, way):
    path = tmp_path / "rows.csv"
    path.write_text("c,0910\na,1,0,0,1,1,5\n\nb,2,0,0,1,1,6,0.5\na,3")
    videos, video, _, box, action, eighth, row, empty = rows_of(path)
    assert videos == ("c", "a", "b")
    assert (video, action, row) == ([1, 2], [5, 6], [2, 4])
    assert np.isnan(eighth[0])
    assert eighth[1] == 0.5
    assert empty == [[0, 910], [1, 3]]
    assert len(box) == 2


def test_blocks_share_their_names(tmp_path, way, monkeypatch):
    monkeypatch.setattr(ava_rows, "BLOCK", 32)
    monkeypatch.setattr(ava_rows, "ARROW_BLOCK", 32)
    path = tmp_path / "rows.csv"
    path.write_text("\r\n".join(f"v{at % 3},{at},0,0,1,1,5,0.5" for at in range(20)))
    blocks = list(ava_row_blocks(path))
    assert len(blocks) > 5
    videos, video, timestamp, *_, row, _ = rows_of(path)
    assert [videos[at] for at in video] == [f"v{at % 3}" for at in range(20)]
    assert timestamp == list(range(20))
    assert row == list(range(1, 21))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a,1,0,0,1,1,5,inf", "bad eighth column"),
        ("a,1,0,0,1,NaN,5,0.5", "bad y2"),
        ("a,1,0,0,1,0x1,5,0.5", "bad y2"),
        ("a,1,0,0,1,1,0x5,0.5", "bad action_id"),
        ("a,1,0,0,1,1,5.0,0.5", "bad action_id"),
        ("a,-1,0,0,1,1,5,0.5", "bad timestamp"),
        ("a,1234567890123,0,0,1,1,5,0.5", "bad timestamp"),
        (",1,0,0,1,1,5,0.5", "without a video"),
        ("a,1,0,0,1,1,5,0.5,7", "wrong number"),
        ("a,1,0,0,1,1,5,1_0", "bad eighth column"),
        ("a,1,0,0,1,1,5,٣", "bad eighth column"),
    ],
)
def test_every_way_refuses_the_same(tmp_path, way, line, message):
    path = tmp_path / "rows.csv"
    good = "a,1,0,0,1,1,5,0.5\n"
    path.write_text(good * 3 + line + "\n" + good, encoding="utf-8")
    with pytest.raises(InputError, match=message) as caught:
        read_ava_rows(path)
    assert caught.value.row == 4


def test_bytes_that_are_no_text_are_refused(tmp_path, way):
    path = tmp_path / "rows.csv"
    path.write_bytes(b"a,1,0,0,1,1,5,0.5\n\xff\xfe,1,0,0,1,1,5,0.5\n")
    with pytest.raises(InputError, match=r"row 2.*UTF-8"):
        read_ava_rows(path)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(InputError, match="this is a folder"):
        read_ava_rows(tmp_path)


plain = st.from_regex(r"\A[0-9]{0,9}\.?[0-9]{0,12}\Z")
odd = st.floats(allow_nan=False, allow_infinity=False).map(repr)


@settings(deadline=None, max_examples=150)
@given(texts=st.lists(st.one_of(plain, odd, st.just("."), st.text("0123456789.-e", max_size=40))))
def test_plain_decimals_are_read_to_the_bit_and_others_named(texts):
    block = decimal_fields.split_block(",".join(texts).encode())
    fields = np.arange(block.start.size)
    values, others = decimal_fields.numbers(block, fields)
    texts = texts or [""]
    for at, text in enumerate(texts):
        if at not in others:
            assert values[at] == float(text), text
    for at in others.tolist():
        digits = texts[at].replace(".", "", 1)
        assert not (
            digits.isascii() and digits.isdigit() and len(digits) <= 15 and len(texts[at]) < 32
        )


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    names=st.lists(
        st.sampled_from(["a", "b", "ab", "abcdefgh", "abcdefghi", "x" * 20, "", "a" * 70000])
    )
)
def test_distinct_texts_come_in_order_of_appearance(names):
    block = decimal_fields.split_block(",".join(names).encode())
    texts, place = decimal_fields.distinct_texts(block, np.arange(block.start.size))
    names = names or [""]
    assert [texts[at].decode() for at in place] == names
    assert [text.decode() for text in texts] == list(dict.fromkeys(names))


def test_texts_of_one_hash_are_told_apart(monkeypatch):
    monkeypatch.setattr(decimal_fields, "HASH", 0)
    block = decimal_fields.split_block(b"ab,cd,ab,ef")
    texts, place = decimal_fields.distinct_texts(block, np.arange(4))
    assert [texts[at] for at in place] == [b"ab", b"cd", b"ab", b"ef"]
