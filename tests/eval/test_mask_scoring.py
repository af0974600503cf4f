import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_eval import (
    InputError,
    MaskFolder,
    MaskProtocol,
    __version__,
    combine_masks,
    mask_protocol,
    read_youtube_vos_classes,
    score_mask_video,
    score_masks,
    write_mask_png,
)
from stad_eval.mask_result import statistics
from stad_eval.mask_sources import mask_coverage, mask_source

STRICT, OFFICIAL = mask_protocol("davis2017"), mask_protocol("davis2017+official")
EVERY = mask_protocol("davis2017-unsupervised")
# Index masks as rows of digits; a frame is one such text.
SEEN = {"v": {1: "person", 2: "backpack"}}


def frames(*rows):
    return np.array([[[int(c) for c in line] for line in row.split()] for row in rows], np.uint8)


def j_of(truth, found, index):
    a, b = truth == index, found == index
    return (a & b).sum() / (a | b).sum() if (a | b).any() else 1.0


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        ("davis2017", "semi-supervised"),
        ("davis2017+official", "semi-supervised"),
        ("davis2017-unsupervised", "unsupervised"),
        ("davis2017-unsupervised+official", "unsupervised"),
    ],
)
@pytest.mark.parametrize("workers", [1, 3])
def test_davis_agrees_with_its_evaluator(golden, protocol, expected, workers):
    folder = golden / "eval" / "davis_tiny"
    result = score_masks(folder / "Annotations", folder / "res", protocol, workers=workers)
    published = json.loads((folder / f"expected_{expected}.json").read_text())
    got = {"J&F-Mean": result.mean}
    for letter, measure in (("J", result.region), ("F", result.boundary)):
        for name in ("mean", "recall", "decay"):
            got[f"{letter}-{name.capitalize()}"] = getattr(measure, name)
    assert got == pytest.approx(published["metrics"], abs=1e-9)
    assert set(result.per_object) == set(published["per_object"])
    for name, values in published["per_object"].items():
        scores = result.per_object[name]
        assert [scores.region.mean, scores.boundary.mean] == pytest.approx(values, abs=1e-9)
    decays = [each.region.decay for each in result.objects]
    assert decays == pytest.approx(published["J_D"], abs=1e-9)
    assert [e.boundary.decay for e in result.objects] == pytest.approx(published["F_D"], abs=1e-9)


def test_first_and_last_frame_do_not_count():
    truth = frames("110 000", "110 000", "110 000", "110 000")
    found = frames("000 000", "110 000", "100 000", "000 111")
    result = score_masks({"v": truth}, {"v": found}, "davis2017")
    assert result.region.mean == (1.0 + 0.5) / 2
    assert result.region.recall == 0.5  # more than 0.5, so that the second frame has it not
    assert result.counts["frames"] == 2
    assert result.objects[0].frames == 2


def test_objects_are_those_of_the_first_frame():
    truth = frames("10 03", "10 23", "10 23", "10 03")
    found = frames("00 00", "10 03", "10 03", "00 00")
    result = score_masks({"v": truth}, {"v": found})
    assert list(result.per_object) == ["v_1", "v_3"]
    assert result.mean == 1.0
    # The evaluator counts up to the greatest index: object 2, which is true later, is missed.
    official = score_masks({"v": truth}, {"v": found}, "davis2017+official")
    assert list(official.per_object) == ["v_1", "v_2", "v_3"]
    assert official.per_object["v_2"].region.mean == 0.0


def test_an_index_that_is_left_out_is_no_object():
    truth = frames("10 03", "10 03", "10 03")
    strict = score_masks({"v": truth}, {"v": truth})
    official = score_masks({"v": truth}, {"v": truth * (truth != 1)}, "davis2017+official")
    assert len(strict.objects) == 2
    assert official.per_object["v_2"].region.mean == 1.0  # nothing against nothing
    assert official.region.mean == pytest.approx(2 / 3)


def test_void_is_background_or_ignored():
    truth = np.array([[[1, 1, 255, 0]]] * 3, np.uint8)
    found = np.array([[[1, 1, 1, 0]]] * 3, np.uint8)
    assert score_masks({"v": truth}, {"v": found}, STRICT).region.mean == pytest.approx(2 / 3)
    ignored = replace(STRICT, name="mine", void="ignored")
    assert score_masks({"v": truth}, {"v": found}, ignored).region.mean == 1.0
    assert score_masks({"v": truth}, {"v": found}, EVERY).region.mean == 1.0


