"""Flow in clips: transforms move places and vectors, batches hold it, early fusion stacks it."""

import pickle
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_erosion

from stad_data import Clip, Placement, clips, transforms, windows
from stad_data.clip_flow import FlowClips, early_fusion, with_flow
from stad_data.loading import ClipDataset, collate
from stad_data.mixing import mix
from stad_data.sampling import keyframe_samples
from stad_data.views import views
from stad_eval import InputError

GEOMETRIC = [
    transforms.FixedResize(40, 50),
    transforms.FixedResize(64, 48),
    transforms.ShortSideResize(30),
    transforms.ShortSideResize(96, longest=100),
    transforms.RandomScaledCrop((32, 32), (1.0, 2.0)),
    transforms.RandomScaledCrop((90, 40), (0.4, 1.5), stretch=0.5),
    transforms.RandomFlip(1.0),
    transforms.TemporalFlip(1.0),
    transforms.RandomRotation(40.0),
    transforms.Compose(
        [
            transforms.ShortSideResize(60),
            transforms.RandomFlip(0.5),
            transforms.RandomRotation(20.0),
            transforms.TemporalFlip(0.5),
            transforms.RandomScaledCrop((48, 48), (0.7, 1.4), stretch=0.3),
            transforms.RandomFlip(0.5),
            transforms.ColorJitter(0.2, 0.0, 0.2),
        ]
    ),
]


def rng(seed=0):
    return np.random.default_rng(seed)


def a_clip(flow=None, *, frames=None, size=(64, 48), length=3, video="v") -> Clip:
    if frames is None:
        frames = np.zeros((length, size[1], size[0], 3), np.uint8)
    return Clip(
        frames=frames,
        boxes=np.zeros((0, 4), np.float32),
        labels=np.zeros((0, 2), bool),
        actors=np.zeros(0, np.int64),
        video=video,
        frame=1,
        indices=np.arange(length),
        placement=Placement(size=size),
        flow=flow,
    )


def constant(vector, size=(64, 48), length=3) -> np.ndarray:
    return np.tile(np.array(vector, np.float32), (length, size[1], size[0], 1))


@settings(deadline=None, max_examples=60)
@given(
    transform=st.sampled_from(GEOMETRIC),
    seed=st.integers(0, 10_000),
    vector=st.tuples(st.integers(-20, 20), st.integers(-20, 20)),
)
def test_vectors_go_through_the_placement(transform, seed, vector):
    """A point and where its flow leads to move as the placement moves points."""
    grey = np.full((3, 48, 64, 3), 200, np.uint8)
    clip = transform(a_clip(constant(vector), frames=grey), rng(seed))
    expected = clip.placement.matrix[:2, :2] @ vector * (-1 if clip.placement.backwards else 1)
    # Colours tell where the clip shows the frame; its edges are interpolated with black.
    inside = clip.frames.min(axis=3) == clip.frames.max()
    inside = binary_erosion(inside, np.ones((1, 5, 5)), border_value=1)
    assert inside.any()
    np.testing.assert_allclose(clip.flow[inside], np.tile(expected, (inside.sum(), 1)), atol=2e-4)
    outside = clip.frames.max(axis=3) == 0
    assert not clip.flow[outside].any()


