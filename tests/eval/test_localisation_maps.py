import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_eval import (
    InputError,
    LocalisationMaps,
    MapOverlapProtocol,
    Tube,
    box_regions,
    frame_map,
    map_box,
    map_boxes,
    map_detections,
    map_overlap,
    map_tubes,
    tube_iou,
)

CLASSES = ("walk", "run")


def prediction(maps, scores=(0.9, 0.1), video="v", **options):
    return LocalisationMaps(video=video, maps=np.asarray(maps), scores=np.array(scores), **options)


def test_the_box_is_that_of_the_largest_component():
    values = np.zeros((6, 8))
    values[0, 0:2] = 0.9
    values[2:5, 3:7] = 0.5  # at the threshold is inside
    values[5, 7] = 0.49
    assert map_box(values).tolist() == [3, 2, 7, 5]
    assert map_box(values, threshold=0.6).tolist() == [0, 0, 2, 1]
    assert map_box(values, threshold=0.95) is None


def test_components_touch_along_edges_or_at_corners():
    values = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0]])
    assert map_box(values).tolist() == [1, 1, 2, 3]
    assert map_box(values, connectivity=8).tolist() == [0, 0, 2, 3]


def test_of_equal_components_the_first_box_wins():
    values = np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0]])
    assert map_box(values).tolist() == [0, 2, 1, 3]


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32), height=st.integers(1, 6), width=st.integers(1, 6))
def test_mirrored_maps_have_mirrored_component_sizes(seed, height, width):
    inside = np.random.default_rng(seed).random((height, width)) < 0.5
    box, turned = map_box(inside), map_box(inside.T)
    assert (box is None) == (turned is None) == (not inside.any())
    if box is not None:
        left, top, right, bottom = box.astype(int)
        region = inside[top:bottom, left:right]
        assert region.any(axis=0).all() or region.any(axis=1).any()
        # Every side of the box holds a pixel.
        assert region[0].any()
        assert region[-1].any()
        assert region[:, 0].any()
        assert region[:, -1].any()


def test_boxes_are_in_pixels_of_the_frame_and_frames_without_one_are_left_out():
    maps = np.zeros((3, 4, 8))
    maps[0, 1:3, 2:6] = maps[2, 0, 0] = 1.0
    found = prediction(maps, frames=np.array([10, 12, 14]), size=(80, 20))
    frames, boxes = map_boxes(found)
    assert frames.tolist() == [10, 14]
    assert boxes.tolist() == [[20, 5, 60, 15], [0, 0, 10, 5]]
    frames, boxes = map_boxes(prediction(np.zeros((2, 3, 3))))
    assert frames.shape == (0,)
    assert boxes.shape == (0, 4)


def test_maps_score_by_ordinary_protocols(table):
    truth = table([("v", 0, "walk", (2, 1, 6, 3)), ("v", 1, "walk", (2, 1, 6, 3))])
    maps = np.zeros((2, 4, 8))
    maps[0, 1:3, 2:6] = maps[1, 0, 0] = 1.0
    found = map_detections([prediction(maps)], CLASSES)
    assert len(found) == 4
    result = frame_map(truth, found, "dense")
    # One of two frames is right; equal scores are one point: precision 1/2 at recall 1/2.
    assert result.per_class == {"walk": 0.25, "run": None}


def test_tubes_of_maps():
    maps = np.zeros((4, 4, 8), bool)
    maps[1:, 1:3, 2:6] = True
    tubes = map_tubes([prediction(maps), prediction(maps * 0, video="w")], CLASSES)
    assert [(each.video, each.label, each.score) for each in tubes] == [
        ("v", 0, 0.9),
        ("v", 1, 0.1),
    ]
    frames = np.arange(4)
    truth = Tube(video="v", label=0, score=1.0, frames=frames, boxes=np.tile((2, 1, 6, 3), (4, 1)))
    assert tube_iou(truth, tubes[0]) == 0.75


def test_no_predictions_give_empty_tables():
    assert len(map_detections([], CLASSES)) == 0
    assert map_tubes(iter([]), CLASSES) == []


def test_bad_predictions_are_refused():
    good = np.zeros((2, 3, 3))
    cases = [
        ({"maps": good[0]}, r"bad maps.*\[T, H, W\]"),
        ({"maps": np.full((1, 2, 2), math.nan)}, "finite"),
        ({"maps": np.zeros((1, 0, 2))}, "bad maps"),
        ({"maps": good.astype(str)}, "bad maps"),
        ({"maps": good, "scores": (math.inf, 0.0)}, "bad scores"),
        ({"maps": good, "frames": np.array([0])}, "bad frames"),
        ({"maps": good, "frames": np.array([3, 3])}, "bad frames"),
        ({"maps": good, "frames": np.array([-1, 3])}, "bad frames"),
        ({"maps": good, "frames": np.array([0.0, 1.0])}, "bad frames"),
        ({"maps": good, "size": (0, 5)}, "bad size"),
    ]
    for options, text in cases:
        with pytest.raises(InputError, match=text):
            prediction(**options)
    with pytest.raises(InputError, match="connectivity"):
        map_box(good[0], connectivity=6)
    for of in (map_detections, map_tubes):
        with pytest.raises(InputError, match="1 scores, found"):
            of([prediction(good)], ("walk",))
        with pytest.raises(InputError, match="stands twice"):
            of([prediction(good), prediction(good)], CLASSES)