def test_found_objects_that_the_video_has_not_are_refused():
    truth, found = frames("10", "10", "10"), frames("10", "12", "10")
    with pytest.raises(InputError, match=r"'v', frame '00001'.*expected.*\[1\], found \[2\]"):
        score_masks({"v": truth}, {"v": found})
    assert score_masks({"v": truth}, {"v": frames("12", "10", "12")}).mean == 1.0
    ignoring = replace(STRICT, name="mine", unknown="ignored")
    result = score_masks({"v": truth}, {"v": found}, ignoring)
    assert (result.mean, result.counts["unknown_objects"]) == (1.0, 1)


def test_decay_by_hand():
    # Eight values: quarters by DAVIS' rule are places 0-2, ..., 5-7 (borders 0, 2, 4, 5, 7).
    values = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]
    scores = statistics(values, STRICT)
    assert scores.decay == pytest.approx(0.9 - 0.4)
    assert scores.mean == pytest.approx(0.65)
    assert scores.recall == 5 / 8
    assert statistics([0.25], STRICT).decay == 0.0
    assert math.isnan(statistics([], STRICT).mean)


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 97, 98, 99, 100, 254, 255])
def test_the_evaluators_decay_is_right_in_short_videos(frames):
    values = np.random.default_rng(frames).random(frames).tolist()
    assert statistics(values, OFFICIAL) == statistics(values, STRICT)


def test_the_evaluators_decay_wraps_in_long_videos():
    values = [1.0] * 299 + [0.0] * 101
    assert statistics(values, STRICT).decay == 1.0
    # Borders 0, 100, 200, 299, 399, of which 8 bits keep 0, 100, 200, 43, 143.
    assert statistics(values, OFFICIAL).decay == 0.0
    assert math.isnan(statistics([0.5] * 300, OFFICIAL).decay)


def test_unsupervised_gives_each_object_the_proposal_that_serves_it_best():
    truth = frames("1100 0022", "1100 0022")
    found = frames("2200 0011", "2230 0011")
    result = score_masks({"v": truth}, {"v": found}, EVERY)
    assert [each.region.mean for each in result.objects] == [1.0, 1.0]
    listed = score_masks({"v": truth}, {"v": found}, "davis2017-unsupervised+official")
    assert listed.mean == result.mean
    assert list(listed.per_object) == ["v_1", "v_2"]


def test_unsupervised_names_objects_by_truth_or_by_proposal():
    truth = frames("1100 0022", "1100 0022")
    found = frames("0200 0011", "0200 0011")  # half of object 1 as proposal 2, object 2 as 1
    strict = score_masks({"v": truth}, {"v": found}, EVERY)
    listed = score_masks({"v": truth}, {"v": found}, "davis2017-unsupervised+official")
    assert [each.region.mean for each in strict.objects] == [0.5, 1.0]
    assert [each.region.mean for each in listed.objects] == [1.0, 0.5]


def test_unsupervised_leaves_objects_without_a_proposal_at_zero():
    truth = frames("12", "12")
    result = score_masks({"v": truth}, {"v": frames("30", "30")}, EVERY)
    assert [each.region.mean for each in result.objects] == [1.0, 0.0]
    nothing = score_masks({"v": truth}, {"v": truth * 0}, EVERY)
    assert nothing.region.mean == 0.0


def test_unsupervised_limits_proposals():
    truth = np.ones((2, 5, 5), np.uint8)
    found = np.arange(25, dtype=np.uint8).reshape(1, 5, 5).repeat(2, axis=0)
    with pytest.raises(InputError, match=r"too many objects found.*at most 20, found 24"):
        score_masks({"v": truth}, {"v": found}, EVERY)


