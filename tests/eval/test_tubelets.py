import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_eval import (
    ACT_FRAME_NMS,
    ACT_LINKING,
    MOC_FRAME_NMS,
    MOC_LINKING,
    InputError,
    Suppression,
    Trimming,
    TubeletLinker,
    TubeletLinking,
    Tubelets,
    TubeletSmoother,
    empty_tubelets,
    frame_boxes,
    frame_errors,
    frame_maps,
    link_tubelet_rows,
    link_tubelets,
    read_act_truth,
    read_tubelets,
    tubelet_nms,
    video_map,
)

FEW = TubeletLinking(min_length=1, suppression=None)


def tubelets(rows, length=2):
    """Rows (start, x, score[, label]) of square boxes that stand still."""
    x = np.array([row[1] for row in rows], dtype=np.float64)
    box = np.stack([x, np.zeros_like(x), x + 10, np.zeros_like(x) + 10], axis=1)
    return Tubelets(
        videos=("v",),
        classes=("walk", "run"),
        video=np.zeros(len(rows), dtype=np.int64),
        start=np.array([row[0] for row in rows], dtype=np.int64),
        label=np.array([row[3] if len(row) > 3 else 0 for row in rows], dtype=np.int64),
        score=np.array([row[2] for row in rows], dtype=np.float64),
        box=np.repeat(box.reshape(-1, 1, 4), length, axis=1),
    )


def test_columns_are_checked():
    good = tubelets([(0, 0, 0.5)])
    assert (len(good), good.length) == (1, 2)
    assert len(empty_tubelets(7, classes=("walk",))) == 0
    columns = {name: getattr(good, name) for name in Tubelets.__dataclass_fields__}
    bad = {
        "box": np.zeros((1, 4)),
        "score": np.array([np.nan]),
        "label": np.array([2]),
        "start": np.array([-1]),
        "video": np.array([0, 0]),
    }
    for name, value in bad.items():
        with pytest.raises(InputError, match=r"wrong shape|finite|out of range"):
            Tubelets(**{**columns, name: value})
    with pytest.raises(InputError, match="not finite, first at row 0"):
        Tubelets(**{**columns, "box": np.full((1, 2, 4), np.inf)})
    with pytest.raises(InputError, match="K >= 1"):
        empty_tubelets(0)


def test_suppression_by_mean_iou_and_by_its_sum():
    # Two tubelets of two frames, IoU 9/11 on each: the mean is 0.818, the sum 1.636.
    rows = tubelets([(0, 0, 0.9), (0, 1, 0.8), (0, 50, 0.7), (1, 0, 0.6), (0, 0, 0.5, 1)])
    mean = tubelet_nms(rows).score
    assert mean == pytest.approx([0.9, 0.8 * (1 - 9 / 11), 0.7, 0.6, 0.5])
    total = tubelet_nms(rows, Suppression(rescoring="sum")).score
    assert total == pytest.approx([0.9, 0.8 * (1 - 18 / 11), 0.7, 0.6, 0.5])
    assert tubelet_nms(rows, Suppression(rescoring="remove")).score.tolist() == [0.9, 0.7, 0.6, 0.5]
    assert len(tubelet_nms(rows.select(np.arange(0)))) == 0


def test_moc_suppression_turns_scores_negative():
    # The published case: two near-identical tubelets of seven frames, scores 0.9 and 0.8.
    rows = tubelets([(0, 0, 0.9), (0, 0, 0.8)], length=7)
    score = tubelet_nms(rows, MOC_LINKING.suppression).score
    assert score == pytest.approx([0.9, 0.8 * (1 - 7)])


def test_boxes_of_tubelets_on_frames():
    found = frame_boxes(tubelets([(0, 0, 0.9), (1, 0, 0.5)]))
    # On frame 1 the second tubelet's box lies exactly under the first one's.
    assert found.frame.tolist() == [0, 1, 1, 2]
    assert found.score == pytest.approx([0.9, 0.9, 0.0, 0.5])
    assert frame_boxes(tubelets([(0, 0, 0.9), (1, 0, 0.5)]), ACT_FRAME_NMS).frame.tolist() == [
        0,
        1,
        2,
    ]
    assert len(frame_boxes(empty_tubelets(3))) == 0


