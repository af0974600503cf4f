"""CVAT's XML: tracks with keyframes, hidden stretches and attributes; nothing evil."""

import numpy as np
import pytest

from stad_data.datasets import cvat
from stad_data.datasets.xml_file import read_xml
from stad_eval import InputError

TASK = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta>
    <task>
      <id>1</id><name>street</name><size>12</size><mode>interpolation</mode>
      <start_frame>0</start_frame><stop_frame>11</stop_frame><frame_filter></frame_filter>
      <labels>
        <label><name>wave</name><attributes>
          <attribute><name>mood</name><mutable>True</mutable><input_type>select</input_type>
            <values>glad
sad</values></attribute>
          <attribute><name>loud</name><input_type>checkbox</input_type>
            <values>false</values></attribute>
        </attributes></label>
        <label><name>walk</name><attributes></attributes></label>
      </labels>
      <original_size><width>64</width><height>48</height></original_size>
      <source>clip one.mp4</source>
    </task>
    <dumped>2024-01-01</dumped>
  </meta>
  <track id="0" label="walk" source="manual">
    <box frame="2" keyframe="1" outside="0" occluded="0" xtl="10" ytl="5.5" xbr="20" ybr="30"/>
    <box frame="6" keyframe="1" outside="1" occluded="0" xtl="18" ytl="5.5" xbr="28" ybr="30"/>
    <box frame="8" keyframe="1" outside="0" occluded="0" xtl="20" ytl="5.5" xbr="30" ybr="30"/>
    <box frame="9" keyframe="0" outside="0" occluded="0" xtl="21" ytl="5.5" xbr="31" ybr="30"/>
  </track>
  <track id="1" label="wave">
    <box frame="0" outside="0" xtl="1" ytl="1" xbr="9" ybr="9">
      <attribute name="mood">sad</attribute><attribute name="loud">true</attribute></box>
    <box frame="2" outside="0" xtl="1" ytl="1" xbr="9" ybr="9">
      <attribute name="mood"></attribute><attribute name="loud">false</attribute></box>
  </track>
  <track id="2" label="wave">
    <box frame="3" outside="1" xtl="1" ytl="1" xbr="9" ybr="9"/>
  </track>