def test_youtube_vos_scores_objects_after_the_frame_that_shows_them_first():
    truth = frames("100 000", "100 002", "100 002", "000 002")
    found = frames("000 000", "100 000", "000 002", "000 022")
    result = score_masks({"v": truth}, {"v": found}, "youtube-vos", classes=SEEN)
    first, later = result.objects
    assert (first.frames, first.region.mean) == (3, pytest.approx((1 + 0 + 1) / 3))
    assert (later.frames, later.region.mean) == (2, (1 + 0.5) / 2)
    seen, unseen = result.groups["seen"], result.groups["unseen"]
    assert (seen.region, unseen.region) == (first.region.mean, later.region.mean)
    parts = (seen.region, seen.boundary, unseen.region, unseen.boundary)
    assert result.mean == pytest.approx(sum(parts) / 4)
    content = json.loads(result.to_json())
    assert content["G"] == result.mean
    assert content["J_unseen"] == unseen.region
    assert content["per_object"]["v_2"]["class"] == "backpack"


def test_youtube_vos_averages_the_groups_that_have_objects():
    truth = frames("1", "1")
    result = score_masks({"v": truth}, {"v": truth}, "youtube-vos", classes=SEEN)
    assert result.mean == 1.0
    assert math.isnan(result.groups["unseen"].region)
    assert json.loads(result.to_json())["J_unseen"] is None
    assert "unseen" in result.table()


def test_youtube_vos_passes_over_objects_of_nobody():
    truth, found = frames("10", "10"), frames("10", "17")
    result = score_masks({"v": truth}, {"v": found}, "youtube-vos", classes=SEEN)
    assert result.mean == 1.0
    assert result.counts["unknown_objects"] == 1


def test_youtube_vos_leaves_out_what_appears_in_the_last_frame():
    truth = frames("10", "12")
    result = score_masks({"v": truth}, {"v": truth}, "youtube-vos", classes=SEEN)
    assert result.counts["objects"] == 1
    assert result.counts["objects_without_scored_frames"] == 1
    assert result.per_object["v_2"].frames == 0
    assert json.loads(result.to_json())["per_object"]["v_2"]["J"]["mean"] is None


def test_youtube_vos_needs_classes():
    truth = {"v": frames("10", "12", "12")}
    with pytest.raises(InputError, match=r"needs the class.*meta.json"):
        score_masks(truth, truth, "youtube-vos")
    with pytest.raises(InputError, match="object 2 has no class"):
        score_masks(truth, truth, "youtube-vos", classes={"v": {1: "person"}})


def test_classes_are_read_from_meta(tmp_path):
    path = tmp_path / "meta.json"
    objects = {"1": {"category": "penguin", "frames": ["00000"]}, "2": {"category": "sign"}}
    path.write_text(json.dumps({"videos": {"a": {"objects": objects}, "b": {"objects": {}}}}))
    assert read_youtube_vos_classes(path) == {"a": {1: "penguin", 2: "sign"}, "b": {}}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "the top.*'videos'"),
        ('{"videos": []}', "the top"),
        ('{"videos": {"a": {}}}', "videos.a.*'objects'"),
        ('{"videos": {"a": {"objects": {"x": {}}}}}', "object indices"),
        ('{"videos": {"a": {"objects": {"0": {}}}}}', "object indices"),
        ('{"videos": {"a": {"objects": {"1": {"category": 3}}}}}', "objects.1.*category"),
        ('{"videos": {"a": {"objects": {"1": []}}}}', "objects.1.*category"),
    ],
)
def test_meta_of_another_layout_is_refused(tmp_path, content, text):
    path = tmp_path / "meta.json"
    path.write_text(content)
    with pytest.raises(InputError, match=text):
        read_youtube_vos_classes(path)


def test_missing_masks_stop_or_count_as_empty(tmp_path):
    truth = {"v": frames("1", "1", "1", "1"), "w": frames("1", "1", "1"), "x": frames("1", "1")}
    for name in ("00000", "00002", "00003", "00009"):
        (tmp_path / "v").mkdir(exist_ok=True)
        write_mask_png(tmp_path / "v" / f"{name}.png", np.array([[1]]))
    (tmp_path / "y").mkdir()
    write_mask_png(tmp_path / "y" / "00000.png", np.array([[1]]))
    with pytest.raises(InputError) as caught:
        score_masks(truth, tmp_path)
    text = str(caught.value)
    assert "1 videos without a result (w)" in text
    assert "1 frames without a result (v/00001)" in text
    assert "1 videos without ground truth (y)" in text
    assert "1 frames without ground truth (v/00009)" in text
    result = score_masks(truth, tmp_path, missing="empty")
    assert result.counts["frames_missing"] == 2
    assert result.counts["frames_without_truth"] == 1
    assert result.per_object["v_1"].region.mean == 0.5
    assert result.per_object["w_1"].region.mean == 0.0
    assert result.per_object["x_1"].frames == 0  # two frames: none between first and last
    assert result.region.mean == 0.25


