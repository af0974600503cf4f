"""Loading: a sample is the same in any process, at any time; batches hold what their clips held."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch.utils.data import DataLoader

from stad_data import Track, VideoAnnotation, clips, transforms
from stad_data.loading import Batch, ClipDataset, collate
from stad_data.mixing import MixUp
from stad_data.sampling import EpochBatches, keyframe_samples
from stad_eval import InputError

CROP = transforms.Compose(
    [transforms.RandomScaledCrop((40, 32), (1.0, 1.5)), transforms.RandomFlip(0.5)]
)


@pytest.fixture
def annotations(put_video, tmp_path) -> list[VideoAnnotation]:
    """Two videos of 12 frames with one actor each."""
    made = []
    for number in range(2):
        path = put_video(tmp_path / f"{number}.mp4", number=number)
        boxes = np.tile([10.0 + number, 8, 40, 40], (12, 1))
        labels = np.tile(np.eye(2, dtype=bool)[number], (12, 1))
        track = Track(actor=number, frames=np.arange(12), boxes=boxes, labels=labels)
        made.append(
            VideoAnnotation(
                video=str(number),
                path=path,
                num_frames=12,
                size=(64, 48),
                fps=5.0,
                tracks=(track,),
                keyframes=np.arange(12),
            )
        )
    return made


def dataset(annotations, **options) -> ClipDataset:
    settings = {"length": 4, "stride": 2, "transform": CROP, "seed": 11, **options}
    return ClipDataset(annotations, keyframe_samples(annotations), **settings)


def assert_same(a: Batch, b: Batch) -> None:
    assert torch.equal(a.clips, b.clips)
    assert all(torch.equal(x, y) for x, y in zip(a.boxes, b.boxes, strict=True))
    assert all(torch.equal(x, y) for x, y in zip(a.labels, b.labels, strict=True))
    assert a.clips_info == b.clips_info


def test_a_sample_depends_on_its_key_alone(annotations):
    data, other = dataset(annotations), dataset(annotations)
    other[0, 3], other[1, 20]
    np.testing.assert_array_equal(data[2, 15].frames, other[2, 15].frames)
    assert data[2, 15].placement == other[2, 15].placement
    placements = {data[epoch, 15].placement for epoch in range(5)}
    assert len(placements) == 5
    assert dataset(annotations, seed=12)[2, 15].placement != data[2, 15].placement


def test_without_a_transform_the_clip_is_the_videos(annotations):
    clip = dataset(annotations, transform=None)[0, 14]
    expected = clips.centred(annotations[1], 2, length=4, stride=2)
    np.testing.assert_array_equal(clip.frames, expected.frames)
    np.testing.assert_array_equal(clip.boxes, expected.boxes)
    assert (clip.video, clip.frame) == ("1", 2)


def test_a_range_of_strides_is_met_and_depends_on_the_key_alone(annotations):
    samples = keyframe_samples(annotations)
    data = ClipDataset(annotations, samples, length=3, stride=(1, 3))
    strides = [np.diff(data[epoch, 6].indices).tolist() for epoch in range(30)]
    assert {tuple(stride) for stride in strides} == {(1, 1), (2, 2), (3, 3)}
    other = ClipDataset(annotations, samples, length=3, stride=(1, 3))
    assert strides == [np.diff(other[epoch, 6].indices).tolist() for epoch in range(30)]


def test_mixed_samples_depend_on_their_key_alone(annotations):
    plain, mixed = dataset(annotations), dataset(annotations, mix=MixUp(1.0))
    clip, other = mixed[1, 7], dataset(annotations, mix=MixUp(1.0))[1, 7]
    np.testing.assert_array_equal(clip.frames, other.frames)
    np.testing.assert_array_equal(clip.labels, other.labels)
    np.testing.assert_array_equal(clip.boxes, plain[1, 7].boxes)
    assert (clip.frames != plain[1, 7].frames).any()
    shares = {float(mixed[epoch, 7].labels.max()) for epoch in range(8)}
    assert any(share < 1 for share in shares)


def test_a_row_alone_means_epoch_0_and_iteration_ends(annotations):
    data = dataset(annotations)
    assert data[5].placement == data[0, 5].placement
    assert len(list(data)) == len(data) == 24
    with pytest.raises(IndexError):
        data[0, 24]


def test_caches_stand_in_for_files(annotations, numbered_source):
    source = numbered_source((32, 24))
    gone = [replace(annotation, path="gone.mp4") for annotation in annotations]
    data = dataset(gone, transform=None, caches={"1": source})
    clip = data[0, 17]
    assert clip.frames[:, 0, 0, 0].tolist() == [1, 3, 5, 7]
    assert clip.boxes.tolist() == [[5.5, 4, 20, 20]]
    with pytest.raises(InputError, match=r"gone\.mp4"):
        data[0, 0]


def test_few_files_stay_open(annotations):
    data = dataset(annotations, open_files=1)
    frames = [data[0, row].frames for row in (0, 12, 1, 13)]
    again = dataset(annotations)
    for row, expected in zip((0, 12, 1, 13), frames, strict=True):
        np.testing.assert_array_equal(again[0, row].frames, expected)
    assert len(data._readers) == 1
    data.close()
    assert not data._readers
    data[0, 0]


@pytest.mark.parametrize("sample", [(2, 0), (0, 12), (-1, 0), (0, -1)])
def test_samples_outside_the_videos_are_refused(annotations, sample):
    with pytest.raises(InputError, match="outside the videos"):
        ClipDataset(annotations, np.array([(0, 0), sample]), length=4, stride=1)


def test_the_dataset_can_be_pickled_after_use(annotations):
    data = dataset(annotations)
    expected = data[1, 7]
    again = pickle.loads(pickle.dumps(data))
    np.testing.assert_array_equal(again[1, 7].frames, expected.frames)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_give_what_one_process_gives(annotations, start):
    data = dataset(annotations)
    data[0, 0]  # the parent has open files when the workers start
    order = EpochBatches(size=len(data), batch=3, seed=4, start=5, stop=9)
    plain = [collate([data[key] for key in keys]) for keys in order]
    loader = DataLoader(
        data,
        batch_sampler=order,
        collate_fn=collate,
        num_workers=2 if start == "fork" else 1,
        multiprocessing_context=start,
    )
    found = list(loader)
    assert len(found) == 4
    for a, b in zip(found, plain, strict=True):
        assert_same(a, b)


def test_ranks_load_what_one_process_loads(annotations):
    data = dataset(annotations)
    whole = collate([data[k] for k in EpochBatches(size=24, batch=4, seed=1).keys(7)])
    halves = [
        collate([data[k] for k in EpochBatches(size=24, batch=2, seed=1, rank=r, ranks=2).keys(7)])
        for r in range(2)
    ]
    assert torch.equal(torch.cat([half.clips for half in halves]), whole.clips)
    assert [i for half in halves for i in half.clips_info] == whole.clips_info


def test_collate_puts_clips_channels_first_and_pads_with_black(make_clip):
    large, small = make_clip(), make_clip((), size=(40, 20), seed=1)
    batch = collate([large, small])
    assert batch.clips.shape == (2, 3, 4, 48, 64)
    assert batch.clips.dtype == torch.uint8
    np.testing.assert_array_equal(batch.clips[0].permute(1, 2, 3, 0), large.frames)
    np.testing.assert_array_equal(batch.clips[1, :, :, :20, :40].permute(1, 2, 3, 0), small.frames)
    assert not batch.clips[1, :, :, 20:].any()
    assert not batch.clips[1, :, :, :, 40:].any()
    assert [b.shape for b in batch.boxes] == [(1, 4), (0, 4)]
    assert [label.tolist() for label in batch.labels] == [[[1.0, 0.0, 0.0]], []]
    assert batch.labels[1].shape == (0, 3)
    assert batch.labels[0].dtype == batch.boxes[0].dtype == torch.float32
    assert [info.size for info in batch.clips_info] == [(64, 48), (40, 20)]
    assert batch.clips_info[0].frame == large.frame
    assert len(batch) == 2


def test_collate_takes_mirrored_and_read_only_clips(make_clip):
    clip = transforms.RandomFlip(1.0)(make_clip(), np.random.default_rng(0))
    clip.boxes.flags.writeable = False
    batch = collate([clip])
    np.testing.assert_array_equal(batch.clips[0].permute(1, 2, 3, 0), clip.frames.copy())


def test_clips_that_do_not_fit_together_are_refused(make_clip):
    with pytest.raises(InputError, match="one length"):
        collate([make_clip(length=4), make_clip(length=8)])
    with pytest.raises(InputError, match="one length"):
        collate([])