def test_tubelets_become_one_averaged_tube():
    tube = link_tubelets(tubelets([(0, 0, 0.9), (1, 2, 0.6), (2, 4, 0.3)]), FEW)[0]
    assert tube.frames.tolist() == [0, 1, 2, 3]
    assert tube.boxes[:, 0].tolist() == [0, 1, 3, 4]
    assert tube.score == pytest.approx(0.6)


def test_a_tube_ends_after_k_minus_1_misses():
    # K = 2: one frame without a tubelet may lie between two that are linked.
    assert len(link_tubelets(tubelets([(0, 0, 0.9), (2, 0, 0.6)]), FEW)) == 1
    assert len(link_tubelets(tubelets([(0, 0, 0.9), (3, 0, 0.6)]), FEW)) == 2
    short = TubeletLinking(min_length=1, suppression=None, max_offset=1)
    assert len(link_tubelets(tubelets([(0, 0, 0.9), (2, 0, 0.6)]), short)) == 2


def test_the_last_box_meets_the_first_one_where_no_frame_is_shared():
    rows = tubelets([(0, 0, 0.9), (2, 6, 0.6)])
    rows.box[0, 1, [0, 2]] += 6
    assert len(link_tubelets(rows, FEW)) == 1
    rows.box[0, 1, [0, 2]] -= 6
    assert len(link_tubelets(rows, FEW)) == 2


def test_short_and_weak_tubes_are_left_out():
    rows = tubelets([(0, 0, 0.9), (0, 50, 0.1), (1, 0, 0.9)])
    strong = TubeletLinking(min_length=3, min_score=0.2)
    assert [len(tube) for tube in link_tubelets(rows, strong)] == [3]
    assert link_tubelets(rows, TubeletLinking(min_length=4)) == []
    assert len(link_tubelets(rows, TubeletLinking(min_length=1, min_score=0.5))) == 1
    assert link_tubelets(empty_tubelets(7)) == []
    assert link_tubelets(empty_tubelets(7), trimming=Trimming()) == []


def test_linked_tubes_can_be_trimmed():
    rows = tubelets([(t, 0, 0.9 if t < 6 else 0.1) for t in range(12)])
    whole = link_tubelets(rows, FEW)
    assert [len(tube) for tube in whole] == [13]
    cut = link_tubelets(rows, FEW, trimming=Trimming(penalty=1.0))
    # Frame 6 is covered by a tubelet of 0.9 and one of 0.1: worth nothing, so it stays.
    assert [(tube.frames[0], len(tube)) for tube in cut] == [(0, 7)]
    assert cut[0].score == pytest.approx((6 * 0.9 + 0.5) / 7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_iou": 0.0}, "min_iou"),
        ({"max_tubelets": 0}, "max_tubelets"),
        ({"max_offset": 0}, "max_offset"),
        ({"min_length": 0}, "min_length"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        TubeletLinking(**options)


def test_a_tube_with_frames_without_boxes_is_refused():
    with pytest.raises(InputError, match="at most K = 2"):
        link_tubelets(tubelets([(0, 0, 0.9)]), ACT_LINKING)


rows = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 12), st.integers(1, 4), st.integers(0, 1)),
    max_size=16,
)


@settings(deadline=None, max_examples=30)
@given(rows, st.randoms(), st.sampled_from([None, Suppression(iou=0.4)]))
def test_the_order_of_rows_does_not_matter_and_none_is_used_twice(rows, random, suppression):
    options = TubeletLinking(min_length=1, suppression=suppression, min_iou=0.3, max_tubelets=None)
    shuffled = list(rows)
    random.shuffle(shuffled)
    a, b = (link_tubelets(tubelets(each, 3), options) for each in (rows, shuffled))
    assert [(t.label, t.score, t.frames.tolist(), t.boxes.tolist()) for t in a] == [
        (t.label, t.score, t.frames.tolist(), t.boxes.tolist()) for t in b
    ]
    table = tubelets(rows, 3)
    tube_of = link_tubelet_rows(table, options)
    assert (tube_of >= 0).all()
    # A tube takes at most one tubelet that starts on a frame, all of one label.
    assert len(set(zip(tube_of.tolist(), table.start.tolist(), strict=True))) == len(rows)
    assert (
        len(set(zip(tube_of.tolist(), table.label.tolist(), strict=True)))
        == tube_of.max(initial=-1) + 1
    )


