"""Splits: nested, stratified, the same for a seed; files that say what is wrong with them."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_data import Track, VideoAnnotation
from stad_data.splits import Split, labelled_split, read_split, unannotated, write_split
from stad_eval import InputError


def video(name, labels, classes=5):
    """A video whose only actor has these labels; without labels it has no actor."""
    held = np.zeros((1, classes), bool)
    held[0, list(labels)] = True
    tracks = [Track(actor=0, frames=[0], boxes=[[0, 0, 4, 4]], labels=held)] if labels else []
    return VideoAnnotation(
        video=name,
        path=Path(f"{name}.mp4"),
        num_frames=3,
        size=(8, 8),
        fps=None,
        tracks=tuple(tracks),
        keyframes=np.arange(3),
        num_classes=classes,
    )


def videos(counts):
    """That many videos of each class, mixed."""
    names = [(label, at) for label, count in enumerate(counts) for at in range(count)]
    order = np.random.default_rng(0).permutation(len(names))
    return [video(f"class{names[i][0]} {names[i][1]}", [names[i][0]]) for i in order]


COUNTS = st.lists(st.integers(0, 25), min_size=1, max_size=5).filter(sum)


@settings(deadline=None, max_examples=40)
@given(counts=COUNTS, seed=st.integers(0, 99), shares=st.lists(st.floats(0.01, 1), min_size=2))
def test_splits_of_a_seed_are_nested_and_of_the_right_size(counts, seed, shares):
    annotations = videos(counts)
    before: set[str] = set()
    for share in sorted(shares):
        split = labelled_split(annotations, share=share, seed=seed)
        assert len(split.labelled) == max(1, round(share * len(annotations)))
        assert before <= set(split.labelled)
        before = set(split.labelled)
        assert [v.video for v in annotations if v.video in before] == list(split.labelled)
        assert sorted((*split.labelled, *split.unlabelled)) == sorted(v.video for v in annotations)


@settings(deadline=None, max_examples=40)
@given(counts=COUNTS, seed=st.integers(0, 99), share=st.floats(0.01, 1))
def test_every_class_is_met_and_none_out_of_proportion(counts, seed, share):
    split = labelled_split(videos(counts), share=share, seed=seed)
    met = Counter(name.split()[0] for name in split.labelled)
    there = {f"class{label}": count for label, count in enumerate(counts) if count}
    if len(split.labelled) >= len(there):
        assert set(met) == set(there)
    else:
        assert max(met.values()) == 1
    for name, count in there.items():
        # Half a video of rounding here, at most that of every class in the common threshold.
        slack = 1 + len(there) * (0.5 + count / sum(counts))
        assert abs(met[name] - share * count) <= slack


def test_classes_of_one_size_share_alike():
    split = labelled_split(videos([20, 20, 20]), share=0.3, seed=3)
    assert Counter(name.split()[0] for name in split.labelled) == {f"class{i}": 6 for i in range(3)}


def test_seeds_draw_other_videos():
    annotations = videos([10, 10])
    drawn = {labelled_split(annotations, share=0.2, seed=seed).labelled for seed in range(8)}
    assert len(drawn) > 4
    again = labelled_split(annotations, share=0.2, seed=5)
    assert again == labelled_split(annotations, share=0.2, seed=5)


def test_a_video_stands_for_its_rarest_class():
    annotations = [video(f"common {i}", [0]) for i in range(9)] + [video("rare", [0, 3])]
    split = labelled_split(annotations, share=0.2, seed=0)
    assert "rare" in split.labelled
    assert len(split.labelled) == 2


def test_videos_without_classes_come_after_the_first_of_every_class():
    annotations = [video(f"none {i}", []) for i in range(8)] + [video("one", [1])]
    assert labelled_split(annotations, share=0.1, seed=0).labelled == ("one",)
    bare = [replace(v, tracks=(), num_classes=0) for v in annotations]
    assert len(labelled_split(bare, share=0.5, seed=0).labelled) == 4


def test_the_unlabelled_lose_their_annotation():
    annotations = videos([4, 4])
    split = labelled_split(annotations, share=0.5, seed=1)
    labelled, unlabelled = split.parts(annotations)
    assert tuple(v.video for v in labelled) == split.labelled
    assert tuple(v.video for v in unlabelled) == split.unlabelled
    assert all(v.tracks for v in labelled)
    for part in unlabelled:
        assert (part.tracks, len(part.keyframes), part.masks) == ((), 0, None)
        assert (part.num_classes, part.num_frames) == (5, 3)
    assert unannotated(replace(annotations[0], timestamps=np.arange(3))).timestamps is None


def test_a_split_comes_back_from_its_file(tmp_path):
    annotations = videos([4, 7, 2])
    split = labelled_split(annotations, share=0.3, seed=2)
    write_split(tmp_path / "split.txt", split)
    assert read_split(tmp_path / "split.txt", annotations) == split
    assert read_split(tmp_path / "split.txt") == split
    text = (tmp_path / "split.txt").read_text()
    assert text.startswith("# 4 labelled, 9 unlabelled videos\nlabelled class")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("labelled a\nunlabeled b\n", "row 2: not a line"),
        ("labelled a\n\nlabelled\n", "row 3: not a line"),
        ("labelled a\n# a note\nunlabelled a\n", "row 3: video 'a' is listed twice.*row 1"),
        ("unlabelled a\nunlabelled b\n", "without labelled"),
        ("", "without labelled"),
        ("labelled a\nunlabelled c\nunlabelled b\n", "not in the dataset.*found 1: c"),
        ("labelled a\n", "leaves videos.*found 1: b"),
    ],
)
def test_damaged_files_are_refused_by_row(tmp_path, text, message):
    (tmp_path / "split.txt").write_text(text)
    with pytest.raises(InputError, match=rf"split\.txt.*{message}"):
        read_split(tmp_path / "split.txt", [video("a", [0]), video("b", [1])])


def test_absent_and_binary_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_split(tmp_path / "nowhere.txt")
    (tmp_path / "split.txt").write_bytes(b"labelled a\nlabelled \xff\n")
    with pytest.raises(InputError, match="row 2: not a text"):
        read_split(tmp_path / "split.txt")


@pytest.mark.parametrize("name", ["a\nb", " a", ""])
def test_names_that_a_file_cannot_hold_are_refused(tmp_path, name):
    with pytest.raises(InputError, match="cannot hold"):
        write_split(tmp_path / "split.txt", Split(labelled=(name,), unlabelled=()))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("labelled", "unlabelled"), [((), ("a",)), (("a", "a"), ()), (("a",), ("b", "a"))]
)
def test_splits_that_cannot_be_are_refused(labelled, unlabelled):
    with pytest.raises(InputError, match="split"):
        Split(labelled=labelled, unlabelled=unlabelled)


def test_a_split_of_another_dataset_is_refused():
    split = Split(labelled=("a",), unlabelled=("b",))
    with pytest.raises(InputError, match="not in the dataset"):
        split.parts([video("a", [0])])
    with pytest.raises(InputError, match="leaves videos"):
        split.parts([video(name, [0]) for name in "abc"])


@pytest.mark.parametrize("share", [0, -0.1, 1.1, float("nan")])
def test_shares_that_cannot_be_are_refused(share):
    with pytest.raises(InputError, match="share"):
        labelled_split(videos([3]), share=share, seed=0)
    with pytest.raises(InputError, match="0 videos"):
        labelled_split([], share=0.5, seed=0)


def test_twice_the_same_name_is_refused():
    with pytest.raises(InputError, match="twice"):
        labelled_split([video("a", [0]), video("a", [0])], share=0.5, seed=0)


def test_splits_of_jhmdb_hold_every_class(real_jhmdb):
    """Split 1 has 660 training videos of 21 classes."""
    train = real_jhmdb.train
    there = Counter(annotation.video.split("/")[0] for annotation in train)
    for share, labelled in ((0.05, 33), (0.1, 66), (0.15, 99), (0.2, 132), (0.3, 198)):
        split = labelled_split(train, share=share, seed=0)
        assert len(split.labelled) == labelled
        met = Counter(name.split("/")[0] for name in split.labelled)
        assert set(met) == set(there)
        assert max(abs(met[name] - share * count) for name, count in there.items()) <= 1
