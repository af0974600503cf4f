"""What all strategies share, and the thresholds."""

from functools import partial

import pytest
import torch

from stad_ssl import (
    Keyframe,
    Neighbours,
    Proposals,
    assign_temporal_labels,
    interpolate_labels,
    no_pseudo_labels,
    threshold_labels,
)

BOX = [0.1, 0.1, 0.5, 0.5]
STRATEGIES = {
    "none": no_pseudo_labels,
    "interpolation": interpolate_labels,
    "hard": partial(threshold_labels, threshold=0.5),
    "per class": partial(threshold_labels, threshold=torch.linspace(0.2, 0.8, 5)),
    "tla": assign_temporal_labels,
}
every = pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES.keys())


def one(boxes=(BOX,), scores=((0.6, 0.2, 0.9, 0.1, 0.5),)) -> Proposals:
    return Proposals(boxes=torch.tensor(boxes).view(-1, 4), scores=torch.tensor(scores))


def keyframe(labels=((1, 0, 0, 0, 1),), boxes=(BOX,), persons=(0,)) -> Keyframe:
    return Keyframe(
        boxes=torch.tensor(boxes).view(-1, 4),
        labels=torch.tensor(labels),
        persons=torch.tensor(persons),
    )


@every
@pytest.mark.parametrize("count", [0, 3])
@pytest.mark.parametrize("before", [None, 0, 2])
@pytest.mark.parametrize("after", [None, 0, 2])
def test_one_signature_for_all_kinds_of_emptiness(
    strategy, count, before, after, make_proposals, make_neighbours
):
    proposals, near = make_proposals(count), make_neighbours(before, after)
    (pseudo,) = strategy([proposals], [near])
    assert pseudo.boxes.shape == (len(pseudo), 4)
    assert pseudo.labels.shape == (len(pseudo), 5)
    assert pseudo.proposal.dtype == pseudo.annotation.dtype == torch.int64
    sides = sum(side is not None for side in (before, after))
    needs = {no_pseudo_labels: 3, interpolate_labels: 2}.get(strategy, 1)
    assert pseudo.known == (sides >= needs)
    if not pseudo.known or not (before or after):
        assert len(pseudo) == 0
    if strategy is not interpolate_labels:
        assert torch.equal(pseudo.boxes, proposals.boxes[pseudo.proposal])


@every
def test_no_gradient_flows(strategy, make_proposals, make_neighbours):
    torch.manual_seed(3)
    found, near = make_proposals(4), make_neighbours(2, 2)
    leaves = (found.boxes, found.scores, near.before.boxes, near.before.labels)
    for leaf in leaves:
        leaf.requires_grad_()
    (pseudo,) = strategy([found], [near])
    assert not pseudo.boxes.requires_grad
    assert not pseudo.labels.requires_grad
    if len(pseudo):  # what comes out shares no memory with what came in
        pseudo.boxes.zero_()
        assert found.boxes.abs().sum() > 0
        assert (near.before.boxes != 0).any()


@every
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_reduced_precision_becomes_float32(strategy, dtype, make_proposals, make_neighbours):
    found, near = make_proposals(3), make_neighbours(2, 2)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    cast = Proposals(boxes=found.boxes.to(dtype), scores=found.scores.to(dtype))
    (pseudo,) = strategy([cast], [near])
    assert pseudo.boxes.dtype == pseudo.labels.dtype == wide


@every
def test_proposals_without_area_are_left_out(strategy):
    flat = one(boxes=([0.3, 0.1, 0.3, 0.9], BOX), scores=((0.9,) * 5, (0.9,) * 5))
    (pseudo,) = strategy([flat], [Neighbours(before=keyframe(), after=keyframe(), position=0.5)])
    assert 0 not in pseudo.proposal.tolist()
    assert (pseudo.boxes[:, 2:] > pseudo.boxes[:, :2]).all()


BAD = {
    "NaN score": (one(scores=((0.1, torch.nan, 0.1, 0.1, 0.1),)), keyframe(), "nan.*class 1"),
    "logit": (one(scores=((0.1, 0.1, 3.5, 0.1, 0.1),)), keyframe(), "sigmoid.*3.5.*class 2"),
    "label 2": (one(), keyframe(labels=((0, 0, 0, 2, 0),)), "labels of 0 and 1.*2.0.*class 3"),
    "label 0.5": (one(), keyframe(labels=((0, 0.5, 0, 0, 0),)), "labels of 0 and 1.*0.5"),
    "NaN box": (one(boxes=([0.1, torch.nan, 0.2, 0.3],)), keyframe(), "must be finite"),
    "infinite": (
        one(),
        keyframe(boxes=([0, 0, torch.inf, 1],)),
        "annotated box 1 of clip 1 must be finite",
    ),
    "pixels": (one(boxes=([10.0, 20.0, 50.0, 60.0],)), keyframe(), "size=.height, width"),
    "far off": (one(), keyframe(boxes=([-1.5, 0.0, 0.5, 0.5],)), "frame's own length beyond"),
    "xywh": (one(boxes=([0.5, 0.5, 0.2, 0.2],)), keyframe(), "x2 >= x1.*xywh"),
    "no area": (one(), keyframe(boxes=([0.5, 0.5, 0.5, 0.7],)), "must have an area"),
    "classes": (one(), keyframe(labels=((1, 0),)), "one number of classes.*5.*have 2"),
}


@every
@pytest.mark.parametrize(("found", "frame", "told"), BAD.values(), ids=BAD.keys())
def test_bad_values_are_named(strategy, found, frame, told):
    good = Neighbours(before=keyframe(), after=keyframe(), position=0.5)
    near = Neighbours(before=keyframe(), after=frame, position=0.5)
    with pytest.raises(ValueError, match=told) as caught:
        strategy([one(), found], [good, near])
    assert "clip 1" in str(caught.value)