@settings(deadline=None, max_examples=25)
@given(rows)
def test_a_stream_gives_the_tubes_of_the_whole(rows):
    table = tubelets(rows, 3)
    linker, smoother = TubeletLinker(length=3, max_tubelets=2), TubeletSmoother(length=3)
    settled = []
    for frame in range(7):
        here = table.select(table.start == frame)
        slots = linker.step(frame, here.box, here.score, here.label)
        settled.append(smoother.step(frame, slots, here.box, here.score))
        # A box is out as soon as nothing to come can change it; little waits.
        assert all((each.frame < frame).all() for each in settled)
        assert len(smoother._waiting) <= 2 * 2 * 3
    settled.append(smoother.finish())
    tube, frame, score = (
        np.concatenate([getattr(each, name) for each in settled])
        for name in ("tube", "frame", "score")
    )
    box = np.concatenate([each.box for each in settled])
    streamed = []
    for number in np.unique(tube):
        at = np.flatnonzero(tube == number)
        assert score[at].min() > 0
        streamed.append((frame[at].tolist(), box[at].tolist()))
    options = TubeletLinking(min_length=1, suppression=None, max_tubelets=2)
    whole = link_tubelets(table, options)
    assert sorted(streamed) == sorted((t.frames.tolist(), t.boxes.tolist()) for t in whole)


def test_streams_go_forward():
    smoother = TubeletSmoother(length=2)
    box, one = np.zeros((1, 2, 4)), np.array([0.5])
    smoother.step(3, np.array([0]), box, one)
    with pytest.raises(InputError, match="after 3"):
        smoother.step(3, np.array([0]), box, one)
    for make in (TubeletSmoother, TubeletLinker):
        with pytest.raises(InputError, match="length"):
            make(length=0)
    with pytest.raises(InputError, match="wrong shape"):
        TubeletLinker(length=2).step(0, np.zeros((1, 3, 4)), one)
    linker = TubeletLinker(length=2, suppression=Suppression(rescoring="remove"))
    two = np.tile([0.0, 0.0, 9.0, 9.0], (2, 2, 1))
    assert linker.step(0, two, np.array([0.5, 0.6])).tolist() == [-1, 0]
    assert linker.scores() == {0: 0.6}


@pytest.mark.parametrize("name", ["ucf24_tiny", "jhmdb_tiny"])
def test_moc_tubes_and_frames(golden, name):
    folder = golden / "eval" / "tubelets" / name
    names = json.loads((folder / "names.json").read_text())
    rows = np.load(folder / "tubelets.npz")["rows"].astype(np.float64)
    table = Tubelets(
        videos=tuple(names["videos"]),
        classes=tuple(names["classes"]),
        video=rows[:, 0].astype(np.int64),
        start=rows[:, 1].astype(np.int64) - 1,
        label=rows[:, 2].astype(np.int64),
        score=rows[:, -1],
        box=rows[:, 3:-1].reshape(len(rows), -1, 4),
    )
    expected = np.load(folder / "expected_moc_tubelets_framedets.npz")["dets"].astype(np.float64)
    found = frame_boxes(table, MOC_FRAME_NMS)
    ours = np.column_stack([found.video, found.frame + 1, found.label, found.score, found.box])
    assert by_box(ours) == pytest.approx(by_box(expected), abs=1e-6)

    file = np.load(folder / "expected_moc_tubelets_tubes.npz")
    parts = np.split(file["rows"].astype(np.float64), np.cumsum(file["meta"][:, 3].astype(int)))
    theirs = sorted(
        zip(file["meta"].tolist(), parts, strict=False),
        key=lambda tube: (tube[0][0], tube[0][1], -tube[0][2]),
    )
    tubes = link_tubelets(table, MOC_LINKING)
    assert len(tubes) == len(theirs)
    for tube, (meta, boxes) in zip(tubes, theirs, strict=True):
        assert (names["videos"].index(tube.video), tube.label) == tuple(meta[:2])
        assert tube.score == pytest.approx(meta[2], abs=1e-6)
        assert tube.frames.tolist() == (boxes[:, 0] - 1).tolist()
        assert tube.boxes == pytest.approx(boxes[:, 1:5], abs=1e-4)


