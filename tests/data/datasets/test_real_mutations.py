"""Every real annotation file, each mutated 1,000 times: a dataset or a clear error, in time.

The large files are cut to their first videos for that, and mutated whole a few times besides. What
still reads of AVA's rows is compared with a plain reading of the same text.
"""

import csv
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from stad_data.datasets import ava, davis, jhmdb, multisports, ucf24, ucf_sports
from stad_data.datasets.class_lists import read_class_list
from stad_data.datasets.proposals import read_proposals
from stad_eval import InputError, read_ava_frames, safe_pickle
from stad_eval.formats.ava_csv import read_ava_rows


@dataclass(frozen=True)
class Target:
    """A file to be mutated, and how it is read."""

    path: Path
    read: Callable[[], object]


# --- where each file lies, and how it is read ----------------------------------------------------


def copied(source: Path, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, path)
    return path


def single(name: str, read: Callable[[Path], object]):
    """A file that is read alone."""

    def make(real: Path, folder: Path) -> Target:
        path = copied(real / name, folder / name.rpartition("/")[2])
        return Target(path, lambda: read(path))

    return make


def ava_rows(name: str, labels: str, lines: int | None = None):
    """Rows of AVA, and the same rows read plainly."""

    def make(real: Path, folder: Path) -> Target:
        path = folder / "ava_val_v2.2.csv"
        text = (real / name).read_text().splitlines(keepends=True)
        path.write_text("".join(text[:lines]))

        def read() -> None:
            found = ava.read(path, label_map=real / labels, missing="keep", size=(640, 480))
            assert marks(found) == plain_marks(path, found)

        return Target(path, read)

    return make


def marks(found) -> set[tuple]:
    """(video, second, box in 1/1000, class id) of all labels."""
    ids = found.classes.ids
    return {
        (video.video, int(second), *np.round(box / [640, 480, 640, 480], 6).tolist(), ids[label])
        for video in (*found.train, *found.test)
        for frame, second in zip(video.keyframes.tolist(), video.timestamps.tolist(), strict=True)
        for box, labels in zip(video.at(frame).boxes, video.at(frame).labels, strict=True)
        for label in np.flatnonzero(labels).tolist()
    }


def plain_marks(path: Path, found) -> set[tuple]:
    """The same from the text, without anything of ours."""
    wanted: set[tuple] = set()
    with path.open(newline="", encoding="utf-8-sig") as stream:
        for fields in csv.reader(stream):
            if len(fields) > 2 and int(fields[6]) in found.classes.ids:
                box = np.round(np.clip([float(side) for side in fields[2:6]], 0, 1), 6)
                wanted.add((fields[0], int(fields[1]), *box.tolist(), int(fields[6])))
    return wanted


def split_list(real: Path, folder: Path) -> Target:
    """One class's list of JHMDB, beside its masks."""
    name = "wave"
    path = copied(
        real / f"jhmdb/splits/{name}_test_split1.txt",
        folder / "splits" / f"{name}_test_split1.txt",
    )
    for kind in ("puppet_mask", "videos"):
        (folder / kind).mkdir()
        (folder / kind / name).symlink_to(real / "jhmdb" / kind / name)
    return Target(path, lambda: jhmdb.read(folder))


def puppet_mask(real: Path, folder: Path) -> Target:
    source = next(iter(sorted((real / "jhmdb/puppet_mask").glob("*/*/puppet_mask.mat"))))
    path = copied(source, folder / "puppet_mask.mat")
    return Target(path, lambda: jhmdb.mask_boxes(jhmdb.read_mask(path)))


def ucf24_file(name: str, *, whole: bool = False):
    """One of UCF101-24's files, cut to one video of each class, with the list of test videos."""

    def make(real: Path, folder: Path) -> Target:
        path = copied(real / "ucf24" / name, folder / name)
        lists = (real / "ucf24/testlist01.txt").read_text()
        if not whole:
            kept = cut(path)
            lists = "".join(line for line in lists.splitlines(True) if line.split()[0] in kept)
        (folder / "testlist01.txt").write_text(lists)
        return Target(path, lambda: ucf24.read(folder, annotations=path, missing="keep"))

    return make


