"""Batches of clips with tracks and masks, and datasets of other clips than centred ones."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

pytest.importorskip("torch")

from torch.utils.data import ConcatDataset, DataLoader

from stad_data import windows
from stad_data.clip_samples import between_samples, tubelet_samples
from stad_data.loading import ClipDataset, collate
from stad_data.mixed_batches import MixedBatches
from stad_data.sampling import EpochBatches
from stad_eval import InputError


def test_masks_are_padded_as_their_clips(make_clip):
    first, second = make_clip(size=(8, 6)), make_clip(size=(5, 9))
    masked = [replace(clip, masks=clip.frames[..., 0]) for clip in (first, second)]
    batch = collate(masked)
    assert batch.masks.shape == (2, 4, 9, 8)
    np.testing.assert_array_equal(batch.masks, batch.clips[:, 0])
    assert collate([first, second]).masks is None
    assert batch.tracks == [None, None]


@pytest.mark.parametrize("other", [None, np.float32])
def test_masks_of_different_kinds_are_refused(make_clip, other):
    clip = make_clip()
    masks = clip.frames[..., 0]
    odd = replace(clip, masks=None if other is None else masks.astype(other))
    with pytest.raises(InputError, match="one kind"):
        collate([replace(clip, masks=masks), odd])


def test_labelled_tubelets_beside_unlabelled_clips(annotation, numbered_source):
    caches = {annotation.video: numbered_source((200, 100))}
    sparse = replace(annotation, tracks=(), keyframes=np.array([0, 6, 12]), num_classes=3)
    labelled = ClipDataset(
        [annotation],
        tubelet_samples([annotation], boxes=3, empty=False),
        length=5,
        stride=1,
        caches=caches,
        make=partial(windows.tubelet, boxes=3),
    )
    unlabelled = ClipDataset(
        [sparse], between_samples([sparse]), length=5, stride=1, caches=caches, make=windows.between
    )
    batches = MixedBatches(
        labelled=EpochBatches(size=len(labelled), batch=2, seed=0, stop=3),
        unlabelled=EpochBatches(size=len(unlabelled), batch=1, seed=1, stop=3),
    )

    class Both(ConcatDataset):
        def __getitem__(self, key):
            epoch, row = key
            if row < len(labelled):
                return labelled[epoch, row]
            return unlabelled[epoch, row - len(labelled)]

    loader = DataLoader(Both([labelled, unlabelled]), batch_sampler=batches, collate_fn=collate)
    found = list(loader)
    assert len(found) == 3
    for batch in found:
        assert batch.clips.shape == (3, 3, 5, 100, 200)
        assert [tracks.frames.shape for tracks in batch.tracks] == [(3,), (3,), (2,)]
        assert batch.tracks[2].frames.tolist() in ([0, 6], [6, 12])
        assert len(batch.boxes[2]) == 0
