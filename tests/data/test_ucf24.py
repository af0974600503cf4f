"""UCF101-24: corners from narrow integers, tubes with their spans, lists that belong together."""

import pickle
import re

import numpy as np
import pytest
from scipy.io import loadmat

from stad_data import VideoReader, clips
from stad_data.datasets import ucf24
from stad_eval import InputError


def rewrite(root, change) -> None:
    path = root / "pyannot.pkl"
    content = pickle.loads(path.read_bytes())
    change(content)
    path.write_bytes(pickle.dumps(content))


def test_reads_tubes_with_their_spans(ucf24_root):
    data = ucf24.read(ucf24_root)
    assert data.classes.names == ("Biking", "Diving")
    assert data.classes.exclusive
    assert data.protocol == "dense"
    assert [a.video for a in data.train] == ["Biking/v_Biking_g08_c01", "Diving/v_Diving_g08_c01"]
    assert [a.video for a in data.test] == ["Diving/v_Diving_g01_c01"]
    video = data.train[1]
    assert video.tracks[0].frames.tolist() == [3, 4, 5, 6, 7, 8]
    assert (video.num_frames, video.size) == (12, (320, 240))
    assert video.keyframes.tolist() == list(range(12))
    assert video.at(3).labels.tolist() == [[False, True]]


def test_corners_are_inclusive_and_do_not_overflow(ucf24_root):
    """The file's uint8 box x=200, y=10, w=100, h=50 covers columns 200..300 counted from 1."""
    video = ucf24.read(ucf24_root).test[0]
    assert video.at(0).boxes.tolist() == [[199, 9, 300, 60]]


def test_a_box_over_the_whole_frame_fills_it(ucf24_root):
    def widen(content):
        boxes = np.tile(np.array([1, 1, 319, 239], np.uint16), (4, 1))
        content["Biking/v_Biking_g08_c01"]["annotations"][0]["boxes"] = boxes

    rewrite(ucf24_root, widen)
    assert ucf24.read(ucf24_root).train[0].at(0).boxes.tolist() == [[0, 0, 320, 240]]


def test_boxes_are_scaled_to_the_files_size(ucf24_root):
    clip = clips.centred(ucf24.read(ucf24_root).test[0], 1, length=2, stride=1)
    assert clip.size == (64, 48)
    np.testing.assert_allclose(clip.boxes, [[199 / 5, 9 / 5, 60, 12]], rtol=1e-6)
    np.testing.assert_allclose(clip.placement.to_source(clip.boxes), [[199, 9, 300, 60]], rtol=1e-5)


def test_several_tubes_are_several_actors(ucf24_root, ucf24_entry):
    def add(content):
        entry = content["Diving/v_Diving_g01_c01"]
        entry["annotations"] += ucf24_entry(1, first=2, last=6)["annotations"]

    rewrite(ucf24_root, add)
    video = ucf24.read(ucf24_root).test[0]
    assert video.at(3).actors.tolist() == [0, 1]
    assert video.at(5).actors.tolist() == [1]


def test_videos_are_found_in_class_folders(ucf24_root):
    videos = ucf24_root / "videos"
    (videos / "Diving").mkdir()
    moved = videos / "Diving" / "v_Diving_g01_c01.avi"
    (videos / "v_Diving_g01_c01.mp4").rename(moved)
    assert ucf24.read(ucf24_root).test[0].path == moved


def test_absent_videos_are_refused_or_skipped(ucf24_root):
    (ucf24_root / "videos" / "v_Biking_g08_c01.mp4").unlink()
    with pytest.raises(InputError, match="1 of 3 annotated videos have no file") as error:
        ucf24.read(ucf24_root)
    assert "v_Biking_g08_c01" in str(error.value)
    assert ucf24.absent_videos(ucf24_root) == ["Biking/v_Biking_g08_c01"]
    data = ucf24.read(ucf24_root, missing="skip")
    assert [a.video for a in data.train] == ["Diving/v_Diving_g08_c01"]
    assert data.classes.names == ("Biking", "Diving")


def test_lists_of_ucf101_may_name_other_classes(ucf24_root):
    text = "Archery/v_Archery_g01_c01.avi\nDiving/v_Diving_g01_c01.avi\n"
    (ucf24_root / "testlist01.txt").write_text(text)
    (ucf24_root / "trainlist01.txt").write_text("Biking/v_Biking_g08_c01.avi 11\n")
    data = ucf24.read(ucf24_root)
    assert [a.video for a in data.test] == ["Diving/v_Diving_g01_c01"]
    assert [a.video for a in data.train] == ["Biking/v_Biking_g08_c01"]


@pytest.mark.parametrize(
    ("text", "message", "row"),
    [
        ("Diving/v_Diving_g01_c01\nDiving/v_Diving_g99_c01\n", "not annotated", 2),
        ("v_Diving_g01_c01\n", "not annotated", 1),
        ("Diving/v_Diving_g01_c01\n\nDiving/v_Diving_g01_c01.avi\n", "listed twice", 3),
    ],
)
def test_bad_lines_are_named(ucf24_root, text, message, row):
    (ucf24_root / "testlist01.txt").write_text(text)
    with pytest.raises(InputError, match=message) as error:
        ucf24.read(ucf24_root)
    assert error.value.row == row


