"""Anchors: clusters that are there are found; nothing is lost on the way; the seed decides."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_data.anchors import box_sizes, cluster_sizes, form_iou
from stad_eval import InputError

SIZES = st.lists(st.tuples(st.floats(1, 400), st.floats(1, 400)), min_size=1, max_size=40)


def test_forms_overlap_as_boxes_at_one_corner_do():
    assert form_iou([[10, 4]], [[10, 4], [5, 8], [20, 8]]).tolist() == [
        [1.0, pytest.approx(20 / 60), pytest.approx(40 / 160)]
    ]
    assert form_iou(np.zeros((0, 2)), [[1, 1]]).shape == (0, 1)


def test_separate_clusters_are_found():
    rng = np.random.default_rng(0)
    centres = np.array([(10, 30), (60, 40), (150, 200)])
    sizes = np.concatenate([centre * rng.uniform(0.95, 1.05, (50, 2)) for centre in centres])
    found = cluster_sizes(rng.permutation(sizes), count=3)
    np.testing.assert_allclose(found.sizes, centres, rtol=0.03)
    assert found.counts.tolist() == [50, 50, 50]
    assert 0.9 < found.mean_iou < 1


def test_one_anchor_is_the_mean_or_better():
    sizes = [[10, 10], [10, 10], [40, 40]]
    found = cluster_sizes(sizes, count=1)
    # 10x10 covers them by (1 + 1 + 1/16) / 3, the mean of 20x20 by (1/4 + 1/4 + 1/4) / 3.
    assert found.sizes.tolist() == [[10, 10]]
    assert found.mean_iou == pytest.approx((2 + 1 / 16) / 3)


@settings(deadline=None, max_examples=40)
@given(sizes=SIZES, count=st.integers(1, 6), seed=st.integers(0, 50))
def test_what_is_reported_is_so(sizes, count, seed):
    if len(set(sizes)) < count:
        return
    found = cluster_sizes(sizes, count=count, seed=seed)
    assert found.sizes.shape == (count, 2)
    iou = form_iou(sizes, found.sizes)
    assert found.mean_iou == pytest.approx(iou.max(axis=1).mean())
    assert found.counts.sum() == len(sizes)
    areas = found.sizes.prod(axis=1)
    assert (np.diff(areas) >= 0).all()
    assert (found.sizes >= np.min(sizes, axis=0) - 1e-9).all()
    assert (found.sizes <= np.max(sizes, axis=0) + 1e-9).all()
    again = cluster_sizes(sizes, count=count, seed=seed)
    np.testing.assert_array_equal(again.sizes, found.sizes)


@settings(deadline=None, max_examples=20)
@given(sizes=SIZES.filter(lambda sizes: len(set(sizes)) == len(sizes)))
def test_as_many_anchors_as_boxes_cover_all(sizes):
    assert cluster_sizes(sizes, count=len(sizes), starts=2).mean_iou == pytest.approx(1, abs=1e-6)


def test_sizes_that_hardly_differ_give_anchors_too():
    sizes = [[3.0, 4.0], [np.nextafter(3.0, 4), 4.0], [3.0, np.nextafter(4.0, 5)]]
    assert cluster_sizes(sizes, count=3).mean_iou == pytest.approx(1)


def test_an_anchor_without_boxes_is_put_to_use():
    """One box in a thousand is of another form: it gets an anchor of its own all the same."""
    sizes = np.concatenate([np.tile([20.0, 20.0], (999, 1)), [[300.0, 5.0]]])
    found = cluster_sizes(sizes, count=2)
    assert found.counts.tolist() == [999, 1]
    assert found.mean_iou == pytest.approx(1)


@pytest.mark.parametrize(
    ("sizes", "count"),
    [
        (np.zeros((0, 2)), 1),
        ([[3, 4]] * 5, 2),
        ([[3, 4]], 0),
        ([[3, 0]], 1),
        ([[3, np.inf]], 1),
        ([[3, 4, 5]], 1),
        ([3, 4], 1),
    ],
)
def test_what_cannot_be_clustered_is_refused(sizes, count):
    with pytest.raises(InputError, match="anchors"):
        cluster_sizes(sizes, count=count)
    with pytest.raises(InputError, match="starts"):
        cluster_sizes([[3, 4]], count=1, starts=0)


def test_sizes_of_boxes(annotation):
    sizes = box_sizes([annotation, replace(annotation, tracks=())])
    assert sizes.tolist() == [[40, 60]] * 8 + [[30, 80]] * 3
    assert box_sizes([annotation], frame=(100, 200))[0].tolist() == [20, 120]
    assert box_sizes([]).shape == (0, 2)