@settings(deadline=None, max_examples=60)
@given(transform=st.sampled_from(GEOMETRIC[:-1]), seed=st.integers(0, 10_000))
def test_flow_stays_on_its_pixels(transform, seed):
    """Vectors as long as a pixel is bright stay so, wherever it goes."""
    noise = rng(seed).integers(0, 255, (3, 12, 16, 1)).repeat(4, 1).repeat(4, 2)
    frames = noise.repeat(3, 3).astype(np.uint8)
    vector = np.array((6.0, -9.0))
    flow = (frames[..., :1] / 255 * vector).astype(np.float32)
    clip = transform(a_clip(flow, frames=frames), rng(seed))
    moved = clip.placement.matrix[:2, :2] @ vector * (-1 if clip.placement.backwards else 1)
    expected = clip.frames[..., :1] / 255 * moved
    # Frames are rounded to whole levels, at most twice.
    np.testing.assert_allclose(clip.flow, expected, atol=1.2 / 255 * np.abs(moved).max())


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_flips_are_exact_and_undo_themselves(seed):
    flow = rng(seed).normal(size=(4, 48, 64, 2)).astype(np.float32)
    clip = a_clip(flow, length=4)
    flipped = transforms.RandomFlip(1.0)(clip, rng())
    np.testing.assert_array_equal(flipped.flow[:, :, 5], flow[:, :, 58] * [-1, 1])
    back = transforms.TemporalFlip(1.0)(clip, rng())
    np.testing.assert_array_equal(back.flow[0], -flow[3])
    for transform in (transforms.RandomFlip(1.0), transforms.TemporalFlip(1.0)):
        twice = transform(transform(clip, rng()), rng())
        np.testing.assert_array_equal(twice.flow, flow)


def test_what_hides_pixels_hides_their_flow():
    clip = a_clip(constant((1, 2)), frames=np.full((3, 48, 64, 3), 200, np.uint8))
    cut = transforms.Cutout(count=2, fill=7)(clip, rng(3))
    hidden = cut.frames[..., 0] == 7
    assert hidden.any()
    assert not cut.flow[hidden].any()
    np.testing.assert_array_equal(cut.flow[~hidden], clip.flow[~hidden])
    assert clip.flow.all()
    still = transforms.RepeatKeyframe()(clip, rng())
    assert not still.flow.any()
    assert still.flow.shape == clip.flow.shape
    coloured = transforms.ColorJitter(0.3, 0.3, 0.3, 0.2)(clip, rng(1))
    np.testing.assert_array_equal(coloured.flow, clip.flow)


@pytest.mark.parametrize("transform", GEOMETRIC, ids=lambda t: type(t).__name__)
def test_clips_with_and_without_flow_change_alike(transform):
    frames = rng(1).integers(0, 255, (3, 48, 64, 3), dtype=np.uint8)
    with_it = transform(a_clip(constant((1, 0)), frames=frames), rng(4))
    without = transform(a_clip(frames=frames), rng(4))
    np.testing.assert_array_equal(with_it.frames, without.frames)
    assert with_it.placement == without.placement
    assert without.flow is None


def test_the_given_flow_is_left_alone():
    for transform in (*GEOMETRIC, transforms.Cutout()):
        flow = constant((3, 4))
        flow.flags.writeable = False
        transform(a_clip(flow), rng(2))
        assert (flow == (3, 4)).all()


def test_mixed_clips_mix_their_flow():
    a, b = a_clip(constant((4, 0)), video="a"), a_clip(constant((0, 8)), video="b")
    np.testing.assert_allclose(mix(a, b, 0.75).flow, constant((3, 2)))
    for first, second in ((a, replace(b, flow=None)), (replace(a, flow=None), b)):
        with pytest.raises(InputError, match="flow in both clips or in none"):
            mix(first, second, 0.75)


def test_views_have_flow():
    pair = views(
        a_clip(constant((2, 1))), transforms.RandomFlip(1.0), transforms.FixedResize(32, 48), rng()
    )
    np.testing.assert_allclose(pair.weak.flow, constant((-2, 1)))
    np.testing.assert_allclose(pair.strong.flow, constant((-1, 1), (32, 48)), atol=1e-6)


@pytest.mark.parametrize(
    "flow",
    [np.zeros((3, 48, 64, 3), np.float32), np.zeros((3, 48, 64, 2)), np.zeros((2, 48, 64, 2))],
)
def test_flow_of_another_form_is_refused(flow):
    with pytest.raises(InputError, match="flow disagrees with the frames"):
        a_clip(flow)


class Numbered:
    """Flow whose dx is the frame's number, of another size than the frames."""

    def __init__(self, size=(32, 48)):
        self.size = size

    def read(self, indices):
        flow = np.zeros((len(indices), self.size[1], self.size[0], 2), np.float32)
        flow[..., 0] = np.asarray(indices)[:, None, None]
        flow[..., 1] = 1
        return flow


