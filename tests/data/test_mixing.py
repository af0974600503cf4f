"""MixUp: pixels and labels by hand; what a sample is does not depend on who loads it."""

from dataclasses import replace

import numpy as np
import pytest

from stad_data.mixing import MixUp, mix
from stad_eval import InputError


def test_pixels_and_labels_by_hand(make_clip):
    clip, other = make_clip(((0, 0, 8, 8),)), make_clip(((4, 4, 9, 9), (1, 1, 3, 3)))
    clip.frames[:], other.frames[:] = 200, 40
    clip = replace(clip, labels=np.array([[True, False, False]]))
    other = replace(other, labels=np.array([[False, True, False], [True, False, True]]))
    mixed = mix(clip, other, 0.75)
    assert (mixed.frames == 160).all()
    np.testing.assert_allclose(mixed.labels, [[0.75 + 0.125, 0.125, 0.125]])
    np.testing.assert_array_equal(mixed.boxes, clip.boxes)
    assert mixed.placement == clip.placement
    assert mixed.labels.dtype == np.float32
    assert (clip.frames == 200).all()


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_ends_are_the_clips_themselves(make_clip, share):
    clip, other = make_clip(), make_clip()
    other.frames[:] = 255 - other.frames
    expected = clip if share else other
    np.testing.assert_array_equal(mix(clip, other, share).frames, expected.frames)


def test_a_clip_without_actors_takes_no_part_of_the_labels(make_clip):
    clip = make_clip()
    mixed = mix(clip, make_clip(()), 0.6)
    np.testing.assert_array_equal(mixed.labels, clip.labels)
    assert mix(make_clip(()), clip, 0.6).labels.shape == (0, clip.labels.shape[1])


def test_shares_follow_the_settings():
    rng = np.random.default_rng(0)
    shares = np.array([MixUp(0.5, least=0.8).draw(rng) for _ in range(400)])
    assert 0.4 < (shares < 1).mean() < 0.6
    assert 0.8 <= shares.min() < 0.81


def test_what_cannot_be_mixed_is_refused(make_clip):
    with pytest.raises(InputError, match="one size"):
        mix(make_clip(length=3), make_clip(length=4), 0.5)
    with pytest.raises(InputError, match="share"):
        mix(make_clip(), make_clip(), 1.5)
    for settings in ((1.5, 0.6), (0.5, 0.4)):
        with pytest.raises(InputError, match="MixUp"):
            MixUp(*settings)