@every
def test_bad_batches_are_named(strategy):
    with pytest.raises(ValueError, match="2 clips but neighbours of 1"):
        strategy([one(), one()], [Neighbours()])
    with pytest.raises(ValueError, match="at least one clip"):
        strategy([], [])
    narrow = Proposals.none(3)
    with pytest.raises(ValueError, match="scores of clip 0 have 5, scores of clip 1 have 3"):
        strategy([one(), narrow], [Neighbours(), Neighbours()])


def test_a_box_may_reach_beyond_its_frame():
    loose = one(boxes=([-0.2, 0.1, 1.3, 0.9],))
    (pseudo,) = assign_temporal_labels([loose], [Neighbours(before=keyframe())])
    assert torch.equal(pseudo.boxes, loose.boxes)


def test_wrong_shapes_and_types_are_named():
    boxes, labels = torch.rand(2, 4), torch.ones(2, 3)
    with pytest.raises(ValueError, match=r"boxes must be \[N, 4\], found \[4\]"):
        Proposals(boxes=boxes[0], scores=labels)
    with pytest.raises(ValueError, match="boxes must be floating"):
        Keyframe(boxes=boxes.long(), labels=labels)
    with pytest.raises(ValueError, match=r"scores must be \[2, C\].*found \[3, 3\]"):
        Proposals(boxes=boxes, scores=torch.ones(3, 3))
    with pytest.raises(ValueError, match="at least one class"):
        Keyframe(boxes=boxes, labels=torch.ones(2, 0))
    with pytest.raises(ValueError, match="scores must be floating"):
        Proposals(boxes=boxes, scores=labels.long())
    with pytest.raises(ValueError, match=r"persons must be \[2\]"):
        Keyframe(boxes=boxes, labels=labels, persons=torch.arange(3))
    with pytest.raises(ValueError, match="persons must be integers"):
        Keyframe(boxes=boxes, labels=labels, persons=torch.rand(2))
    for position in (0.0, 1.0, torch.nan):
        with pytest.raises(ValueError, match="position must lie between"):
            Neighbours(position=position)
    for size in ((0.0, 4.0), (4.0, torch.inf), (3.0,)):
        with pytest.raises(ValueError, match="size must be"):
            Neighbours(size=size)  # type: ignore[arg-type]


def test_threshold_gives_what_scores_enough_and_a_neighbour_does():
    near = Neighbours(before=keyframe(((1, 1, 0, 0, 0),)), after=keyframe(((0, 0, 0, 0, 1),)))
    (hard,) = threshold_labels([one()], [near], threshold=0.5)
    assert hard.labels.tolist() == [[1, 0, 0, 0, 1]]  # class 2 scores 0.9, and nobody does it
    assert hard.annotation.tolist() == [-1]
    (free,) = threshold_labels([one()], [near], threshold=0.5, restrict=False)
    assert free.labels.tolist() == [[1, 0, 1, 0, 1]]
    each = torch.tensor([0.7, 0.2, 0.1, 0.1, torch.inf])
    (classes,) = threshold_labels([one()], [near], threshold=each)
    assert classes.labels.tolist() == [[0, 1, 0, 0, 0]]
    # A float32 score is as large as the number it was written as.
    (exact,) = threshold_labels([one()], [near], threshold=0.6)
    assert exact.labels.tolist() == [[1, 0, 0, 0, 0]]


def test_one_action_at_a_time_is_the_best_that_a_neighbour_does():
    scores = ((0.6, 0.2, 0.9, 0.1, 0.7), (0.5, 0.5, 0.5, 0.5, 0.5), (0.1, 0.9, 0.9, 0.9, 0.1))
    found = one(boxes=(BOX, BOX, BOX), scores=scores)
    near = Neighbours(before=keyframe(labels=((1, 0, 0, 0, 1),)))
    (pseudo,) = threshold_labels([found], [near], threshold=0.5, exclusive=True)
    assert pseudo.proposal.tolist() == [0, 1]
    assert pseudo.labels.tolist() == [[0, 0, 0, 0, 1], [1, 0, 0, 0, 0]]
    (free,) = threshold_labels([found], [near], threshold=0.5, exclusive=True, restrict=False)
    assert free.labels.argmax(dim=1).tolist() == [2, 0, 1]
    assert (free.labels.sum(dim=1) == 1).all()


def test_the_restriction_is_each_clips_own():
    near = [Neighbours(before=keyframe(((0, 0, 1, 0, 0),))), Neighbours(after=keyframe())]
    first, second = threshold_labels([one(), one()], near, threshold=0.5)
    assert first.labels.tolist() == [[0, 0, 1, 0, 0]]
    assert second.labels.tolist() == [[1, 0, 0, 0, 1]]


def test_boxes_below_the_threshold():
    near = [Neighbours(before=keyframe()), Neighbours()]
    above = partial(threshold_labels, [one(), one()], near, threshold=0.95)
    assert [len(pseudo) for pseudo in above()] == [0, 0]
    known, unknown = above(background="negative")
    assert known.labels.tolist() == [[0] * 5]
    assert len(unknown) == 0
    assert all(pseudo.known for pseudo in above(restrict=False))
    with pytest.raises(ValueError, match="got 'keep'"):
        above(background="keep")


@pytest.mark.parametrize("threshold", [torch.nan, torch.ones(4), torch.ones(5, 1)])
def test_a_threshold_is_a_number_or_one_per_class(threshold):
    with pytest.raises(ValueError, match=r"a number or \[5\]"):
        threshold_labels([one()], [Neighbours()], threshold=threshold)