def test_coverage_names_few_examples():
    truth = mask_source({f"v{at}": frames("1", "1", "1") for at in range(5)})
    scored = {name: ("00001",) for name in truth.videos()}
    coverage = mask_coverage(truth, mask_source({}), scored)
    assert str(coverage) == "5 videos without a result (v0, v1, v2, ...)"
    assert str(mask_coverage(truth, truth, scored)) == ""


def test_sizes_have_to_agree():
    truth, found = np.ones((3, 4, 5), int), np.ones((3, 5, 4), int)
    with pytest.raises(InputError, match=r"'v', frame '00001'.*expected 5 x 4, found 4 x 5"):
        score_masks({"v": truth}, {"v": found})


def test_other_bad_input_is_refused():
    masks = {"v": np.ones((3, 4, 5), int)}
    with pytest.raises(InputError, match="Did you mean 'davis2017'"):
        score_masks(masks, masks, "davis2016")
    with pytest.raises(InputError, match=r"1 video.*no ground truth.*found w"):
        score_masks(masks, masks, videos=["v", "w"])
    with pytest.raises(InputError, match="workers"):
        score_masks(masks, masks, workers=0)
    with pytest.raises(InputError, match=r"'v'.*\[T, H, W\]"):
        score_masks({"v": np.ones((3, 4), int)}, masks)
    with pytest.raises(InputError, match="mask of video 'v'"):
        score_masks({"v": np.ones((3, 4, 5))}, masks)
    with pytest.raises(InputError, match="boundary_tolerance"):
        MaskProtocol(name="mine", boundary_tolerance=-1.0)
    with pytest.raises(InputError, match="no such folder"):
        score_masks("nowhere", masks)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "v").mkdir()
    for at in range(4):
        (tmp_path / "v" / f"{at:05d}.png").write_bytes(b"nothing")
    for workers in (1, 2):
        with pytest.raises(InputError, match=r"00001.png.*not a PNG"):
            score_masks({"v": np.ones((4, 2, 2), int)}, tmp_path, workers=workers)


def some_videos(seed, count=3):
    rng = np.random.default_rng(seed)
    truth, found = {}, {}
    for at in range(count):
        shape = (int(rng.integers(1, 7)), 6, 8)
        masks = rng.integers(0, 3, shape, dtype=np.uint8)
        masks[0].flat[:3] = (0, 1, 2)  # both objects are in the first frame
        truth[f"v{at}"] = masks
        found[f"v{at}"] = np.where(rng.random(shape) < 0.3, rng.integers(0, 3, shape), masks)
    return truth, found


PROTOCOLS = ("davis2017", "davis2017+official", "davis2017-unsupervised", "youtube-vos")
CLASSES = {f"v{at}": {1: "person", 2: "backpack"} for at in range(3)}


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32), protocol=st.sampled_from(PROTOCOLS), random=st.randoms())
def test_neither_order_nor_shards_nor_streaming_change_a_bit(seed, protocol, random):
    truth, found = some_videos(seed)
    whole = score_masks(truth, found, protocol, classes=CLASSES, workers=1)
    names = list(truth)
    random.shuffle(names)
    turned = {name: dict(zip("0123456", truth[name], strict=False)) for name in names}
    items = {name: list(zip("0123456", found[name], strict=False)) for name in reversed(names)}
    for each in items.values():
        random.shuffle(each)
    answers = {name: dict(each) for name, each in items.items()}
    again = score_masks(turned, answers, protocol, classes=CLASSES, workers=2)
    parts = [
        score_masks(truth, found, protocol, videos=some, classes=CLASSES, workers=1)
        for some in (names[:1], names[1:])
    ]
    streamed = [
        score_mask_video(iter(truth[n]), iter(found[n]), protocol, video=n, classes=CLASSES[n])
        for n in names
    ]
    expected = whole.to_json()
    assert again.to_json() == expected
    assert combine_masks(parts).to_json() == expected
    assert combine_masks(streamed).to_json() == expected


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**32), protocol=st.sampled_from(PROTOCOLS))
def test_truth_against_itself_is_perfect(seed, protocol):
    truth, _ = some_videos(seed)
    result = score_masks(truth, truth, protocol, classes=CLASSES, workers=1)
    scored = [each for each in result.objects if each.frames]
    assert all(each.region.mean == each.boundary.mean == 1.0 for each in scored)


