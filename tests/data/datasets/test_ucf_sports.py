"""UCF-Sports: text files, packed or not; classes by folder; boxes without area; the real set."""

import io
import tarfile
from collections import Counter

import numpy as np
import pytest

from stad_data.datasets import ucf_sports
from stad_eval import InputError
from stad_eval.formats.mask_png import write_mask_png

FILES = {
    "Riding-Horse/001/gt/a-9.tif.txt": b"10\t7\t30\t40\tRunning",
    "Riding-Horse/001/gt/a-10.tif.txt": b"11 8 30 40 running",
    "Riding-Horse/001/gt/a-11.tif.txt": b"12\t22\t0\t0\tRunning",
    "Golf-Swing-Side/002/gt/b.jpg.txt": b"1\t1\t5\t6\tArmSwing\n",
    "Golf-Swing-Back/003/gt/c.jpg.txt": b"1\t1\t5\t6\tArmSwing",
    "Juggling/001/gt/d.jpg.txt": b"1\t1\t5\t6\tJuggling",
}


@pytest.fixture
def unpacked(tmp_path):
    root = tmp_path / "unpacked"
    for name, content in FILES.items():
        path = root / "Annotations" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


@pytest.fixture
def packed(tmp_path):
    path = tmp_path / "packed" / "annotations.tar.gz"
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as archive:
        for name, content in FILES.items():
            member = tarfile.TarInfo(f"Annotations/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_both_forms_are_the_same(unpacked, packed, assert_same):
    one = ucf_sports.read(unpacked, missing="keep")
    assert_same(one, ucf_sports.read(packed.parent, missing="keep"))
    assert_same(one, ucf_sports.read(packed, missing="keep"))
    assert one.classes.names == ("Golf", "Juggling", "Riding")
    assert one.protocol == "dense"
    # The first clips of the published classes are for test.
    assert [v.video for v in one.test] == [
        "Golf-Swing-Back/003",
        "Golf-Swing-Side/002",
        "Riding-Horse/001",
    ]
    assert [v.video for v in one.train] == ["Juggling/001"]


def test_frames_are_in_the_order_of_their_numbers(unpacked):
    riding = ucf_sports.read(unpacked, missing="keep").test[-1]
    assert riding.num_frames == 3
    assert riding.keyframes.tolist() == [0, 1, 2]
    (track,) = riding.tracks
    assert track.frames.tolist() == [0, 1]  # the third box has no area
    assert track.boxes.tolist() == [[10, 7, 40, 47], [11, 8, 41, 48]]
    assert riding.size == (41, 48)
    assert ucf_sports.read(unpacked, missing="keep", size=(720, 404)).test[-1].size == (720, 404)


def test_lists_come_first(unpacked):
    (unpacked / "test.txt").write_text("Juggling/001\n")
    data = ucf_sports.read(unpacked, missing="keep")
    assert [v.video for v in data.test] == ["Juggling/001"]
    assert len(data.train) == 3
    (unpacked / "test.txt").write_text("Juggling/009\n")
    with pytest.raises(InputError, match=r"test\.txt, row 1.*without annotation"):
        ucf_sports.read(unpacked, missing="keep")


def test_videos_are_clips_or_images(unpacked, put_video):
    with pytest.raises(InputError, match="4 of 4 annotated videos have no file"):
        ucf_sports.read(unpacked)
    put_video(unpacked / "Riding-Horse" / "001" / "x.avi", number=0, frames=5)
    data = ucf_sports.read(unpacked, missing="skip")
    (riding,) = data.test
    assert (riding.num_frames, riding.fps) == (5, 5)
    assert riding.size == (64, 48)


def test_a_clip_can_be_a_folder_of_images(unpacked):
    folder = unpacked / "Riding-Horse" / "001"
    folder.mkdir(parents=True)
    for number in (9, 10, 11, 12):
        write_mask_png(folder / f"a-{number}.png", np.zeros((48, 64), np.uint8))
    (riding,) = ucf_sports.read(unpacked, missing="skip").test
    assert (riding.path, riding.num_frames, riding.size) == (folder, 4, (64, 48))
    assert riding.keyframes.tolist() == [0, 1, 2]


def test_a_box_outside_its_video_is_refused(unpacked, put_video):
    path = unpacked / "Annotations" / "Riding-Horse/001/gt/a-10.tif.txt"
    path.write_bytes(b"11\t21\t60\t40\tRunning")
    put_video(unpacked / "Riding-Horse" / "001" / "x.avi", number=0, frames=5)
    with pytest.raises(InputError, match=r"a-10\.tif\.txt: .*outside the frame"):
        ucf_sports.read(unpacked, missing="skip")


@pytest.mark.parametrize(
    "content",
    [b"", b"1\t2\t3\t4", b"1\t2\t3\t4\t", b"1,2,3,4,x", b"-1\t2\t3\t4\tx", b"1\t2\t3\t4\tx\n5\t6"],
)
def test_bad_lines_are_named(unpacked, packed, content):
    path = unpacked / "Annotations" / "Riding-Horse/001/gt/a-10.tif.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match="a line of another form") as error:
        ucf_sports.read(unpacked, missing="keep")
    assert error.value.path == path


def test_an_archive_leads_nowhere(packed):
    with tarfile.open(packed, "w:gz") as archive:
        link = tarfile.TarInfo("Annotations/Lifting/001/gt/../../../../../etc/a.txt")
        link.type = tarfile.SYMTYPE
        link.linkname = "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(InputError, match="no UCF-Sports annotation"):
        ucf_sports.read(packed, missing="keep")


def test_a_folder_without_annotation_is_refused(tmp_path):
    with pytest.raises(InputError, match="no UCF-Sports annotation"):
        ucf_sports.read(tmp_path)


def test_damaged_files_never_escape(unpacked, packed, survives):
    path = unpacked / "Annotations" / "Riding-Horse/001/gt/a-10.tif.txt"
    assert survives(path, lambda: ucf_sports.read(unpacked, missing="keep"), 150) > 50
    assert survives(packed, lambda: ucf_sports.read(packed, missing="keep"), 150) > 100


def test_the_real_set(real_data):
    root = real_data / "ucf_sports"
    lines = ucf_sports.read_lines(root)
    assert len(lines) == 150
    assert sum(map(len, lines.values())) == 9580
    assert len({clip.partition("/")[0] for clip in lines}) == 13
    flat = [line for clip in lines.values() for line in clip if 0 in line.box[2:]]
    assert sorted(line.box for line in flat) == [
        (72, 215, 0, 0),
        (388, 126, 0, 0),
        (388, 126, 3, 0),
        (428, 361, 0, 15),
    ]
    names = Counter(line.name for clip in lines.values() for line in clip)
    assert names["Kicking"] == 486
    assert names["kicking"] == 1000 + 230 + 229
    data = ucf_sports.read(root, missing="keep")
    assert (len(data.train), len(data.test)) == (103, 47)
    assert len(data.classes) == 10
    assert data.protocol == "ucfsports"
    assert sum(video.num_boxes for video in (*data.train, *data.test)) == 9576
    first = data.test[0]
    assert first.video == "Diving-Side/001"
    assert first.tracks[0].boxes[0].tolist() == [330, 66, 525, 373]
    sizes = np.array([len(lines[clip]) for clip in lines])
    assert (sizes.min(), sizes.max()) == (22, 144)