</annotations>
"""


@pytest.fixture
def root(tmp_path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "one.xml").write_text(TASK)
    return tmp_path


def test_frames_between_keyframes_are_filled_in(root):
    data = cvat.read(root, missing="keep")
    assert data.classes.names == ("wave", "walk")
    (video,) = data.train
    assert data.test == ()
    assert (video.video, video.size, video.num_frames) == ("clip one", (64, 48), 12)
    assert video.keyframes.tolist() == list(range(12))
    walk, wave = video.tracks
    assert walk.frames.tolist() == [2, 3, 4, 5, 8, 9]
    np.testing.assert_allclose(walk.boxes[:, 0], [10, 12, 14, 16, 20, 21])
    np.testing.assert_allclose(walk.boxes[:, 1], 5.5)
    assert walk.labels.tolist() == [[False, True]] * 6
    assert (wave.actor, wave.frames.tolist()) == (1, [0, 1, 2])


def test_actions_can_be_attributes(root):
    data = cvat.read(root, missing="keep", actions="attribute:mood")
    assert data.classes.names == ("glad", "sad")
    walk, wave = data.train[0].tracks
    assert not walk.labels.any()
    assert wave.labels.tolist() == [[False, True], [False, True], [False, False]]
    data = cvat.read(root, missing="keep", actions="checkboxes")
    assert (data.classes.names, data.classes.exclusive) == (("loud",), False)
    assert data.train[0].tracks[1].labels.tolist() == [[True], [True], [False]]
    with pytest.raises(InputError, match="name no action"):
        cvat.read(root, missing="keep", actions="attribute:age")
    with pytest.raises(InputError, match="unknown place of the actions"):
        cvat.read(root, actions="colour")


def test_videos_and_parts(root, put_video):
    with pytest.raises(InputError, match=r"clip one\.mp4"):
        cvat.read(root)
    put_video(root / "videos" / "clip one.mp4", number=0, frames=15)
    two = TASK.replace("clip one.mp4", "two.avi")
    (root / "annotations" / "two.xml").write_text(two)
    (root / "test.txt").write_text("two\n")
    data = cvat.read(root, missing="keep")
    assert (data.train[0].num_frames, data.train[0].fps) == (15, 5)
    assert [v.video for v in data.test] == ["two"]
    (root / "train.txt").write_text("clip one\ntwo\n")
    with pytest.raises(InputError, match=r"test\.txt, row 1: listed twice"):
        cvat.read(root, missing="keep")
    (root / "annotations" / "three.xml").write_text(TASK)
    with pytest.raises(InputError, match="two exports of video 'clip one'"):
        cvat.read(root, missing="keep")


def test_a_task_of_every_third_frame(root):
    text = TASK.replace("<frame_filter>", "<frame_filter>step=3")
    text = text.replace('frame="2"', 'frame="3"').replace('frame="8"', 'frame="9"')
    text = text.replace('<box frame="9" keyframe="0"', '<box frame="0" keyframe="0"')
    text = text.replace('frame="3" outside="1"', 'frame="9" outside="1"')
    (root / "annotations" / "one.xml").write_text(text)
    (video,) = cvat.read(root, missing="keep").train
    assert video.keyframes.tolist() == [0, 3, 6, 9]
    assert video.tracks[0].frames.tolist() == [0, 3, 9]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<annotations>", '<!DOCTYPE a [<!ENTITY x "y">]><annotations>'),
        ("<annotations>", '<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotations>'),
        ("</annotations>", ""),
        ("walk</name>", "walk &x;</name>"),
        ("<task>", "<project>"),
        ("<width>64</width>", ""),
        ("<width>64</width>", "<width>x</width>"),
        ("<stop_frame>11", "<stop_frame>-1"),
        ("<frame_filter>", "<frame_filter>every=3"),
        ('frame="2"', 'frame="20"'),
        ('frame="2"', 'frame="6"'),
        ('frame="2"', ""),
        ('xtl="10"', 'xtl="25"'),
        ('xtl="10"', 'xtl="nan"'),
        ('xtl="10"', ""),
        ('label="walk"', ""),
        ("  <track id", '  <image id="0" name="a"/><track id'),
        ('<box frame="2" keyframe="1"', '<polygon points="1"/><box frame="2" keyframe="1"'),
    ],
)
def test_files_of_another_form_are_named(root, old, new):
    path = root / "annotations" / "one.xml"
    text = TASK.replace(old, new, 1)
    if new == "<project>":
        text = text.replace("</task>", "</project>")
    path.write_text(text)
    with pytest.raises(InputError) as error:
        cvat.read(root, missing="keep")
    assert error.value.path == path
    assert error.value.row is not None


def test_entities_never_grow(tmp_path):
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    path = tmp_path / "bomb.xml"
    path.write_text(f'<!DOCTYPE a [<!ENTITY e0 "ha">{levels}]><annotations>&e11;</annotations>')
    with pytest.raises(InputError, match="document type is refused"):
        read_xml(path)


def test_deep_and_odd_files_are_refused(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text("<a>" * 100 + "</a>" * 100)
    with pytest.raises(InputError, match="nested too deeply"):
        read_xml(path)
    path.write_bytes(b'<?xml version="1.0" encoding="nonsense"?><a/>')
    with pytest.raises(InputError):
        read_xml(path)
    with pytest.raises(InputError, match="no annotation file"):
        cvat.read(tmp_path / "none")


def test_damaged_files_never_escape(root, survives):
    path = root / "annotations" / "one.xml"
    assert survives(path, lambda: cvat.read(root, missing="keep"), 300) > 100
    assert survives(path, lambda: cvat.read(root, missing="keep", actions="checkboxes"), 50) > 5
