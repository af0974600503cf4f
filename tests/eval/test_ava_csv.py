import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stad_eval import (
    Boxes,
    InputError,
    LabelMap,
    annotated_frames,
    read_ava_csv,
    read_ava_frames,
    write_ava_csv,
)
from stad_eval.formats import ava_csv, ava_rows

CLASSES = LabelMap(["stand", "sit", "walk"], [12, 11, 14])
TRUTH = "a,0902,0.1,0.2,0.3,0.4,12\nb,0903,0,0,1,1,14\n"
FOUND = "a,0902,0.1,0.2,0.3,0.4,12,0.5\nb,0903,0,0,1,1,14,1\n"


@pytest.fixture
def file(tmp_path):
    def write(text, name="rows.csv"):
        path = tmp_path / name
        path.write_bytes(text.encode("utf-8"))
        return path

    return write


def test_ground_truth_of_seven_columns(file):
    table = read_ava_csv(file(TRUTH), classes=CLASSES)
    assert table.videos == ("a", "b")
    assert table.frame.tolist() == [902, 903]
    assert table.box.tolist() == [[0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1]]
    assert [table.classes[each] for each in table.label] == ["stand", "walk"]
    assert table.score.tolist() == [1, 1]
    assert annotated_frames(table).tolist() == [[0, 902], [1, 903]]


def test_eighth_column_is_a_person_or_a_score(file):
    people = "a,0902,0.1,0.2,0.3,0.4,12,7\na,0902,0.1,0.2,0.3,0.4,11,0\n"
    truth = read_ava_csv(file(people), classes=CLASSES)
    assert truth.annotated is not None
    assert truth.score.tolist() == [1, 1]
    found = read_ava_csv(file(FOUND), classes=CLASSES)
    assert found.annotated is None
    assert found.score.tolist() == [0.5, 1.0]
    # What the numbers cannot tell, the caller can.
    scored = read_ava_csv(file(people), classes=CLASSES, column_8="score")
    assert scored.score.tolist() == [7, 0]
    with pytest.raises(InputError, match=r"row 1.*found 7"):
        read_ava_csv(file(TRUTH), classes=CLASSES, column_8="score")
    with pytest.raises(InputError, match="'person' or 'score'"):
        read_ava_csv(file(TRUTH), classes=CLASSES, column_8="id")


def test_rows_of_two_columns_are_annotated_keyframes(file):
    for end in ("", "\n", "\n\n"):
        table = read_ava_csv(file(f"c,0910\n{TRUTH}a,0905{end}"), classes=CLASSES)
        frames = {(table.videos[v], t) for v, t in annotated_frames(table).tolist()}
        assert frames == {("a", 902), ("a", 905), ("b", 903), ("c", 910)}
        assert len(table) == 2


def test_line_ends_quotes_and_byte_order_mark(file):
    expected = read_ava_csv(file(FOUND), classes=CLASSES)
    quoted = FOUND.replace("a,", '"a",')
    for text in (FOUND.replace("\n", "\r\n"), FOUND.rstrip(), "\ufeff" + FOUND, quoted):
        table = read_ava_csv(file(text), classes=CLASSES)
        assert table.videos == expected.videos
        assert (table.box == expected.box).all()
        assert (table.score == expected.score).all()


def test_empty_file_is_an_empty_truth(file):
    table = read_ava_csv(file(""), classes=CLASSES)
    assert len(table) == 0
    assert table.annotated is not None


def test_classes_by_path_names_or_map(file, golden):
    by_path = read_ava_csv(file(TRUTH), classes=golden / "eval" / "ava_labelmap.pbtxt")
    assert [by_path.classes[each] for each in by_path.label] == ["stand", "walk"]
    by_names = read_ava_csv(file("a,1,0,0,1,1,2\n"), classes=("stand", "sit"))
    assert by_names.label.tolist() == [1]


def test_unlisted_actions_are_refused_or_skipped(file):
    path = file(TRUTH + "c,0904,0,0,1,1,79\n")
    with pytest.raises(InputError, match=r"row 3: action without a name.*found 79.*'skipped'"):
        read_ava_csv(path, classes=CLASSES)
    table = read_ava_csv(path, classes=CLASSES, unlisted="skipped")
    assert len(table) == 2
    # Its keyframe was annotated all the same.
    assert len(annotated_frames(table)) == 3
    with pytest.raises(InputError, match="'refused' or 'skipped'"):
        read_ava_csv(path, classes=CLASSES, unlisted="maybe")


