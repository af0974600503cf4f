"""The small real annotation files, each mutated 1,000 times: a dataset or a clear error."""

import shutil

import pytest

from stad_data.datasets import ava, davis, jhmdb, multisports, ucf_sports
from stad_data.datasets.class_lists import read_class_list
from stad_data.datasets.proposals import read_proposals

LABELS = "ava/ava_action_list_v2.1_for_activitynet_2018.pbtxt"

FILES = {
    "ava/v2.2_excerpt/tail_verbatim.csv": lambda path, root: ava.read(
        path, label_map=root / LABELS, missing="keep", size=(640, 480)
    ),
    LABELS: lambda path, _: read_class_list(path),
    "ava/ava_action_list_v2.0.csv": lambda path, _: read_class_list(path),
    "ava/label_map_60.txt": lambda path, _: read_class_list(path),
    "ava/ava_file_names_trainval_v2.1.txt": lambda path, _: ava.read_file_names(path),
    "ava/samples/ava_dataset/ava_proposals_sample.pkl": lambda path, _: read_proposals(path),
    "ava/samples/eval_detection/proposal.pkl": lambda path, _: read_proposals(path),
    "multisports/gt_sample.pkl": lambda path, _: multisports.read(path, missing="keep"),
    "multisports/multisports_sample.csv": lambda path, _: multisports.read_csv(
        path, missing="keep", size=(1280, 720)
    ),
    "davis/data/db_info.yaml": lambda path, _: davis.read_sequences(path),
    "jhmdb/joint_positions_sample/joint_positions.mat": lambda path, _: jhmdb.read_joints(path),
    "ucf_sports/annotations.tar.gz": lambda path, _: ucf_sports.read(path, missing="keep"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_thousand_mutations(real_data, tmp_path, survives, name):
    path = tmp_path / name.rpartition("/")[2]
    shutil.copy(real_data / name, path)
    path.chmod(0o644)
    times = 100 if name.endswith(".gz") else 1000
    assert survives(path, lambda: FILES[name](path, real_data), times) > 0