def cut(path: Path) -> set[str]:
    """Leave the first video of each class in the file; the names of those."""
    if path.suffix == ".mat":
        videos = loadmat(path)["annot"]
        first = {
            str(v["name"][0]).partition("/")[0]: n for n, v in reversed(list(enumerate(videos[0])))
        }
        savemat(path, {"annot": videos[:, sorted(first.values())]}, do_compression=True)
        return {str(videos[0, number]["name"][0]) for number in first.values()}
    content = safe_pickle.load(path)
    db = content.get("db", content)
    first = {video.partition("/")[0]: video for video in reversed(list(db))}
    kept = {video: db[video] for video in first.values()}
    path.write_bytes(pickle.dumps({**content, "db": kept} if "db" in content else kept))
    return {str(video) for video in kept}


def test_list(real: Path, folder: Path) -> Target:
    target = ucf24_file("pyannot.pkl")(real, folder)
    return Target(folder / "testlist01.txt", target.read)


test_list.__test__ = False


def unpacked_sports(real: Path, folder: Path) -> Target:
    """The text file of one image, among the others of its clip."""
    import tarfile

    with tarfile.open(real / "ucf_sports/annotations.tar.gz") as packed:
        clip = [m for m in packed.getmembers() if "/Lifting/001/" in f"/{m.name}" and m.isfile()]
        packed.extractall(folder, members=clip, filter="data")
    path = sorted(folder.glob("*/Lifting/001/gt/*.txt"))[3]
    return Target(path, lambda: ucf_sports.read(folder, missing="keep"))


def index_mask(name: str):
    """A DAVIS mask among others of its film."""

    def make(real: Path, folder: Path) -> Target:
        source = real / "davis/results" / name
        for frame in range(3):
            copied(source / f"{frame:05d}.png", folder / "film" / f"{frame:05d}.png")
        return Target(folder / "film" / "00001.png", lambda: davis.read(folder, missing="keep"))

    return make


LABELS = "ava/ava_action_list_v2.1_for_activitynet_2018.pbtxt"
SAMPLES = "ava/samples"
FILES = {
    "pose excerpt": ava_rows("ava/ava_val_v2.1_pose.csv", LABELS, 300),
    "v2.2 head": ava_rows("ava/v2.2_excerpt/head_verbatim.csv", LABELS),
    "v2.2 tail": ava_rows("ava/v2.2_excerpt/tail_verbatim.csv", LABELS),
    "sample rows": ava_rows(f"{SAMPLES}/ava_dataset/ava_sample.csv", LABELS),
    "sample truth": ava_rows(
        f"{SAMPLES}/eval_detection/gt.csv", f"{SAMPLES}/eval_detection/action_list.txt"
    ),
    "excluded": single(
        f"{SAMPLES}/ava_dataset/ava_excluded_timestamps_sample.csv", read_ava_frames
    ),
    "action list": single(LABELS, read_class_list),
    "action list csv": single("ava/ava_action_list_v2.0.csv", read_class_list),
    "label map": single("ava/label_map_60.txt", read_class_list),
    "sample labels": single(f"{SAMPLES}/eval_detection/action_list.txt", read_class_list),
    "file names": single("ava/ava_file_names_trainval_v2.1.txt", ava.read_file_names),
    "test names": single("ava/ava_file_names_test_v2.1.txt", ava.read_file_names),
    "proposals": single(f"{SAMPLES}/ava_dataset/ava_proposals_sample.pkl", read_proposals),
    "more proposals": single(f"{SAMPLES}/eval_detection/proposal.pkl", read_proposals),
    "multisports": single(
        "multisports/gt_sample.pkl", lambda path: multisports.read(path, missing="keep")
    ),
    "multisports csv": single(
        "multisports/multisports_sample.csv",
        lambda path: multisports.read_csv(path, missing="keep", size=(1280, 720)),
    ),
    "multisports labels": single("multisports/label_map.txt", read_class_list),
    "db info": single("davis/data/db_info.yaml", davis.read_sequences),
    "mask": index_mask("semi-supervised/osvos/judo"),
    "another mask": index_mask("unsupervised/rvos/shooting"),
    "joints": single(
        "jhmdb/joint_positions_sample/joint_positions.mat", lambda path: jhmdb.read_joints(path)
    ),
    "split list": split_list,
    "puppet mask": puppet_mask,
    "ucf24": ucf24_file("pyannot.pkl"),
    "ucf24 with names": ucf24_file("pyannot_with_class_names.pkl"),
    "ucf24 matlab": ucf24_file("finalAnnots.mat"),
    "ucf24 list": test_list,
    "ucf-sports line": unpacked_sports,
}
WHOLE = {
    "pose": single("ava/ava_val_v2.1_pose.csv", read_ava_rows),
    "ucf24": ucf24_file("pyannot.pkl", whole=True),
    "ucf24 with names": ucf24_file("pyannot_with_class_names.pkl", whole=True),
    "ucf24 matlab": ucf24_file("finalAnnots.mat", whole=True),
    "ucf-sports": single(
        "ucf_sports/annotations.tar.gz", lambda path: ucf_sports.read(path, missing="keep")
    ),
}
# What runs in CI, and what is run by hand before a release.
TIMES = [pytest.param(60, marks=pytest.mark.slow), pytest.param(1000, marks=pytest.mark.soak)]
TIMES_WHOLE = [pytest.param(4, marks=pytest.mark.slow), pytest.param(40, marks=pytest.mark.soak)]