@pytest.fixture
def published(golden):
    folder = golden / "eval" / "locmap_tiny"
    with np.load(folder / "locmap.npz", allow_pickle=False) as content:
        data = {name: content[name] for name in content.files}
    return data, json.loads((folder / "expected_pi.json").read_text())


def test_the_semi_supervised_papers_numbers(published):
    data, expected = published
    ends = np.cumsum(data["n"])

    def videos():
        for at, (end, count) in enumerate(zip(ends, data["n"], strict=True)):
            true, found = (
                np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:]], axis=1)
                for rows in (data["gt"][end - count : end], data["pred"][end - count : end])
            )
            maps = box_regions(found, width=224, height=224)
            regions = box_regions(true, width=224, height=224)
            scores = data["logits"][at]
            yield prediction(maps, scores, video=f"v{at}"), regions, int(data["label"][at])

    result = map_overlap(videos(), [f"class {at}" for at in range(24)])
    assert result.thresholds == pytest.approx(expected["thresholds"], abs=1e-9)
    frame, video = result.means(present=True)
    assert frame == pytest.approx(expected["fmAP_present_classes"], abs=1e-9)
    assert video == pytest.approx(expected["vmAP_present_classes"], abs=1e-9)
    for means, key in zip(result.means(present=False), ("script_fmAP", "script_vmAP"), strict=True):
        assert means == pytest.approx(expected[key], abs=1e-9, nan_ok=True)
    half = result.thresholds.index(0.5)
    for values, key in (
        (result.frame_recall, "fAP_per_class@0.5"),
        (result.video_recall, "vAP_per_class@0.5"),
    ):
        assert values[:, half] == pytest.approx(expected[key], abs=1e-9, nan_ok=True)
    assert result.accuracy == pytest.approx(expected["accuracy"], abs=1e-9)
    assert result.counts["frames"] == expected["n_frames"]
    assert int((~np.isnan(result.video_recall[:, 0])).sum()) == expected["n_classes_with_videos"]


def test_overlap_by_hand():
    maps = np.zeros((3, 1, 4))
    maps[0, 0, :2] = maps[1, 0, 0] = maps[2] = 0.5
    truth = np.array([[[1, 1, 1, 1]], [[1, 0, 0, 0]], [[0, 0, 0, 0]]])
    protocol = MapOverlapProtocol(name="mine", thresholds=(0.5, 0.6, 1.0), numbers="double")
    result = map_overlap([(prediction(maps), truth, 0)], CLASSES, protocol)
    # Frames: 2/4 and 1/1, the third has no truth; pooled: 3 shared of 5 covered.
    assert result.frame_recall[0].tolist() == [1.0, 0.5, 0.5]
    assert result.video_recall[0].tolist() == [1.0, 1.0, 0.0]
    assert np.isnan(result.frame_recall[1]).all()
    assert result.accuracy == 1.0
    content = json.loads(result.to_json())
    assert content["present_classes"]["video_recall"] == [1.0, 1.0, 0.0]
    assert content["all_classes"]["video_recall"] == [None] * 3
    assert content["per_class"]["run"]["frame_recall"] == [None] * 3
    assert content["counts"] == {"frames": 2, "videos": 1, "videos_without_truth": 0}


def test_overlap_of_nothing():
    empty = (prediction(np.zeros((1, 2, 2))), np.zeros((1, 2, 2)), 0)
    result = map_overlap([empty], CLASSES)
    assert result.counts == {"frames": 0, "videos": 0, "videos_without_truth": 1}
    assert math.isnan(result.accuracy)
    assert np.isnan(result.means(present=True)).all()
    assert json.loads(result.to_json())["accuracy"] is None


def test_bad_overlap_input_is_refused():
    good = prediction(np.zeros((1, 2, 2)))
    with pytest.raises(InputError, match=r"does not fit.*\[1, 2, 2\], found \[1, 2, 3\]"):
        map_overlap([(good, np.zeros((1, 2, 3)), 0)], CLASSES)
    with pytest.raises(InputError, match=r"bad class.*0 to 1, found 2"):
        map_overlap([(good, np.zeros((1, 2, 2)), 2)], CLASSES)
    with pytest.raises(InputError, match="1 scores"):
        map_overlap([(good, np.zeros((1, 2, 2)), 0)], ("walk",))
    with pytest.raises(InputError, match="Did you mean 'localisation-maps\\+pi'"):
        map_overlap([], CLASSES, "localisation-maps+p")


def test_regions_of_boxes():
    regions = box_regions([[1, 0, 3, 2], [-5, -5, 1.9, 1], [2, 2, 1, 3]], width=3, height=2)
    assert regions.astype(int).tolist() == [
        [[0, 1, 1], [0, 1, 1]],
        [[1, 0, 0], [0, 0, 0]],
        [[0, 0, 0], [0, 0, 0]],
    ]
    with pytest.raises(InputError, match=r"\[T, 4\]"):
        box_regions([1, 2, 3, 4], width=3, height=3)
    with pytest.raises(InputError, match="finite"):
        box_regions([[1, 2, math.nan, 4]], width=3, height=3)
