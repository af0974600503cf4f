from dataclasses import replace

import pytest

from stad_eval import InputError, TubeProtocol, tube_protocol
from stad_eval.class_lists import JHMDB21, UCF24
from stad_eval.protocols import frame_protocol
from stad_eval.tube_protocols import BASES, VARIANTS, tube_protocol_names


def test_every_name_has_a_protocol_that_carries_it():
    names = tube_protocol_names()
    assert len(names) == len(set(names)) == len(BASES) * (1 + len(VARIANTS))
    assert [tube_protocol(name).name for name in names] == names


def test_strict_protocols_have_the_classes_of_frames():
    assert tube_protocol("ucf24").classes == UCF24
    assert tube_protocol("jhmdb21-split2").classes == JHMDB21
    for base in BASES:
        strict = tube_protocol(base)
        assert strict.strict
        assert strict.classes == frame_protocol(base).classes
        default = TubeProtocol(name=base)
        classes = {"classes": strict.classes, "ignored_classes": strict.ignored_classes}
        assert strict == replace(default, **classes)


def test_variants_look_at_rows():
    assert not any(each.strict for each in VARIANTS.values())


def test_unknown_names_are_told_the_nearest():
    with pytest.raises(InputError, match=r"found ucf-24\. Did you mean 'ucf24'\?"):
        tube_protocol("ucf-24")
    with pytest.raises(InputError, match=r"Did you mean 'ucf24\+moc'\?"):
        tube_protocol("ucf24+mocc")
    with pytest.raises(InputError, match=r"no tubes.*single frames"):
        tube_protocol("ucf24+realtime")
    with pytest.raises(InputError, match="unknown protocol"):
        tube_protocol("ucf24+")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nms": 1.5}, "bad nms"),
        ({"scale": (1.0, 0.0)}, "bad scale"),
        ({"ties": "rows"}, "order 'content', ties 'rows'"),
        ({"order": "row"}, "order 'row', ties 'grouped'"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        TubeProtocol(name="none", **options)
