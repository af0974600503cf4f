import pickle

import pytest

from stad_eval import InputError, LabelMap, read_label_map


def write(folder, text):
    path = folder / "map.pbtxt"
    path.write_text(text, encoding="utf-8")
    return path


def test_both_dialects_read_the_same(tmp_path):
    item = 'item {\n  name: "run/jog"\n  id: 10\n}\nitem {\n  name: "sit"\n  id: 3\n}\n'
    label = (
        "label {\n  name: 'run/jog'\n  label_id: 10\n  label_type: PERSON_MOVEMENT\n}\n"
        '# a comment\n\nlabel{label_id:3 name:"sit"}'
    )
    for text in (item, label, item.replace("\n", "\r\n"), "\ufeff" + item):
        result = read_label_map(write(tmp_path, text))
        assert tuple(result) == ("sit", "run/jog")
        assert result.ids == (3, 10)


def test_names_may_hold_quotes_and_braces(tmp_path):
    text = "item { name: 'play {chess}, the \\'game\\'' id: 1 } item { name: \"don't\" id: 2 }"
    assert tuple(read_label_map(write(tmp_path, text))) == ("play {chess}, the 'game'", "don't")


def test_the_public_map_of_ava(golden):
    result = read_label_map(golden / "eval" / "ava_labelmap.pbtxt")
    assert len(result) == 60
    assert result.ids[:3] == (1, 3, 4)
    assert dict(zip(result.ids, result, strict=True))[80] == "watch (a person)"


def test_the_original_files(real_data):
    folder = real_data / "ava"
    assert len(read_label_map(folder / "ava_action_list_v2.1_for_activitynet_2018.pbtxt")) == 60
    assert len(read_label_map(folder / "samples" / "eval_detection" / "action_list.txt")) == 3
    with pytest.raises(InputError, match="name stands twice: found action3"):
        read_label_map(folder / "samples" / "ava_dataset" / "action_list.txt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty label map"),
        ("{}", "row 1: not a label map"),
        ('item { name: "a" id: 1 }\nthing { name: "b" id: 2 }', "row 2: not a label map.*thing"),
        ('item { name: "a" id: 1 }\n\nitem { name: "b" }', "row 3: bad 'item'.*id: a whole number"),
        ("item { id: 4 }", 'name: "..."'),
        ("item { name: walk id: 4 }", 'name: "..."'),
        ('item { name: "a" id: 1.5 }', "whole number"),
        ('item { name: "a" id: -1 }', "whole number"),
        ('item { name: "a" id: 1 ??? }', "key: value"),
        ('item { name: "a" label_id: 1 }', "bad 'item'"),
        ('item { name: "a" id: 1 } item { name: "a" id: 2 }', "name stands twice: found a"),
        ('item { name: "a" id: 1 } item { name: "b" id: 1 }', "id stands twice: found 1"),
        ('item { name: "" id: 1 }', "without a name"),
        ('item { name: "a" id: 1', "not a label map"),
    ],
)
def test_malformed_maps_are_refused_with_their_place(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(InputError, match=message) as caught:
        read_label_map(path)
    assert caught.value.path == path


def test_missing_and_binary_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_label_map(tmp_path / "none.pbtxt")
    with pytest.raises(InputError, match="folder"):
        read_label_map(tmp_path)
    path = tmp_path / "map.pbtxt"
    path.write_bytes(b"item {\n\xff\xfe }")
    with pytest.raises(InputError, match="row 2: not a text file"):
        read_label_map(path)


def test_a_label_map_is_its_names_and_keeps_its_ids():
    label_map = LabelMap(["b", "a"], [7, 2])
    assert label_map == ("a", "b")
    again = pickle.loads(pickle.dumps(label_map))
    assert (tuple(again), again.ids) == (("a", "b"), (2, 7))
    with pytest.raises(InputError, match="2 names, 1 ids"):
        LabelMap(["a", "b"], [1])
