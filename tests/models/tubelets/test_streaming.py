"""A video in one pass gives what its clips give one by one."""

import dataclasses

import pytest
import torch

from stad_models import zoo
from stad_models.detectors.stma_options import StmaOptions
from stad_models.detectors.two_stream_moc import TwoStreamMoc
from stad_models.streaming import TubeletStream, video_tubelets
from stad_models.zoo.tubelets import TINY_CLIP_TRUNK, TINY_DLA

NARROW = dataclasses.replace(TINY_DLA, widths=(4, 4, 6, 8, 8))
NARROW_CLIP = dataclasses.replace(TINY_CLIP_TRUNK, stem_width=4, widths=(4, 6, 8, 8))


def moc(**numbers):
    return zoo.moc_tiny(3, trunk=NARROW, hidden=8, **numbers).double().eval()


def stma(options=None, **numbers):
    model = zoo.stma_tiny(
        3,
        options=options,
        trunk=NARROW,
        clip_trunk=NARROW_CLIP,
        hidden=8,
        coarse=(8, 8),
        width=12,
        **{"clip_length": 8, **numbers},
    )
    return model.double().eval()


def two_streams():
    flow = dataclasses.replace(NARROW, channels_in=15)
    return TwoStreamMoc(moc(), zoo.moc_tiny(3, trunk=flow, hidden=8).double().eval()).eval()


def video(frames, *, channels=3, size=(48, 32)):
    width, height = size
    return torch.randn(frames, channels, height, width, dtype=torch.float64)


def around(frames, frame, length, stride):
    """The clip [C, T, H, W] of frames around one, its ends repeated."""
    places = frame + (torch.arange(length) - length // 2) * stride
    return frames[places.clamp(0, len(frames) - 1)].transpose(0, 1)


@torch.no_grad()
def one_by_one(model, frames):
    """Tubelets of the clip around every frame, each worked out alone."""
    length, stride = model.clip_length, model.clip_stride
    return [model(around(frames, frame, length, stride)[None])[0] for frame in range(len(frames))]


@torch.no_grad()
def sharing_clips(model, frames, step):
    """The same, of snippets beside the clips around every so many frames."""
    length, stride, found = model.tubelet_length, model.clip_stride, []
    first = model.clip_length // 2 - length // 2
    for frame in range(len(frames)):
        anchors = [*range(0, len(frames) + step, step)]
        nearest = min(anchors, key=lambda at: (abs(at - frame), -at))
        nearest = min(nearest, len(frames) - 1)
        snippet = around(frames, frame, length, stride).transpose(0, 1)
        clip = around(frames, nearest, model.clip_length, stride)
        maps = [x[None] for x in model.frame_maps(snippet)]
        maps += model.clip_maps(clip[None])
        found += model.tubelets(tuple(maps), (frames.shape[3], frames.shape[2]), first)
    return found


def check_same(model, frames, chunks, *, alone=one_by_one, **numbers):
    streamed = list(video_tubelets(model, chunks, **numbers))
    assert [frame for frame, _ in streamed] == list(range(len(frames)))
    for (_, found), wanted in zip(streamed, alone(model, frames), strict=True):
        assert found.first == wanted.first
        torch.testing.assert_close(found.boxes, wanted.boxes, rtol=0, atol=1e-8)
        torch.testing.assert_close(found.scores, wanted.scores, rtol=0, atol=1e-10)


MODELS = {
    "moc": moc,
    "moc, K = 1": lambda: moc(tubelet_length=1),
    "moc, K = 7": lambda: moc(tubelet_length=7),
    "moc, every second frame": lambda: moc(clip_stride=2),
    "moc, longer clips": lambda: moc(clip_length=8),
    "stma": stma,
    "stma, every third frame": lambda: stma(clip_stride=3, tubelet_length=3),
    "stma without a 3D trunk": lambda: stma(StmaOptions(aggregation=False)),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_stream_gives_what_clips_give(name):
    model, frames = MODELS[name](), video(17)
    check_same(model, frames, frames.split(3), batch=4)


@pytest.mark.parametrize("chunk", [1, 2, 17, 40])
def test_chunks_of_any_length(chunk):
    frames = video(17)
    for model in (moc(), stma()):
        check_same(model, frames, frames.split(chunk), batch=5)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_videos_shorter_than_a_clip(count):
    frames = video(count)
    for model in (moc(), stma()):
        check_same(model, frames, frames.split(1))


def test_frames_of_odd_size():
    frames = video(6, size=(45, 35))
    for model in (moc(), stma()):
        check_same(model, frames, frames.split(2))


def test_two_streams_flow_too():
    frames = video(7, channels=18)
    check_same(two_streams(), frames, frames.split(3))


def test_every_frame_passes_the_trunk_once_and_little_is_kept():
    model, passed = stma(), []
    model.backbone.register_forward_hook(lambda _m, inputs, _o: passed.append(len(inputs[0])))
    stream = TubeletStream(model, batch=4)
    frames, given = video(40), []
    for frame in frames:
        given += stream.push(frame[None])
        assert len(stream._frames) <= model.clip_length
        assert len(stream._maps) <= model.clip_length
    assert [frame for frame, _ in given] == list(range(40 - 3))  # 3 frames of the clip are to come
    given += stream.finish()
    assert len(given) == 40
    assert sum(passed) == 40
    assert not stream._maps
    assert not stream._frames


@pytest.mark.parametrize(
    ("step", "count", "numbers"),
    [
        (2, 17, {}),
        (3, 17, {}),
        (4, 18, {"clip_length": 12}),
        (4, 1, {"clip_length": 12}),
        (4, 3, {"clip_length": 12}),
        (5, 14, {"clip_length": 9, "tubelet_length": 3}),
        (4, 20, {"clip_stride": 2}),
    ],
)
def test_tubelets_share_the_clips_of_every_few_frames(step, count, numbers):
    model, frames, looked = stma(StmaOptions(clip_step=step), **numbers), video(count), []
    model.clip_backbone.register_forward_hook(lambda _m, inputs, _o: looked.append(len(inputs[0])))
    list(video_tubelets(model, frames.split(3), batch=4))
    ends_between = (count - 1) % step >= (step + 1) // 2
    assert sum(looked) == -(-count // step) + ends_between
    check_same(
        model,
        frames,
        frames.split(3),
        batch=4,
        alone=lambda model, frames: sharing_clips(model, frames, step),
    )


def test_a_step_that_leaves_the_clip_is_refused():
    with pytest.raises(ValueError, match=r"at most 4, .*found 5"):
        stma(StmaOptions(clip_step=5))
    with pytest.raises(ValueError, match="clip_step must be positive, found 0"):
        StmaOptions(clip_step=0)


def test_no_frames_give_nothing():
    assert list(video_tubelets(moc(), [])) == []
    assert list(video_tubelets(moc(), [video(0)])) == []


def test_bad_use_is_refused():
    with pytest.raises(ValueError, match=r"call eval\(\)"):
        TubeletStream(moc().train())
    with pytest.raises(ValueError, match="at least 1, found 0"):
        TubeletStream(moc(), batch=0)
    stream = TubeletStream(moc())
    with pytest.raises(ValueError, match=r"\[F, 3, H, W\], found \[3, 32, 48\]"):
        stream.push(video(1)[0])
    stream.push(video(2))
    with pytest.raises(ValueError, match=r"found \(32, 32\) after \(48, 32\)"):
        stream.push(video(1, size=(32, 32)))
    stream.finish()
    for use in (stream.finish, lambda: stream.push(video(1))):
        with pytest.raises(ValueError, match="the video has ended"):
            use()
