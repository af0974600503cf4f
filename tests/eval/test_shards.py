"""Parts of an evaluation make exactly the whole."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_eval import (
    Boxes,
    FrameProtocol,
    InputError,
    ava_shards,
    frame_map,
    frame_maps,
    read_ava_csv,
    read_ava_frames,
    read_label_map,
)
from stad_eval.frame_parts import FramePartial
from stad_eval.shards import (
    combine,
    combine_files,
    frame_map_streamed,
    frame_partial,
)

A, B = (0, 0, 10, 10), (20, 0, 30, 10)
IOUS = (0.3, 0.6)
place = st.tuples(st.integers(0, 3), st.integers(0, 2)).map(lambda p: (*p, p[0] + 3, p[1] + 4))
row = st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 1), place, st.integers(0, 3))
some_rows = st.lists(row, max_size=16)
VIDEOS = ("a", "b", "c", "d")


def arrays(rows, shift=0.0):
    return Boxes(
        videos=VIDEOS,
        classes=("walk", "run"),
        video=np.array([each[0] for each in rows], dtype=np.int64),
        frame=np.array([each[1] for each in rows], dtype=np.int64),
        label=np.array([each[2] for each in rows], dtype=np.int64),
        box=np.array([each[3] for each in rows], dtype=np.float64).reshape(-1, 4) + shift,
        score=np.array([each[4] / 7 for each in rows], dtype=np.float64),
    )


def by_video(truth, found):
    for at in range(len(VIDEOS)):
        yield truth.select(truth.video == at), found.select(found.video == at)


def facts(results):
    return {iou: (result.to_json(), result.mean) for iou, result in results.items()}


@pytest.mark.parametrize("average", ["all-point", "trapezoid"])
@settings(deadline=None, max_examples=20)
@given(truth=some_rows, found=some_rows)
def test_the_whole_is_that_of_its_parts_to_the_last_bit(tmp_path_factory, average, truth, found):
    protocol = FrameProtocol(name="strict", matching="best-unmatched", average=average)
    truth, found = arrays(truth), arrays(found, shift=0.25)
    whole = frame_maps(truth, found, protocol, ious=IOUS)
    folder = tmp_path_factory.mktemp("parts")
    parts = [frame_partial(*each, protocol, ious=IOUS) for each in by_video(truth, found)]
    streamed = frame_map_streamed(by_video(truth, found), protocol, ious=IOUS, folder=folder)
    for results in (combine(parts), combine(parts[::-1]), streamed):
        for iou, result in results.items():
            assert result.per_class == whole[iou].per_class
            assert result.counts == whole[iou].counts
            assert result.mean == whole[iou].mean or math.isnan(result.mean)
    assert not list(folder.iterdir())
    for iou, result in combine(parts).items():
        for name, curve in result.curves.items():
            assert (curve.precision == whole[iou].curves[name].precision).all()
            assert (curve.score == whole[iou].curves[name].score).all()


def test_streamed_curves_hold_every_point_that_adds_recall(table):
    truth = table([("v", 0, "walk", A), ("v", 1, "walk", A)])
    scores = ((0, B, 0.9), (0, A, 0.8), (0, B, 0.7), (0, B, 0.6), (1, A, 0.5), (1, B, 0.2))
    found = table([("v", frame, "walk", box, score) for frame, box, score in scores])
    whole = frame_map(truth, found, "dense").curves["walk"]
    curve = frame_map_streamed([(truth, found)], "dense")[0.5].curves["walk"]
    kept = [0, 1, 3, 4, 5]  # of two false positives between two hits, the last
    for name in ("recall", "precision"):
        assert getattr(curve, name).tolist() == getattr(whole, name)[kept].tolist()
    assert curve.score.tolist() == [0.9, 0.8, 0.6, 0.5, 0.2]


def test_saved_parts_come_back(tmp_path, table):
    truth = table([("v", 0, "walk", A), ("v", 1, "run", A)])
    found = table([("v", 0, "walk", A, 0.5), ("v", 1, "run", B, 0.25)])
    part = frame_partial(truth, found, "dense", ious=IOUS)
    part.save(tmp_path / "part.npz")
    again = FramePartial.load(tmp_path / "part.npz")
    assert (again.protocol, again.ious, again.classes) == (part.protocol, IOUS, part.classes)
    assert facts(combine([again])) == facts(combine([part]))
    assert facts(combine_files([tmp_path / "part.npz"])) == facts(combine([part]))
    with pytest.raises(InputError, match="no such folder"):
        part.save(tmp_path / "nowhere" / "part.npz")


def test_parts_that_do_not_belong_together_are_refused(tmp_path, table):
    truth, found = table([("v", 0, "walk", A)]), table([("v", 0, "walk", A, 0.5)])
    part = frame_partial(truth, found, "dense")
    with pytest.raises(InputError, match="at least one"):
        combine([])
    with pytest.raises(InputError, match=r"1 video\(s\).*found v"):
        combine([part, part])
    with pytest.raises(InputError, match="'ious'"):
        combine([part, frame_partial(truth, found, "dense", ious=(0.75,))])
    with pytest.raises(InputError, match="'protocol'"):
        combine([part, frame_partial(truth, found, "keyframes")])
    with pytest.raises(InputError, match="one or more"):
        frame_partial(truth, found, "dense", ious=())
    frame_partial(truth, found, "dense+moc").save(tmp_path / "moc.npz")
    with pytest.raises(InputError, match="depends on the order"):
        combine_files([tmp_path / "moc.npz"])


def test_parts_of_a_protocol_that_looks_at_rows_are_put_one_after_the_other(table):
    truth = table([("v", 0, "walk", A), ("w", 0, "walk", A)], videos=("v", "w"))
    rows = [("v", 0, "walk", A, 0.5), ("w", 0, "walk", B, 0.5), ("w", 0, "walk", A, 0.25)]
    found = table(rows, videos=("v", "w"))
    parts = [
        frame_partial(truth.select(truth.video == at), found.select(found.video == at), "dense+moc")
        for at in (0, 1)
    ]
    assert facts(combine(parts)) == facts({0.5: frame_map(truth, found, "dense+moc")})


@pytest.mark.parametrize("what", ["nothing", "text", "columns", "version", "shape", "type", "nan"])
def test_files_that_are_no_parts_are_refused(tmp_path, table, what):
    truth, found = table([("v", 0, "walk", A)]), table([("v", 0, "walk", A, 0.5)])
    path = tmp_path / "part.npz"
    frame_partial(truth, found, "dense").save(path)
    with np.load(path) as content:
        arrays = dict(content)
    if what == "nothing":
        path.unlink()
    elif what == "text":
        path.write_text("a,b")
    else:
        about = str(arrays["about"])
        changes = {
            "columns": {"truths": None},
            "version": {"about": np.array(about.replace("partial-1", "partial-9"))},
            "shape": {"start": arrays["start"][1:]},
            "type": {"correct": arrays["correct"].astype(np.int64)},
            "nan": {"score": arrays["score"] * np.nan},
        }[what]
        arrays |= changes
        np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    with pytest.raises(
        InputError, match={"nothing": "no such file", "text": "npz"}.get(what, "partial")
    ):
        FramePartial.load(path)


@pytest.mark.parametrize("size", [1 << 11, 1 << 14, 1 << 26])
def test_a_csv_file_is_scored_by_video_without_being_held(golden, tmp_path, monkeypatch, size):
    monkeypatch.setattr("stad_eval.formats.ava_shards.SHARD", size)
    monkeypatch.setattr("stad_eval.formats.ava_rows.BLOCK", 1 << 10)
    folder = golden / "eval" / "ava_tiny_ties"
    names = read_label_map(golden / "eval" / "ava_labelmap.pbtxt")
    truth = read_ava_csv(folder / "gt.csv", classes=names)
    found = read_ava_csv(folder / "det.csv", classes=names, column_8="score")
    exclude = read_ava_frames(folder / "excl.csv")
    whole = frame_map(truth, found, "ava-v2.2", exclude=exclude)
    shards = ava_shards(truth, folder / "det.csv", classes=names, folder=tmp_path)
    streamed = frame_map_streamed(shards, "ava-v2.2", exclude=exclude)[0.5]
    assert streamed.to_json() == whole.to_json()
    assert not list(tmp_path.iterdir())


def test_a_csv_file_without_detections_has_truth_all_the_same(tmp_path, table):
    (tmp_path / "det.csv").write_text("")
    truth = table([("v", 0, "walk", A)], annotated=[("v", 0), ("v", 1)])
    shards = list(ava_shards(truth, tmp_path / "det.csv", classes=truth.classes))
    assert frame_map_streamed(shards, "keyframes")[0.5].mean == 0.0
    (tmp_path / "det.csv").write_text("v,1,0,0,1,1,1,0.5\nv,1,0,0,1,1,9,0.5\n")
    with pytest.raises(InputError, match="row 2: action without a name"):
        list(ava_shards(truth, tmp_path / "det.csv", classes=truth.classes))
