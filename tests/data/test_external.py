"""Folders of videos that no one annotated."""

import numpy as np
import pytest

from stad_data import VideoReader, clips, windows
from stad_data.clip_samples import frame_samples
from stad_data.external import external_videos
from stad_eval import InputError


def test_every_video_below_a_folder_is_found(tmp_path, put_video):
    put_video(tmp_path / "b" / "two.mp4", number=1)
    put_video(tmp_path / "one.MP4", number=0, frames=5)
    (tmp_path / "notes.txt").write_text("not a video")
    found = external_videos(tmp_path, num_classes=4)
    assert [annotation.video for annotation in found] == ["b/two", "one"]
    assert [annotation.num_frames for annotation in found] == [12, 5]
    for annotation in found:
        assert annotation.size == (64, 48)
        assert annotation.fps == 5
        assert annotation.tracks == ()
        assert len(annotation.keyframes) == 0
        assert annotation.num_classes == 4
    assert frame_samples(found, every=6).tolist() == [[0, 3], [0, 9], [1, 2]]


def test_their_clips_are_clips_without_actors(tmp_path, put_video):
    put_video(tmp_path / "one.mp4", number=0)
    (annotation,) = external_videos(tmp_path, num_classes=2)
    for clip in (
        clips.centred(annotation, 3, length=4, stride=2),
        windows.between(annotation, 3, length=4, stride=2),
        windows.resampled(annotation, length=4),
    ):
        assert clip.boxes.shape == (0, 4)
        assert clip.labels.shape == (0, 2)


def test_folders_of_images_are_videos(tmp_path, put_video):
    image = pytest.importorskip("PIL.Image")
    with VideoReader(put_video(tmp_path / "away.mp4", number=0)) as reader:
        frames = reader.read(range(3))
    (tmp_path / "in" / "walk").mkdir(parents=True)
    for number, frame in enumerate(frames):
        image.fromarray(frame).save(tmp_path / "in" / "walk" / f"{number:03}.png")
    (annotation,) = external_videos(tmp_path / "in")
    assert (annotation.video, annotation.num_frames) == ("walk", 3)
    clip = clips.centred(annotation, 1, length=3, stride=1)
    np.testing.assert_array_equal(clip.frames, frames)


def test_damaged_videos_are_refused_or_left_out(tmp_path, put_video):
    put_video(tmp_path / "good.mp4", number=0)
    (tmp_path / "bad.mp4").write_bytes(b"no video at all")
    with pytest.raises(InputError, match=r"bad\.mp4"):
        external_videos(tmp_path)
    assert [a.video for a in external_videos(tmp_path, damaged="skip")] == ["good"]
    (tmp_path / "good.mp4").unlink()
    with pytest.raises(InputError, match="1 damaged"):
        external_videos(tmp_path, damaged="skip")


def test_folders_without_videos_are_refused(tmp_path):
    with pytest.raises(InputError, match="without videos"):
        external_videos(tmp_path)
    with pytest.raises(InputError, match="no folder"):
        external_videos(tmp_path / "nowhere")


def test_two_videos_of_one_name_are_refused(tmp_path, put_video):
    put_video(tmp_path / "one.mp4", number=0)
    put_video(tmp_path / "one.mov", number=1)
    with pytest.raises(InputError, match="two videos of the name 'one'"):
        external_videos(tmp_path)