@pytest.mark.parametrize("name", FILES)
def test_a_few_mutations(real_data, tmp_path, survives, name):
    target = FILES[name](real_data, tmp_path)
    survives(target.path, target.read, 8)


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("name", FILES)
def test_many_mutations(real_data, tmp_path, survives, name, times):
    target = FILES[name](real_data, tmp_path)
    survives(target.path, target.read, times)


@pytest.mark.parametrize("times", TIMES_WHOLE)
@pytest.mark.parametrize("name", WHOLE)
def test_mutations_of_whole_large_files(real_data, tmp_path, survives, name, times):
    target = WHOLE[name](real_data, tmp_path)
    survives(target.path, target.read, times)


# --- files that want to run code -----------------------------------------------------------------


class Runs:
    """Pickled, it asks the reader to make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


PICKLES = {
    "ucf24": lambda path: ucf24.read(path.parent, annotations=path, missing="keep"),
    "multisports": lambda path: multisports.read(path, missing="keep"),
    "proposals": read_proposals,
}


@pytest.mark.parametrize("name", PICKLES)
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_hostile_pickles_never_run(tmp_path, name, protocol):
    proof, path = tmp_path / "ran", tmp_path / "gt.pkl"
    for content in (Runs(proof), {"db": {"a": Runs(proof)}}, {"labels": [Runs(proof)]}):
        path.write_bytes(pickle.dumps(content, protocol=protocol))
        with pytest.raises(InputError) as error:
            PICKLES[name](path)
        assert error.value.path == path
        assert not proof.exists()


def test_mat_files_that_hold_functions_and_objects_never_run(tmp_path):
    """MATLAB's own function handles, objects and Java objects are passed over as opaque."""
    path = tmp_path / "puppet_mask.mat"
    for kind in (3, 16, 17, 18):  # object, function, opaque: mxCLASS numbers of the format
        path.write_bytes(mat_of_class(kind))
        with pytest.raises(InputError) as error:
            jhmdb.read_mask(path)
        assert error.value.path == path


def mat_of_class(kind: int) -> bytes:
    """A file with one variable of a MATLAB class that holds a name of code."""
    import struct

    flags = struct.pack("<IIII", 6, 8, kind, 0)
    shape = struct.pack("<IIii", 5, 8, 1, 1)
    name = struct.pack("<II", 1, 9) + b"part_mask" + bytes(7)
    code = struct.pack("<II", 1, 16) + b"system('touch x'"
    body = flags + shape + name + code
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    return header + struct.pack("<II", 14, len(body)) + body
