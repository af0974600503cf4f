"""UCF101-24: the same tubes from all three annotation files, box by box."""

import pickle

import numpy as np
import pytest
from scipy.io import savemat

from stad_data import VideoReader, clips
from stad_data.datasets import ucf24
from stad_eval import InputError


def matlab(content: dict) -> dict:
    """The pickle's content as finalAnnots.mat holds it: frames and classes from 1."""
    videos = np.zeros((1, len(content)), dtype=[(n, "O") for n in ("num_imgs", "name", "tubes")])
    for at, (name, value) in enumerate(content.items()):
        tubes = np.zeros(
            (1, len(value["annotations"])), dtype=[(n, "O") for n in ("ef", "sf", "class", "boxes")]
        )
        for number, tube in enumerate(value["annotations"]):
            first, last = np.uint8(tube["sf"] + 1), np.uint16(tube["ef"])
            tubes[0, number] = (last, first, np.uint8(tube["label"] + 1), tube["boxes"])
        videos[0, at] = (np.uint8(value["numf"]), str(name), tubes)
    return {"annot": videos}


@pytest.fixture
def all_three(ucf24_root):
    """The small set, with its annotation in three files."""
    content = pickle.loads((ucf24_root / "pyannot.pkl").read_bytes())
    savemat(ucf24_root / "finalAnnots.mat", matlab(content), do_compression=True)
    named = {
        "db": content,
        "trainvideos": ["Diving/v_Diving_g08_c01", "Diving/v_gone", "Biking/v_Biking_g08_c01"],
        "classes": ["Biking", "Diving"],
    }
    (ucf24_root / "pyannot_with_class_names.pkl").write_bytes(pickle.dumps(named))
    return ucf24_root


@pytest.mark.parametrize("name", ucf24.ANNOTATION_FILES)
def test_every_file_gives_the_same_dataset(all_three, assert_same, name):
    expected = ucf24.read(all_three, annotations=all_three / "pyannot.pkl")
    assert_same(ucf24.read(all_three, annotations=all_three / name), expected)
    for other in ucf24.ANNOTATION_FILES:
        if other != name:
            (all_three / other).unlink()
    assert_same(ucf24.read(all_three), expected)


def test_without_a_list_the_file_names_its_training_videos(all_three):
    (all_three / "testlist01.txt").unlink()
    named = all_three / "pyannot_with_class_names.pkl"
    data = ucf24.read(all_three, annotations=named)
    assert [v.video for v in data.train] == ["Diving/v_Diving_g08_c01", "Biking/v_Biking_g08_c01"]
    assert [v.video for v in data.test] == ["Diving/v_Diving_g01_c01"]


def test_without_any_list_the_recordings_tell_the_parts(all_three):
    (all_three / "testlist01.txt").unlink()
    data = ucf24.read(all_three)
    assert [v.video for v in data.test] == ["Diving/v_Diving_g01_c01"]
    assert [v.video for v in data.train] == ["Biking/v_Biking_g08_c01", "Diving/v_Diving_g08_c01"]
    other = ucf24.read(all_three, split=2)
    assert [v.video for v in other.train] == ["Diving/v_Diving_g01_c01"]
    for split in (3, 4):
        with pytest.raises(InputError, match=rf"testlist0{split}\.txt.*no list"):
            ucf24.read(all_three, split=split)
    (all_three / "testlist01.txt").write_text("Biking/v_Biking_g08_c01\n")
    with pytest.raises(InputError, match=r"testlist02\.txt.*no list"):
        ucf24.read(all_three, split=2)


def test_lists_may_lie_in_a_folder_of_their_own(all_three):
    (all_three / "splitfiles").mkdir()
    (all_three / "testlist01.txt").rename(all_three / "splitfiles" / "testlist01.txt")
    (all_three / "splitfiles" / "testlist01.txt").write_text("Biking/v_Biking_g08_c01\n")
    assert [v.video for v in ucf24.read(all_three).test] == ["Biking/v_Biking_g08_c01"]


@pytest.mark.parametrize("name", ucf24.ANNOTATION_FILES)
def test_the_root_may_be_the_annotation_file(all_three, assert_same, name):
    assert_same(ucf24.read(all_three / name), ucf24.read(all_three))
    assert ucf24.absent_videos(all_three / name) == []


def test_absent_videos_are_refused_skipped_or_kept(all_three):
    (all_three / "videos" / "v_Diving_g01_c01.mp4").unlink()
    with pytest.raises(InputError, match="1 of 3 annotated videos have no file"):
        ucf24.read(all_three)
    assert ucf24.read(all_three, missing="skip").test == ()
    (kept,) = ucf24.read(all_three, missing="keep").test
    assert kept.path == all_three / "videos" / "v_Diving_g01_c01.mp4"
    assert kept.num_boxes == 4
    for name in ucf24.ANNOTATION_FILES:
        found = ucf24.absent_videos(all_three, annotations=all_three / name)
        assert found == ["Diving/v_Diving_g01_c01"]


