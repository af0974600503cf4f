import pytest

from stad_eval import FrameProtocol, InputError, LabelMap
from stad_eval.class_lists import (
    AVA_EVALUATED,
    AVA_NOT_EVALUATED,
    JHMDB21,
    MULTISPORTS,
    MULTISPORTS_EVALUATED,
    UCF24,
    UCF_SPORTS,
)
from stad_eval.protocols import FRAME_PROTOCOLS, frame_protocol, frame_protocol_names


def test_every_protocol_is_found_by_its_name():
    names = [each.name for each in FRAME_PROTOCOLS]
    assert len(set(names)) == len(names)
    assert [frame_protocol(name) for name in names] == list(FRAME_PROTOCOLS)
    assert {"ava-v2.1", "ava-v2.2", "keyframes", "ucf24", "dense", "jhmdb21-split3"} <= set(names)


def test_unknown_protocol_names_the_nearest():
    with pytest.raises(InputError, match=r"found ava-v22. Did you mean 'ava-v2.2'\?"):
        frame_protocol("ava-v22")
    with pytest.raises(InputError, match=r"Did you mean 'ucf24\+moc'\?"):
        frame_protocol("ucf24+mox")
    for name in ("ava-v2.2+", "+moc", "ava-v2.2+moc", "ucf24+activitynet", "ucf24+moc+act"):
        with pytest.raises(InputError, match="unknown protocol"):
            frame_protocol(name)


def test_every_base_has_its_variants():
    names = frame_protocol_names()
    assert len(set(names)) == len(names)
    assert all(frame_protocol(name).name == name for name in names)
    assert {"ava-v2.1+activitynet", "ava-v2.2+pyslowfast", "ava-v2.2+mmaction2"} <= set(names)
    kinds = ("moc", "act", "multisports2021", "multisports", "3d-retinanet", "realtime")
    bases = ("jhmdb21-split2", "ucf24", "ucfsports", "multisports", "dense")
    assert {f"{base}+{kind}" for base in bases for kind in kinds} <= set(names)
    strict = {name for name in names if frame_protocol(name).strict}
    assert strict == {each.name for each in FRAME_PROTOCOLS}


def test_strict_protocols_do_not_depend_on_the_order_of_rows():
    assert all(each.ties == "grouped" for each in FRAME_PROTOCOLS)
    assert all(each.match_order == "score" for each in FRAME_PROTOCOLS)


def test_class_lists_have_their_published_sizes():
    assert len(AVA_EVALUATED) == 60
    assert len(AVA_EVALUATED + AVA_NOT_EVALUATED) == len({*AVA_EVALUATED, *AVA_NOT_EVALUATED}) == 80
    assert len(JHMDB21) == 21
    assert len(UCF24) == 24
    assert len(UCF_SPORTS) == 10
    assert len(MULTISPORTS) == 66
    assert len(MULTISPORTS_EVALUATED) == 60
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


def test_a_curve_of_grouped_scores_has_no_order_of_rows():
    with pytest.raises(InputError, match="no order of rows"):
        FrameProtocol(name="none", match_order="curve")
