"""`stad detect` on real files: what it writes, and that it takes any video."""

import json

import av
import numpy as np
import pytest

from stad_cli.main import main
from stad_data import VideoReader
from stad_eval import detections_json


def detect(*arguments):
    return main(["detect", *map(str, arguments)])


def times_of(path):
    with VideoReader(path) as reader:
        return np.array([frame.time for frame in reader])


def test_the_outputs_of_one_video(film, untrained, tmp_path, capsys):
    video = film(tmp_path / "street.mp4", frames=50, size=(160, 90), fps=25)
    out = tmp_path / "found"
    code = detect(video, "--checkpoint", untrained(), "--out", out, "--stride", 6)
    assert code == 0
    assert sorted(path.name for path in out.iterdir()) == ["street.json", "street.mp4"]
    content = json.loads((out / "street.json").read_text())
    assert (content["format"], content["version"]) == ("stad-detections", 1)
    assert content["classes"] == ["walk", "wave", "sit"]
    frames = content["videos"]["street"]["frames"]
    assert list(map(int, frames)) == [*range(0, 50, 6), 49]
    assert content["videos"]["street"]["size"] == [160, 90]
    found = detections_json.read(out / "street.json")
    assert len(found.actors) == 3 * len(frames)
    assert (found.actors.box >= 0).all()
    assert (found.actors.box <= [160, 90, 160, 90]).all()
    with VideoReader(out / "street.mp4") as reader:
        assert (reader.num_frames, reader.size, reader.fps) == (50, (160, 90), 25.0)
    printed = capsys.readouterr().out
    assert "street.mp4" in printed
    assert str(out / "street.mp4") in printed


def test_boxes_are_drawn_and_nothing_else_changes(film, untrained, tmp_path):
    video = film(tmp_path / "a.mp4", frames=12, size=(160, 96))
    assert detect(video, "--checkpoint", untrained(), "--out", tmp_path / "with") == 0
    nobody = untrained(finds=False)
    assert detect(video, "--checkpoint", nobody, "--out", tmp_path / "without") == 0
    with (
        VideoReader(video) as original,
        VideoReader(tmp_path / "with" / "a.mp4") as drawn,
        VideoReader(tmp_path / "without" / "a.mp4") as plain,
    ):
        indices = range(12)
        frames = original.read(indices).astype(int)
        assert np.abs(plain.read(indices) - frames).mean() < 4
        # Seen as colours far from the original, in every frame.
        changed = (np.abs(drawn.read(indices) - frames).max(axis=3) > 60).sum(axis=(1, 2))
        assert (changed > 100).all()


def test_nobody_found_is_fine(film, untrained, tmp_path, capsys):
    video = film(tmp_path / "empty.mp4", frames=10)
    code = detect(
        video, "--checkpoint", untrained(finds=False), "--out", tmp_path, "--json", "--no-overlay"
    )
    assert code == 0
    (summary,) = json.loads(capsys.readouterr().out)
    assert (summary["frames"], summary["actors"], summary["actions"]) == (10, 0, {})
    assert summary["overlay"] is None
    found = detections_json.read(tmp_path / "empty.json")
    assert len(found.actors) == 0


def test_the_summary_as_json(film, untrained, tmp_path, capsys):
    video = film(tmp_path / "in" / "a.mp4", frames=20, size=(64, 64), fps=10)
    code = detect(video, "--checkpoint", untrained(), "--out", tmp_path, "--json", "--min-score", 0)
    assert code == 0
    (summary,) = json.loads(capsys.readouterr().out)
    assert summary["size"] == [64, 64]
    assert summary["frames"] == 20
    assert summary["fps"] == 10
    assert summary["actors"] >= 3
    assert summary["detections"] == str(tmp_path / "a.json")
    assert summary["overlay"] == str(tmp_path / "a.mp4")
    counts = list(summary["actions"].values())
    assert counts == sorted(counts, reverse=True)


def test_the_overlay_keeps_a_varying_frame_rate(film, untrained, tmp_path):
    times = np.cumsum(np.array([0, 1, 1, 3, 1, 2, 5, 1, 1, 1, 4, 1, 1, 2, 1]) / 30)
    video = film(tmp_path / "vfr.mp4", frames=15, times=times)
    assert detect(video, "--checkpoint", untrained(), "--out", tmp_path / "out") == 0
    np.testing.assert_allclose(times_of(tmp_path / "out" / "vfr.mp4"), times, atol=1e-3)


