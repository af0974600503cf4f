import pytest

from stad_eval import FrameProtocol, InputError, LabelMap
from stad_eval.class_lists import AVA_EVALUATED, AVA_NOT_EVALUATED, JHMDB21, UCF24
from stad_eval.protocols import FRAME_PROTOCOLS, frame_protocol


def test_every_protocol_is_found_by_its_name():
    names = [each.name for each in FRAME_PROTOCOLS]
    assert len(set(names)) == len(names)
    assert [frame_protocol(name) for name in names] == list(FRAME_PROTOCOLS)
    assert {"ava-v2.1", "ava-v2.2", "keyframes", "ucf24", "dense", "jhmdb21-split3"} <= set(names)


def test_unknown_protocol_names_the_nearest():
    with pytest.raises(InputError, match=r"found ava-v22. Did you mean 'ava-v2.2'\?"):
        frame_protocol("ava-v22")


def test_strict_protocols_do_not_depend_on_the_order_of_rows():
    assert all(each.ties == "grouped" for each in FRAME_PROTOCOLS)
    assert all(each.match_order == "score" for each in FRAME_PROTOCOLS)


def test_class_lists_have_their_published_sizes():
    assert len(AVA_EVALUATED) == 60
    assert len(AVA_EVALUATED + AVA_NOT_EVALUATED) == len({*AVA_EVALUATED, *AVA_NOT_EVALUATED}) == 80
    assert len(JHMDB21) == 21
    assert len(UCF24) == 24
    assert list(JHMDB21) == sorted(JHMDB21)


def test_ava_classes_are_those_of_the_public_label_map(golden):
    from stad_eval import read_label_map

    label_map = read_label_map(golden / "eval" / "ava_labelmap.pbtxt")
    assert isinstance(label_map, LabelMap)
    assert tuple(label_map) == AVA_EVALUATED


def test_jhmdb_classes_are_the_folders_of_the_dataset(real_data):
    folders = (real_data / "jhmdb" / "videos").iterdir()
    assert tuple(sorted(each.name for each in folders if each.is_dir())) == JHMDB21


def test_a_limit_below_one_is_refused():
    with pytest.raises(InputError, match="1 or more"):
        FrameProtocol(name="none", max_per_frame=0)