@pytest.mark.parametrize(
    ("key", "value"),
    [("classes", ["Diving", "Biking"]), ("classes", None), ("trainvideos", 3), ("db", {})],
)
def test_a_contradictory_named_file_is_refused(all_three, key, value):
    path = all_three / "pyannot_with_class_names.pkl"
    content = pickle.loads(path.read_bytes())
    path.write_bytes(pickle.dumps({**content, key: value}))
    with pytest.raises(InputError) as error:
        ucf24.read(all_three, annotations=path)
    assert error.value.path == path


@pytest.mark.parametrize(
    "content",
    [
        {"other": np.ones(3)},
        {"annot": np.ones(3)},
        {"annot": "words"},
        {"annot": {"num_imgs": 4, "name": "Biking/a", "tubes": 5}},
        {"annot": {"num_imgs": 4, "name": 7, "tubes": {"ef": 2}}},
        {"annot": {"num_imgs": 4, "tubes": {"ef": 2, "sf": 1, "class": 1, "boxes": 1}}},
    ],
)
def test_a_matlab_file_of_another_form_is_refused(all_three, content):
    path = all_three / "finalAnnots.mat"
    savemat(path, content)
    with pytest.raises(InputError) as error:
        ucf24.read(all_three, annotations=path)
    assert error.value.path == path


def test_damaged_files_never_escape(all_three, survives):
    for name in ucf24.ANNOTATION_FILES:
        path = all_three / name
        refused = survives(path, lambda path=path: ucf24.read(all_three, annotations=path), 150)
        assert refused > 50
    lists = all_three / "testlist01.txt"
    assert survives(lists, lambda: ucf24.read(all_three), 100) > 20


@pytest.fixture(scope="module")
def real_three(real_data):
    root = real_data / "ucf24"
    return [
        ucf24.read(root, missing="keep", annotations=root / name) for name in ucf24.ANNOTATION_FILES
    ]


def test_real_tubes_agree_box_by_box(real_three, assert_same):
    """4,458 tubes and 573,862 boxes, of which one file counts from 1 and inclusively."""
    first, *others = real_three
    videos = (*first.train, *first.test)
    assert (len(videos), len(first.train), len(first.test)) == (3194, 2284, 910)
    assert sum(len(video.tracks) for video in videos) == 4458
    assert sum(video.num_boxes for video in videos) == 573_862
    for other in others:
        assert_same(other, first)


def test_real_boxes_fill_the_frame(real_three):
    boxes = np.concatenate([t.boxes for v in real_three[0].train for t in v.tracks])
    assert boxes[:, :2].min(axis=0).tolist() == [0, 0]
    assert boxes[:, 2:].max(axis=0).tolist() == [320, 240]


def test_real_classes_first_and_last(real_three):
    data = real_three[0]
    assert len(data.classes) == 24
    assert (data.classes.names[0], data.classes.names[-1]) == ("Basketball", "WalkingWithDog")
    assert list(data.classes.names) == sorted(data.classes.names)
    assert data.protocol == "ucf24"
    assert data.test[0].video == "Basketball/v_Basketball_g01_c01"
    first = data.test[0].tracks[0]
    assert (first.frames[0], first.frames[-1]) == (8, 51)
    assert first.boxes[0].tolist() == [188, 101, 236, 180]


def test_the_real_training_list_has_six_videos_too_many(real_data):
    from stad_eval import safe_pickle

    named = safe_pickle.load(real_data / "ucf24/pyannot_with_class_names.pkl")
    assert len(named["trainvideos"]) == 2290
    assert len(named["classes"]) == 24
    assert len({*named["trainvideos"]} & {str(key) for key in named["db"]}) == 2284


def test_real_lists_of_the_two_families(real_data, real_three):
    """Both name the same 910 test videos here; the other family trains on nine more."""
    root = real_data / "ucf24"
    tests = ("testlist01", "lists/new_ucf101_24_test", "lists/ucf101_24_anno_test_list")
    found = [names_in(root / f"{name}.txt") for name in (*tests, "lists/moc_test_video_list")]
    assert [len(names) for names in found] == [910] * 4
    assert len(set.union(*found)) == 910
    other = names_in(root / "lists/ucf101_24_anno_train_list.txt")
    ours = {video.video.rpartition("/")[2] for video in real_three[0].train}
    assert (len(other), len(ours)) == (2293, 2284)
    assert ours < other


def names_in(path) -> set[str]:
    lines = path.read_text().split("\n")
    return {line.split()[0].rpartition("/")[2].removesuffix(".mp4") for line in lines if line}


def test_real_videos_are_larger_than_their_boxes_frame(real_data):
    data = ucf24.read(real_data / "ucf24", missing="skip")
    assert len(data.test) == 4
    assert data.train == ()
    for video in data.test:
        with VideoReader(video.path) as reader:
            assert reader.num_frames == video.num_frames
            assert reader.size == (340, 256)
        assert video.size == (320, 240)
        frame = int(video.tracks[0].frames[0])
        clip = clips.centred(video, frame, length=1, stride=1)
        assert clip.frames.shape[1:3] == (256, 340)
        scale = np.array([340 / 320, 256 / 240, 340 / 320, 256 / 240])
        np.testing.assert_allclose(clip.boxes, video.at(frame).boxes * scale, rtol=1e-6)
