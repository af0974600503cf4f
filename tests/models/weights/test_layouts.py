"""Every public layout fills the backbone that it was made for, and the report says all of it."""

from functools import partial

import pytest
import torch

from stad_models import weights, zoo
from stad_models.weights import caffe2

R101_ALL = partial(zoo.slowfast_r101_8x8, temporal_res4=23)
PLAIN = partial(zoo.slowfast_r50_8x8, laterals="plain")
NO_HEAD = "a head, and this model has no linear action head"

FILLED = [
    ("i3d_rgb", zoo.i3d),
    ("caffe2_blobs_SLOWFAST_32x2_R101_50_50_AVA", zoo.slowfast_r101_nl_8x8),
    ("caffe2_blobs_SLOWFAST_8x8_R50_K400", zoo.slowfast_r50_8x8),
    ("caffe2_blobs_SLOWONLY_4x16_R50_K400", zoo.slowonly_r50_4x16),
    ("mmaction2_slowfast_r50_8x8_ava_backbone", PLAIN),
    ("mmaction2_slowonly_r50_ava_backbone", zoo.slowonly_r50_4x16),
    ("pyslowfast_MVIT_B_16x4", zoo.mvit_v1_b),
    ("pyslowfast_MVITv2_S_16x4", zoo.mvit_v2_s),
    ("pyslowfast_SLOWFAST_4x16_R50_K400", zoo.slowfast_r50_4x16),
    ("pyslowfast_SLOWFAST_8x8_R101_50_50_NL_AVA", zoo.slowfast_r101_nl_8x8),
    ("pyslowfast_SLOWFAST_8x8_R101_50_50_noNL_AVA", zoo.slowfast_r101_8x8),
    ("pyslowfast_SLOWFAST_8x8_R50_AVA", zoo.slowfast_r50_8x8),
    ("pyslowfast_SLOWFAST_8x8_R50_K400", zoo.slowfast_r50_8x8),
    ("pyslowfast_SLOWONLY_4x16_R50_AVA", zoo.slowonly_r50_4x16),
    ("pyslowfast_SLOWONLY_4x16_R50_K400", zoo.slowonly_r50_4x16),
    ("pyslowfast_SLOWONLY_8x8_R50_AVA", zoo.slowonly_r50_8x8),
    ("pytorchvideo_mvit_base_16x4", zoo.mvit_v1_b),
    ("pytorchvideo_slow_r50", zoo.slowonly_r50_8x8),
    ("pytorchvideo_slow_r50_detection", zoo.slowonly_r50_4x16),
    ("pytorchvideo_slowfast_r101", R101_ALL),
    ("pytorchvideo_slowfast_r50", zoo.slowfast_r50_8x8),
    ("pytorchvideo_slowfast_r50_detection", zoo.slowfast_r50_8x8),
]


def empty(builder) -> torch.nn.Module:
    """A backbone whose memory holds nothing yet: building it takes no time."""
    with torch.device("meta"):
        model = builder()
    return model.to_empty(device="cpu")


def constants(keys: dict[str, list]) -> dict[str, torch.Tensor]:
    """A checkpoint of these shapes in which every tensor holds a number of its own."""
    return {
        key: torch.tensor(number if kind == "int64" else number / 1024).expand(shape)
        for number, (key, (shape, kind)) in enumerate(keys.items())
    }


@pytest.mark.parametrize(("layout", "builder"), FILLED)
def test_a_layout_fills_its_backbone(listed, layout, builder):
    keys = listed(layout)
    model = empty(builder)
    report = weights.load(model, constants(keys))
    assert report.layout == layout.split("_", 1)[0]
    assert report.mismatched == ()
    assert report.missing == ()
    heads = {one.key for one in report.skipped if one.reason == NO_HEAD}
    assert all(tuple(keys[key][0])[:1] in {(80,), (400,)} for key in heads)
    assert len(heads) == (0 if layout.endswith("_backbone") else 2)
    others = {one.reason for one in report.skipped if one.reason != NO_HEAD}
    second_names = {"second name of a tensor, with other values"}
    assert others == (second_names if "pytorchvideo_mvit" in layout else set())
    # Every number of the file is in the model once, but for those that were joined or skipped.
    state = model.state_dict()
    assert len({one.name for one in report.loaded}) == len(report.loaded)
    numbers = {key: number for number, key in enumerate(keys)}
    for one in report.loaded:
        if not one.note and state[one.name].is_floating_point():
            least, most = state[one.name].aminmax()
            assert least == most == numbers[one.key] / 1024, one


@pytest.mark.parametrize("layout", [name for name, _ in FILLED if name.startswith("caffe2")])
def test_caffe2_names_mean_what_the_public_table_says(listed, layout):
    for blob, (_, key) in listed(layout).items():
        assert caffe2.public_key(blob) == key


def test_the_training_of_caffe2_is_left_out(listed):
    keys = listed("caffe2_blobs_SLOWONLY_4x16_R50_K400")
    blobs = constants({blob: (shape, "float32") for blob, (shape, _) in keys.items()})
    blobs |= {"conv1_w_momentum": blobs["conv1_w"], "model_iter": torch.tensor(7.0)}
    report = weights.load(empty(zoo.slowonly_r50_4x16), {"blobs": blobs | {"lr": 0.1}})
    reasons = {one.key: one.reason for one in report.skipped}
    assert reasons["conv1_w_momentum"] == reasons["model_iter"] == "state of the training"
    assert reasons["lr"] == "no tensor of numbers"


def test_the_tensors_of_torchvision_fill_its_own_transformers():
    from torchvision.models import video

    cases = [
        (video.mvit_v1_b, zoo.mvit_v1_b),
        (video.mvit_v2_s, zoo.mvit_v2_s),
        (video.swin3d_t, zoo.swin3d_t),
    ]
    for theirs, ours in cases:
        with torch.device("meta"):
            keys = {
                key: (list(value.shape), "float32" if value.is_floating_point() else "int64")
                for key, value in theirs().state_dict().items()
            }
        model = empty(ours)
        report = weights.load(model, constants(keys))
        assert report.layout == "torchvision"
        assert (report.mismatched, report.missing) == ((), ())
        assert {one.reason for one in report.skipped} == {NO_HEAD}
        assert {f"transformer.{one.key}" for one in report.loaded} == set(model.state_dict())


@pytest.mark.parametrize(
    ("layout", "word"),
    [
        ("i3d_rgb", "have no place in this backbone"),
        ("r3d_50_kenshohara", "have no place in this backbone"),
        ("pytorchvideo_i3d_r50", "have another shape"),
        ("pytorchvideo_csn_r101", "have no place in this backbone"),
    ],
)
def test_checkpoints_of_other_architectures_are_refused(listed, layout, word):
    model = empty(zoo.slowonly_r50_8x8)
    for value in model.state_dict().values():
        value.fill_(7)
    with pytest.raises(weights.WeightsError, match=word) as caught:
        weights.load(model, constants(listed(layout)))
    if "keys are like" in word:
        assert "nearest" in str(caught.value)
        assert "pyslowfast" in str(caught.value)
    assert all(bool((value == 7).all()) for value in model.state_dict().values())