def test_a_stream_may_fill_one_array_again_and_again():
    truth, found = frames("10", "10", "02", "02"), frames("00", "10", "02", "00")

    def filled(masks):
        buffer = np.empty_like(masks[0])
        for mask in masks:
            buffer[:] = mask
            yield buffer

    protocol = replace(STRICT, name="mine", unknown="ignored")
    streamed = score_mask_video(filled(truth), filled(found), protocol, video="v")
    assert streamed.to_json() == score_masks({"v": truth}, {"v": found}, protocol).to_json()


def test_streams_have_to_be_of_one_length():
    truth = frames("1", "1", "1")
    with pytest.raises(InputError, match="only 2 found masks"):
        score_mask_video(truth, truth[:2], video="v")
    with pytest.raises(InputError, match="only 2 true masks"):
        score_mask_video(truth[:2], truth, video="v")
    with pytest.raises(InputError, match="no frames"):
        score_mask_video([], [], video="v")

    def failing():
        yield truth[0]
        raise ValueError("from the reader")

    with pytest.raises(ValueError, match="from the reader"):
        score_mask_video(failing(), truth, video="v")


def test_results_combine_only_with_their_like():
    truth, found = some_videos(1)
    result = score_masks(truth, found)
    with pytest.raises(InputError, match="no results"):
        combine_masks([])
    with pytest.raises(InputError, match="another protocol"):
        combine_masks([result, score_masks(truth, found, "davis2017+official")])
    with pytest.raises(InputError, match="stand in several results"):
        combine_masks([result, result])
    own = replace(STRICT, name="mine")
    with pytest.raises(InputError, match="unknown protocol"):
        combine_masks([score_masks(truth, found, own)])
    alone = combine_masks([score_masks(truth, found, own)], own)
    assert alone.mean == result.mean


def test_nothing_to_score():
    for masks in ({}, {"v": np.zeros((5, 2, 2), int)}, {"v": np.zeros((0, 2, 2), int)}):
        result = score_masks(masks, masks)
        assert math.isnan(result.mean)
        assert json.loads(result.to_json())["J&F"] is None
        assert "J&F" in result.table()


def test_folders_arrays_and_sources_give_the_same(golden):
    folder = golden / "eval" / "davis_tiny"
    source = MaskFolder(root=folder / "res")
    arrays = {
        video: {frame: source.read(video, frame) for frame in source.frames(video)}
        for video in source.videos()
    }
    truth = folder / "Annotations"
    results = [score_masks(truth, each).to_json() for each in (folder / "res", source, arrays)]
    assert results[0] == results[1] == results[2]


def test_result_as_json_and_table():
    truth, found = frames("11", "11", "11"), frames("11", "10", "11")
    result = score_masks({"cat": truth}, {"cat": found})
    content = json.loads(result.to_json())
    keys = ["protocol", "J&F", "J", "F", "per_object", "per_video", "counts", "version"]
    assert list(content) == keys
    assert content["protocol"] == "davis2017"
    assert content["J"] == {"mean": 0.5, "recall": 0.0, "decay": 0.0}
    assert content["per_object"]["cat_1"]["J"]["mean"] == 0.5
    assert content["per_object"]["cat_1"]["frames"] == 1
    assert content["per_video"]["cat"]["J"] == 0.5
    assert content["version"] == __version__
    assert result.per_video["cat"].both == result.mean
    lines = result.table().splitlines()
    assert lines[0] == "davis2017: 1 videos, 1 objects"
    assert lines[4].split() == ["cat_1", "50.00", "0.00", "1"]
    assert lines[-1].split() == ["J&F", "25.00"]