def of_six_frames(rows, lengths):
    """Tubelets of six frames from rows of seven: the first six, and of the last ones also those
    that start a frame later, so that every frame that can start a tubelet does."""
    last = rows[:, 1] == np.array(lengths)[rows[:, 0].astype(int)] - 6
    late = rows[last]
    late[:, 1] += 1
    score = np.concatenate([rows[:, -1], late[:, -1]])
    box = np.concatenate([rows[:, 3:27], late[:, 7:31]])
    return np.column_stack([np.concatenate([rows[:, :3], late[:, :3]]), box, score])


def write_act_tubelets(folder, rows, videos, lengths, classes):
    """ACT's own files: what is scored on frames, and every tubelet with a score for each class."""
    for at, video in enumerate(videos):
        (folder / video).mkdir(parents=True)
        for start in range(1, lengths[at] - 4):
            here = rows[(rows[:, 0] == at) & (rows[:, 1] == start)]
            framed = np.column_stack([here[:, 2], here[:, -1], here[:, 3:-1]])
            scores = np.zeros((len(here), 1 + classes))
            scores[np.arange(len(here)), 1 + here[:, 2].astype(int)] = here[:, -1]
            linked = np.column_stack([here[:, 3:-1], scores])
            content = (framed.astype(np.float32), linked.astype(np.float32))
            (folder / video / f"{start:05d}.pkl").write_bytes(pickle.dumps(content, protocol=2))


@pytest.mark.parametrize("name", ["ucf24_tiny", "jhmdb_tiny"])
def test_act_numbers(golden, tmp_path, name):
    truth = read_act_truth(next((golden / "eval" / "tubes" / name / "native").glob("*-GT.pkl")))
    videos, classes = truth.tubes.videos, truth.tubes.classes
    lengths = [truth.frame_counts[video] for video in videos]
    rows = np.load(golden / "eval" / "tubelets" / name / "tubelets.npz")["rows"]
    rows = of_six_frames(rows.astype(np.float64), lengths)
    path = golden / "eval" / "tubes" / name / "expected_act.json"
    expected = json.loads(path.read_text())["metrics"]
    assert len(rows) == expected["n_tubelets"]
    write_act_tubelets(tmp_path, rows, videos, lengths, len(classes))
    files = read_tubelets(tmp_path, videos=videos, classes=classes, frame_counts=truth.frame_counts)
    found = frame_boxes(files.framed, ACT_FRAME_NMS)
    on_frames = frame_maps(truth.boxes(), found, "dense+act", ious=(0.5, 0.75))
    tubes = link_tubelets(files.linked, ACT_LINKING)
    on_tubes = video_map(truth.tubes, tubes, "dense+act", iou=(0.2, 0.5, 0.75)).mean
    ours = {f"frameAP@{iou:g}": result.mean for iou, result in on_frames.items()}
    ours |= {f"videoAP@{iou}": value for iou, value in on_tubes.items()}
    if name == "jhmdb_tiny":  # ACT's script stops at this on untrimmed videos
        parts = frame_errors(truth.boxes(), found, "dense+act").breakdown.mean
        for ours_of, part in (("localisation", "Loc"), ("time", "Time"), ("missed", "Missed")):
            ours[f"frameAP_error/{part}"] = parts[ours_of]
    for key, value in ours.items():
        assert 100 * value == pytest.approx(expected[key], abs=1e-4), key


def by_box(rows):
    return rows[np.lexsort((*rows[:, :3].T, *rows[:, 4:].T, rows[:, 3].round(5)))]