def test_flow_is_scaled_to_the_clip(annotation, numbered_source):
    clip = clips.centred(annotation, 5, length=3, stride=2, source=numbered_source((100, 50)))
    found = with_flow(clip, Numbered((50, 100))).flow
    assert found.shape == (3, 50, 100, 2)
    np.testing.assert_allclose(found[:, 7, 9], [[6, 0.5], [10, 0.5], [14, 0.5]], atol=1e-5)
    for transform in (transforms.RandomFlip(1.0), transforms.TemporalFlip(1.0)):
        with pytest.raises(InputError, match="flow comes before transforms"):
            with_flow(transform(clip, rng()), Numbered())


def test_batches_hold_flow():
    batch = collate([a_clip(constant((1, 2))), a_clip(constant((3, 4), (40, 30)), size=(40, 30))])
    assert (batch.flow.shape, batch.flow.dtype) == ((2, 2, 3, 48, 64), torch.float32)
    assert batch.flow[0, :, 1, 40, 60].tolist() == [1, 2]
    assert batch.flow[1, :, 2, 29, 39].tolist() == [3, 4]
    assert not batch.flow[1, :, :, 30:].any()
    assert not batch.flow[1, :, :, :, 40:].any()
    assert collate([a_clip(), a_clip()]).flow is None
    with pytest.raises(InputError, match=r"expected 2 clips with flow.*found 1"):
        collate([a_clip(), a_clip(constant((1, 2)))])


def test_early_fusion_stacks_five_channels():
    flow = torch.tensor([10.0, -40.0]).reshape(1, 2, 1, 1, 1).expand(1, 2, 4, 6, 8)
    frames = torch.rand(1, 3, 4, 6, 8)
    found = early_fusion(frames, flow)
    assert found.shape == (1, 5, 4, 6, 8)
    torch.testing.assert_close(found[:, :3], frames)
    assert found[0, 3:, 0, 0, 0].tolist() == [0.5, -1.0]
    assert early_fusion(frames, flow, bound=40)[0, 3, 0, 0, 0] == 0.25
    assert early_fusion(frames.half(), flow).dtype == torch.float16
    for clips_, flow_, bound in (
        (frames.to(torch.uint8), flow, 20),
        (frames, flow[:, :, :2], 20),
        (frames[0], flow[0], 20),
        (frames, flow, 0),
    ):
        with pytest.raises(InputError, match="cannot be stacked"):
            early_fusion(clips_, flow_, bound=bound)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 2])
def test_a_dataset_gives_clips_with_flow(ava_root, tmp_path, workers):
    pytest.importorskip("cv2")
    from stad_data.datasets import ava
    from stad_data.flow import FlowSettings
    from stad_data.flow_cache import fill, open_flow

    train = ava.read(ava_root).train
    fill(train, tmp_path / "flow", FlowSettings(size=(32, 24)))
    make = FlowClips(tmp_path / "flow", make=partial(windows.tubelet, boxes=3), open_files=1)
    data = ClipDataset(
        train,
        keyframe_samples(train),
        length=4,
        stride=1,
        make=make,
        transform=transforms.RandomFlip(1.0),
    )
    loader = torch.utils.data.DataLoader(
        data, batch_size=2, collate_fn=collate, num_workers=workers,
        multiprocessing_context="fork" if workers else None,
    )  # fmt: skip
    batches = list(loader)
    assert [len(batch) for batch in batches] == [2, 1]
    assert batches[0].tracks[0] is not None
    flow = open_flow(tmp_path / "flow", train[0])
    expected = flow.read([3, 4, 5, 6])[:, 5:7, 5:7].mean(axis=(1, 2)) * (-2, 2)
    found = batches[0].flow[1, :, :, 10:14, 50:54].mean(dim=(2, 3)).numpy().T
    np.testing.assert_allclose(found, expected, atol=0.6)
    assert len(pickle.dumps(make)) < 1000
    with pytest.raises(InputError, match="has no flow"):
        FlowClips(tmp_path / "other")(train[0], 5, length=4, stride=1)
