"""Label maps: the same classes from every dialect, and every bad line named."""

import pytest

from stad_data.datasets.class_lists import read_class_list
from stad_eval import InputError
from stad_eval.class_lists import AVA_EVALUATED, MULTISPORTS, UCF24

DIALECTS = {
    "item.pbtxt": 'item {\n  name: "a, b"\n  id: 3\n}\nitem {\n  name: "c"\n  id: 7\n}\n',
    "label.pbtxt": 'label {\n name: "a, b"\n label_id: 3\n label_type: PERSON_MOVEMENT\n}\n'
    'label {\n name: "c"\n label_id: 7\n label_type: OBJECT_MANIPULATION\n}\n',
    "table.csv": 'label_id,label_name,label_type\n3,"a, b",PERSON_MOVEMENT\n7,c,X\n',
    "colon.txt": "3: a, b\n7: c\n",
    "blank.txt": "7 c\n\n3 a, b",
}


@pytest.mark.parametrize("name", DIALECTS)
def test_all_dialects_give_the_same_classes(tmp_path, name):
    (tmp_path / name).write_text(DIALECTS[name])
    found = read_class_list(tmp_path / name)
    assert tuple(found) == ("a, b", "c")
    assert found.ids == (3, 7)


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("1: a\nb: 2\n", 2),
        ("1: a\n2:\n", 2),
        ("1\n", 1),
        ("label_id,label_name,label_type\n1,a,X\n2,b\n", 3),
        ("label_id,label_name,label_type\nx,a,X\n", 2),
        ('label_id,label_name,label_type\n1,"a,X\n', 2),
        ("name,label_name\n,a\n", 2),
        ("item {\n id: 3\n}\n", 1),
        ("", None),
        ("1: a\n1: b\n", None),
        ("1: a\n2: a\n", None),
    ],
)
def test_bad_label_maps_are_named(tmp_path, text, row):
    path = tmp_path / "map.txt"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_class_list(path)
    assert error.value.path == path
    assert error.value.row == row


def test_damaged_label_maps_never_escape(tmp_path, survives):
    for name, text in DIALECTS.items():
        path = tmp_path / name
        path.write_text(text)
        assert survives(path, lambda path=path: read_class_list(path), 100) > 10


def test_the_real_label_maps(real_data):
    folder = real_data / "ava"
    v20 = read_class_list(folder / "ava_action_list_v2.0.csv")
    assert (len(v20), v20.ids) == (80, tuple(range(1, 81)))
    assert (v20[0], v20[-1]) == ("bend/bow (at the waist)", "watch (a person)")
    assert v20[78] == "talk to (e.g., self, a person, a group)"
    v21 = read_class_list(folder / "ava_action_list_v2.1_for_activitynet_2018.pbtxt")
    short = read_class_list(folder / "label_map_60.txt")
    assert tuple(v21) == tuple(short)
    assert v21.ids == short.ids
    assert set(v21) == set(AVA_EVALUATED)
    assert len(v21.ids) == 60
    assert 13 in v21.ids
    assert 2 not in v21.ids
    samples = read_class_list(folder / "samples/eval_detection/action_list.txt")
    assert (tuple(samples), samples.ids) == (("action1", "action2", "action3"), (1, 2, 3))
    with pytest.raises(InputError, match="name stands twice"):
        read_class_list(folder / "samples/ava_dataset/action_list.txt")
    sports = read_class_list(real_data / "multisports/label_map.txt")
    assert sports.ids == tuple(range(66))
    assert sports[0] == MULTISPORTS[0].replace(" ", "_")
    ucf = read_class_list(real_data / "ucf24/lists/class_mapping.txt")
    assert tuple(ucf) == tuple(UCF24)
    assert ucf.ids == tuple(range(24))
    assert len(read_class_list(real_data / "ucf24/lists/classInd.txt")) == 101
