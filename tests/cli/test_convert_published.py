"""`stad data convert --to boxes` on the published files: how many rows, the first, the last."""

import tarfile

import pytest

HEADER = "video,frame,label,instance,x1,y1,x2,y2"
NO_VIDEO = ("--size", "640x360")  # AVA's and the CSV form's boxes are shares of the frame

CASES = {
    "jhmdb": (
        ("jhmdb", "jhmdb", "--split", 1, "--part", "test"),
        9_126,
        "brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0,0,brush_hair,0,71,48,248,240",
        "wave/veoh_harold_and_kumar_wave_u_nm_np1_fr_goo_5,37,wave,0,64,43,249,240",
    ),
    "ucf24": (
        ("ucf24", "ucf24", "--part", "test"),
        170_580,
        "Basketball/v_Basketball_g01_c01,8,Basketball,0,188,101,236,180",
        "WalkingWithDog/v_WalkingWithDog_g07_c06,239,WalkingWithDog,0,150,101,175,139",
    ),
    "ucf-sports": (
        ("ucf-sports", "ucf_sports"),
        9_576,
        "Diving-Side/005,0,Diving,0,292,20,481,367",
        "Walk-Front/007,99,Walk,0,509,111,652,403",
    ),
    "multisports": (
        ("multisports", "multisports"),
        224,
        "aerobic_gymnastics/v_crsi07chcV8_c004,287,aerobic bent leg(s) jump,0,562,361,656,600",
        "aerobic_gymnastics/v_crsi07chcV8_c004,700,aerobic illusion,7,632,128,846,665",
    ),
    "multisports, CSV": (
        ("multisports", "multisports/multisports_sample.csv", "--size", "1000x1000"),
        9,
        "aerobic_gymnastics/v_aqMgwPExjD0_c001,376,aerobic pike jump,0,",
        "",
    ),
    "davis": (
        ("davis", "davis/results/semi-supervised/osvos"),
        367,
        "breakdance,0,object,0,220,3,420,452",
        "shooting,39,object,2,497,250,542,438",
    ),
    "davis, one film": (
        ("davis", "davis/results/semi-supervised/osvos/shooting"),
        0,
        "shooting,0,object,0,",
        "shooting,39,object,2,497,250,542,438",
    ),
    "ava, excerpt": (
        ("ava", "ava/v2.2_excerpt/head_verbatim.csv", "--size", "1000x1000"),
        15,
        "1j20qq1JyX4,60,stand,0,",
        "1j20qq1JyX4,180,listen to (a person),",
    ),
    "ava, poses": (
        ("ava", "ava", "--part", "test", *NO_VIDEO),
        93_381,
        "_7oWZq_s_Sk,60,sit,0,",
        "ZosVdkY76FU,26940,run/jog,",
    ),
    "ava, sample": (
        ("ava", "ava/samples/eval_detection/gt.csv", *NO_VIDEO),
        12,
        "3reY9zJKhqN,26220,action3,0,",
        "5HNXoce1raG,5910,action3,3,",
    ),
}


def boxes(stad, real_data, out, source, root, *options):
    outcome = stad("data", "convert", "--from", source, "--root", real_data / root, *options,
                   "--to", "boxes", out)  # fmt: skip
    assert outcome.code == 0, outcome.err
    header, *rows = out.read_text().splitlines()
    assert header == HEADER
    return rows, outcome.out


@pytest.mark.parametrize("name", CASES)
def test_boxes_of_the_published_files(stad, real_data, tmp_path, name):
    arguments, count, first, last = CASES[name]
    rows, _ = boxes(stad, real_data, tmp_path / "boxes.csv", *arguments)
    assert len(rows) == count or count == 0
    assert rows[0].startswith(first)
    assert rows[-1].startswith(last)


def test_a_short_label_map_is_said_to_leave_rows_out(stad, real_data, tmp_path):
    csv, full = "ava/ava_val_v2.1_pose.csv", real_data / "ava/ava_action_list_v2.0.csv"
    rows, said = boxes(stad, real_data, tmp_path / "a.csv", "ava", csv, *NO_VIDEO)
    assert len(rows) == 93_381
    assert "not kept: 19 rows of actions that the label map does not name: 2" in said
    rows, _ = boxes(stad, real_data, tmp_path / "b.csv", "ava", csv, *NO_VIDEO, "--labels", full)
    assert len(rows) == 93_400


@pytest.mark.slow
def test_all_files_of_ucf24_give_the_same_rows(stad, real_data, tmp_path):
    whole, _ = boxes(stad, real_data, tmp_path / "a.csv", "ucf24", "ucf24")
    assert len(whole) == 573_862
    for name in ("pyannot.pkl", "pyannot_with_class_names.pkl", "finalAnnots.mat"):
        rows, _ = boxes(stad, real_data, tmp_path / "b.csv", "ucf24", f"ucf24/{name}")
        assert rows == whole


def test_unpacked_ucf_sports_gives_the_same_rows(stad, real_data, tmp_path):
    packed, _ = boxes(stad, real_data, tmp_path / "a.csv", "ucf-sports", "ucf_sports")
    with tarfile.open(real_data / "ucf_sports/annotations.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    for root in (tmp_path, tmp_path / "Annotations"):
        rows, _ = boxes(stad, root, tmp_path / "b.csv", "ucf-sports", "")
        assert rows == packed


@pytest.mark.parametrize(
    ("source", "root", "message"),
    [
        ("ava", "ava/v2.2_excerpt", "head_verbatim.csv, tail_verbatim.csv. name the CSV"),
        ("ava", "ava/ava_val_v2.1_pose.csv", "--size WxH"),
        ("multisports", "multisports/multisports_sample.csv", "--size WxH"),
        ("ucf24", "jhmdb", "pyannot.pkl"),
        ("jhmdb", "ucf24", "test_split1.txt"),
        ("ucf-sports", "jhmdb", "annotations.tar.gz"),
        ("davis", "davis", "Annotations/480p"),
        ("youtube-vos", "davis", "meta.json"),
        ("cvat", "davis", ".xml"),
        ("label-studio", "jhmdb", ".json"),
        ("json", "jhmdb", ".json"),
        ("coco-video", "jhmdb", ".json"),
        ("act", "jhmdb", ".pkl"),
    ],
)
def test_what_is_missing_is_said(stad, real_data, tmp_path, source, root, message):
    outcome = stad("data", "convert", "--from", source, "--root", real_data / root,
                   "--to", "boxes", tmp_path / "boxes.csv")  # fmt: skip
    assert outcome.code == 2
    assert message in outcome.err
    assert not (tmp_path / "boxes.csv").exists()