def test_a_rotated_video_comes_out_upright(untrained, tmp_path):
    path = tmp_path / "phone.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        image = np.zeros((64, 96, 3), np.uint8)
        image[:, :48] = 255  # the left half as stored
        for _ in range(8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    data = bytearray(path.read_bytes())
    identity = b"".join(value.to_bytes(4, "big") for value in (1 << 16, 0, 0, 0, 1 << 16, 0))
    quarter = b"".join(
        value.to_bytes(4, "big", signed=True) for value in (0, 1 << 16, 0, -(1 << 16), 0, 0)
    )
    track = data.index(b"tkhd")
    at = data.index(identity, track)
    data[at : at + len(identity)] = quarter
    path.write_bytes(data)
    with VideoReader(path) as reader:
        assert reader.size == (64, 96)
    assert detect(path, "--checkpoint", untrained(finds=False), "--out", tmp_path / "out") == 0
    with VideoReader(path) as before, VideoReader(tmp_path / "out" / "phone.mp4") as after:
        assert after.size == (64, 96)
        assert np.abs(after.read([3]).astype(int) - before.read([3])).mean() < 4
    size = json.loads((tmp_path / "out" / "phone.json").read_text())["videos"]["phone"]["size"]
    assert size == [64, 96]


@pytest.mark.parametrize("size", [(97, 61), (640, 36), (32, 200)])
def test_any_size(film, untrained, tmp_path, size):
    even = tuple(side + side % 2 for side in size)
    video = film(tmp_path / "odd.mp4", frames=9, size=size)
    assert detect(video, "--checkpoint", untrained(), "--out", tmp_path / "out") == 0
    with VideoReader(tmp_path / "out" / "odd.mp4") as reader:
        assert reader.size == even


def test_one_frame_is_enough(film, untrained, tmp_path):
    video = film(tmp_path / "still.mp4", frames=1)
    assert detect(video, "--checkpoint", untrained(), "--out", tmp_path / "out") == 0
    assert list(json.loads((tmp_path / "out/still.json").read_text())["videos"]["still"]["frames"])
    with VideoReader(tmp_path / "out" / "still.mp4") as reader:
        assert reader.num_frames == 1


def test_sound_is_left_out(talk, untrained, tmp_path):
    path = talk(tmp_path / "talk.mkv", picture=True)
    assert detect(path, "--checkpoint", untrained(), "--out", tmp_path / "out") == 0
    with av.open(str(tmp_path / "out" / "talk.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video"]
        assert container.streams.video[0].frames == 20


def test_videos_of_one_name_get_files_of_their_own(film, untrained, tmp_path):
    first = film(tmp_path / "a" / "x.mp4", frames=4)
    second = film(tmp_path / "b" / "x.mp4", frames=6)
    third = film(tmp_path / "b" / "x-2.mp4", frames=8)
    out = tmp_path / "out"
    assert detect(first, second, third, "--checkpoint", untrained(), "--out", out) == 0
    counts = {}
    for path in sorted(out.glob("*.mp4")):
        with VideoReader(path) as reader:
            counts[path.name] = reader.num_frames
    assert counts == {"x.mp4": 4, "x-3.mp4": 6, "x-2.mp4": 8}


def test_results_do_not_depend_on_the_batch(film, untrained, tmp_path):
    video = film(tmp_path / "a.mp4", frames=40, size=(120, 80))
    tables = []
    for batch in (1, 3, 16):
        out = tmp_path / str(batch)
        detect(video, "--checkpoint", untrained(), "--out", out, "--batch", batch, "--no-overlay")
        tables.append(detections_json.read(out / "a.json").found)
    for table in tables[1:]:
        assert len(table) == len(tables[0])
        np.testing.assert_allclose(table.box, tables[0].box, atol=0.05)
        np.testing.assert_allclose(table.score, tables[0].score, atol=1e-3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`create_unbacked_symint`:FutureWarning")  # torchvision's NMS
def test_a_compiled_network_finds_the_same(film, untrained, tmp_path):
    video = film(tmp_path / "a.mp4", frames=40, size=(120, 80))
    tables = []
    for options in ((), ("--compile",)):
        out = tmp_path / "-".join(("out", *options))
        code = detect(video, "--checkpoint", untrained(), "--out", out, "--no-overlay", *options)
        assert code == 0
        tables.append(detections_json.read(out / "a.json").found)
    assert len(tables[0]) == len(tables[1]) > 0
    np.testing.assert_allclose(tables[1].box, tables[0].box, atol=0.05)
    np.testing.assert_allclose(tables[1].score, tables[0].score, atol=1e-3)


def test_the_model_sees_what_it_sees_in_evaluation(film, untrained, tmp_path):
    """The boxes at a keyframe are those of the same clip read by index and evaluated."""
    import torch

    from stad_cli.engine.checkpoint import build_model
    from stad_cli.engine.clip_changes import test_transform as evaluation_transform
    from stad_cli.engine.model_input import normalise
    from stad_data import VideoAnnotation, clips
    from stad_data.loading import collate

    video = film(tmp_path / "a.mp4", frames=30, size=(120, 80), fps=30)
    detect(video, "--checkpoint", untrained(), "--out", tmp_path, "--stride", 10, "--no-overlay")
    found = detections_json.read(tmp_path / "a.json").actors
    model, _, recipe = build_model(untrained())
    annotation = VideoAnnotation(
        video="a",
        path=video,
        num_frames=30,
        size=(120, 80),
        fps=30.0,
        tracks=(),
        keyframes=np.array([0, 10, 20, 29]),
        num_classes=3,
    )
    for frame in (0, 10, 20, 29):
        clip = clips.centred(annotation, frame, length=4, stride=2)
        clip = evaluation_transform(recipe)(clip, np.random.default_rng(0))
        with torch.inference_mode():
            (expected,) = model(normalise(collate([clip]).clips))
        boxes = clip.placement.to_source(expected.boxes.numpy(), clip=True)
        np.testing.assert_allclose(found.box[found.frame == frame], boxes, atol=0.02)


def test_real_videos(real_data, untrained, tmp_path):
    videos = [real_data / "videos" / name for name in ("makeup.avi", "flipping_a_pancake.mkv")]
    out = tmp_path / "out"
    assert detect(*videos, "--checkpoint", untrained(), "--out", out, "--stride", 30) == 0
    for video in videos:
        with VideoReader(video) as before, VideoReader(out / f"{video.stem}.mp4") as after:
            assert after.num_frames == before.num_frames
            assert after.size == tuple(side + side % 2 for side in before.size)