GOOD = "a,0902,0.1,0.2,0.3,0.4,12"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a,0902,0.1,0.2,0.3", "wrong number of columns.*found 5"),
        ("a", "wrong number of columns.*found 1"),
        (f"{GOOD},0.5,9", "wrong number of columns.*found 9"),
        (",0902,0.1,0.2,0.3,0.4,12", "without a video"),
        ("a,902.5,0.1,0.2,0.3,0.4,12", "bad timestamp.*whole number.*found 902.5"),
        ("a,-1,0.1,0.2,0.3,0.4,12", "bad timestamp"),
        ("a,x", "bad timestamp"),
        ("a,9999999999999", "bad timestamp"),
        ("a,0902,0.1,0.2,0.3,0.4,12.0", "bad action_id.*found 12.0"),
        ("a,0902,0.1,0.2,0.3,0.4,stand", "bad action_id"),
        ("a,0902,nan,0.2,0.3,0.4,12", "bad x1.*finite number.*found nan"),
        ("a,0902,0.1,inf,0.3,0.4,12", "bad y1"),
        ("a,0902,0.1,0.2,,0.4,12", "bad x2"),
        ("a,0902,0.1,0.2,0.3,0_4,12", "bad y2"),
        (f"{GOOD},high", "bad eighth column"),
        (f"{GOOD},nan", "bad eighth column"),
        (f"{GOOD},", "bad eighth column"),
        ("a,0902,0.3,0.2,0.1,0.4,12", "without area"),
        ("a,0902,0.1,0.2,0.1,0.4,12", "without area"),
        ("a,0902,0.1,0.2,0.3,1.4,12", r"outside the frame \(1 row"),
        ("a,0902,-0.1,0.2,0.3,0.4,12", "outside the frame.*Divide pixels"),
        ('"a,0902', "not a CSV file"),
    ],
)
@pytest.mark.parametrize("before", [1, 3])
def test_malformed_ground_truth_is_refused_with_its_row(file, line, message, before):
    text = f"{GOOD}\n" * before + f"{line}\n{GOOD}\n"
    if line.startswith('"'):
        text = text.removesuffix(f"{GOOD}\n")
    path = file(text)
    with pytest.raises(InputError, match=message) as caught:
        read_ava_csv(path, classes=CLASSES)
    assert caught.value.row == before + 1
    assert caught.value.path == path


def test_row_numbers_hold_across_blocks(file, monkeypatch):
    monkeypatch.setattr(ava_rows, "BLOCK", 64)
    text = f"{GOOD},0.5\n" * 20 + "a,0902,0.1,0.2,0.3,0.4,13,0.5\n" + f"{GOOD},0.5\n" * 20
    with pytest.raises(InputError, match="row 21: action without"):
        read_ava_csv(file(text), classes=CLASSES)
    with pytest.raises(InputError, match="row 42: bad x1"):
        read_ava_csv(file(text + "a,0902,?,0.2,0.3,0.4,12,0.5\n"), classes=CLASSES)


def test_a_short_and_a_long_line_do_not_make_two_good_ones(file):
    text = f"{GOOD},0.5\n1,0902,0.1,0.2,0.3,0.4,12\n1,2,0902,0.1,0.2,0.3,0.4,12,0.5\n"
    with pytest.raises(InputError, match="row 3: wrong number of columns"):
        read_ava_csv(file(text), classes=CLASSES)


def test_detections_may_reach_over_the_border_but_not_be_pixels(file):
    over = "a,0902,-0.05,0.2,1.02,0.4,12,0.5\n"
    assert read_ava_csv(file(over), classes=CLASSES).box[0, 0] == -0.05
    with pytest.raises(InputError, match="normalised"):
        read_ava_csv(file("a,0902,10,20,300,200,12,0.5\n"), classes=CLASSES)


def test_exclusion_lists(file):
    assert read_ava_frames(file("a,0902\nb,1500")) == {("a", 902), ("b", 1500)}
    assert read_ava_frames(file("")) == frozenset()
    with pytest.raises(InputError, match="row 2: too many columns"):
        read_ava_frames(file(f"a,0902\n{GOOD}\n"))
    with pytest.raises(InputError, match="no such file"):
        read_ava_frames("nowhere.csv")


def test_writing_and_reading_again(file, tmp_path):
    for text in (TRUTH + "c,0910\n", FOUND):
        table = read_ava_csv(file(text), classes=CLASSES)
        path = tmp_path / "again.csv"
        write_ava_csv(path, table)
        again = read_ava_csv(path, classes=CLASSES)
        assert again.videos == table.videos
        for name in ("video", "frame", "box", "label", "score"):
            assert (getattr(again, name) == getattr(table, name)).all()
        assert (again.annotated is None) == (table.annotated is None)
        if table.annotated is not None:
            assert annotated_frames(again).tolist() == annotated_frames(table).tolist()


def test_writing_refuses_a_class_without_an_id(file, tmp_path):
    table = read_ava_csv(file(TRUTH), classes=CLASSES)
    with pytest.raises(InputError, match=r"without an id.*sit"):
        write_ava_csv(tmp_path / "out.csv", table, classes=LabelMap(["stand", "walk"], [1, 2]))
    assert not (tmp_path / "out.csv").exists()


@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(scores=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5))
def test_scores_keep_every_bit(tmp_path, scores):
    size = len(scores)
    table = Boxes(
        videos=("v",),
        classes=("stand",),
        video=np.zeros(size, dtype=np.int64),
        frame=np.arange(size),
        box=np.tile([0.1, 0.2, 1 / 3, 0.7], (size, 1)),
        label=np.zeros(size, dtype=np.int64),
        score=np.array(scores),
    )
    write_ava_csv(tmp_path / "scores.csv", table)
    again = read_ava_csv(tmp_path / "scores.csv", classes=("stand",), column_8="score")
    assert again.score.tolist() == scores
    assert (again.box == table.box).all()


def test_real_ground_truth(real_data):
    path = real_data / "ava" / "ava_val_v2.1_pose.csv"
    names = real_data / "ava" / "ava_action_list_v2.1_for_activitynet_2018.pbtxt"
    table = read_ava_csv(path, classes=names, unlisted="skipped")
    assert len(table.videos) == 64
    rows = ava_csv.read_ava_rows(path)
    assert rows.row.size == 93_400
    assert len(table) == 93_400 - int((rows.action == 2).sum())  # "crawl" is not evaluated
    excerpt = real_data / "ava" / "v2.2_excerpt" / "head_verbatim.csv"
    assert read_ava_csv(excerpt, classes=names, unlisted="skipped").annotated is not None