def test_parts_that_share_a_video_are_refused(ucf24_root):
    (ucf24_root / "trainlist01.txt").write_text("Diving/v_Diving_g01_c01\n")
    with pytest.raises(InputError, match="both for training and for test"):
        ucf24.read(ucf24_root)


def test_an_absent_list_is_named(ucf24_root):
    with pytest.raises(InputError, match=r"testlist02\.txt"):
        ucf24.read(ucf24_root, split=2)


def _entry(content):
    return content["Biking/v_Biking_g08_c01"]


def _tube(content):
    return _entry(content)["annotations"][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.clear(), "another form"),
        (lambda c: _entry(c).pop("numf"), "numf: bad number"),
        (lambda c: _tube(c).update(ef=9), "boxes do not fit the frames"),
        (lambda c: _tube(c).update(sf=-1, ef=3), "sf: bad number"),
        (lambda c: _tube(c).update(boxes="none"), "boxes do not fit the frames"),
        (lambda c: _entry(c).update(numf=2), r"annotations\[0\]: a tube outside its video"),
        (lambda c: _entry(c).update(annotations=None), "bad 'annotations'|no 'annotations'"),
        (lambda c: c.update({"Biking/v_Biking_g08_c01": 3}), "bad 'Biking/v_Biking_g08_c01'"),
        (lambda c: _tube(c).update(label=5), "no such class"),
        (lambda c: _entry(c).update(label=1), "does not fit its class folder"),
        (lambda c: _entry(c).update(label=7), "number the classes from 0"),
        (
            lambda c: _tube(c).update(boxes=np.array([[0, 1, 5, 5]] * 4, np.uint8)),
            "outside the frame or of no area",
        ),
        (
            lambda c: _tube(c).update(boxes=np.array([[250, 1, 71, 5]] * 4, np.uint8)),
            "outside the frame or of no area",
        ),
        (
            lambda c: _tube(c).update(boxes=np.array([[9, 9, 0, 5]] * 4, np.uint8)),
            "outside the frame or of no area",
        ),
    ],
)
def test_annotations_that_cannot_be_are_refused(ucf24_root, change, message):
    rewrite(ucf24_root, change)
    with pytest.raises(InputError, match=message) as error:
        ucf24.read(ucf24_root)
    assert error.value.path.name == "pyannot.pkl"


def test_a_hostile_pickle_is_refused(ucf24_root):
    class Hostile:
        def __reduce__(self):
            return print, ("ran",)

    (ucf24_root / "pyannot.pkl").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(InputError, match="print"):
        ucf24.read(ucf24_root)


def test_real_annotations_give_the_published_counts(real_data):
    root = real_data / "ucf24"
    with pytest.raises(InputError, match="3190 of 3194 annotated videos have no file"):
        ucf24.read(root)
    data = ucf24.read(root, missing="skip")
    assert data.protocol == "ucf24"
    assert len(data.classes) == 24
    assert data.classes.names[0] == "Basketball"
    assert data.train == ()
    assert sorted(a.video.rpartition("/")[2] for a in data.test) == sorted(
        path.stem for path in (root / "videos").glob("*.mp4")
    )
    for annotation in data.test:
        with VideoReader(annotation.path) as reader:
            assert reader.num_frames == annotation.num_frames
            assert reader.size == (340, 256)


def test_real_tubes_agree_with_the_matlab_file(real_data):
    """All 4,458 tubes and 573,862 boxes, as another reader of MATLAB files gives them."""
    root = real_data / "ucf24"
    data = ucf24.read(root, missing="keep", annotations=root / "pyannot.pkl")
    annotations = {annotation.video: annotation for annotation in (*data.train, *data.test)}
    assert (len(annotations), len(data.classes)) == (3194, 24)
    tubes = boxes = 0
    for video in loadmat(root / "finalAnnots.mat", struct_as_record=False, squeeze_me=True)[
        "annot"
    ]:
        annotation = annotations[str(video.name)]
        assert annotation.num_frames == video.num_imgs
        for track, tube in zip(annotation.tracks, np.atleast_1d(video.tubes), strict=True):
            span = np.arange(tube.sf - 1, tube.ef)
            np.testing.assert_array_equal(track.frames, span)
            x, y, w, h = np.atleast_2d(tube.boxes).astype(int).T
            np.testing.assert_array_equal(track.boxes, np.stack([x - 1, y - 1, x + w, y + h], 1))
            assert np.flatnonzero(track.labels[0]).tolist() == [getattr(tube, "class") - 1]
            tubes += 1
            boxes += len(track)
    assert (tubes, boxes) == (4458, 573_862)


def test_the_real_split_has_all_annotated_videos(real_data):
    root = real_data / "ucf24"
    data = ucf24.read(root, missing="keep")
    assert (len(data.train), len(data.test)) == (2284, 910)
    groups = {a.video: int(re.search(r"_g(\d+)_", a.video)[1]) for a in (*data.train, *data.test)}
    assert {video for video, group in groups.items() if group <= 7} == {a.video for a in data.test}
    assert len(ucf24.absent_videos(root)) == 3190
