"""What trains and feeds the action head: the rows of SE-STAD's Table 4."""

from dataclasses import replace
from typing import get_args

import pytest
import torch

from stad_models import SeStadOptions, Targets, zoo
from stad_models.detectors.action_inputs import TrainInputs, external_proposals, training_rois
from stad_models.heads.localisation import Proposals

OPEN = SeStadOptions(train_score=0.01, positive_iou=0.05, test_score=0.05, train_nms=0.2)


def proposals(*rows) -> Proposals:
    return Proposals(
        clips=torch.tensor([row[0] for row in rows]),
        boxes=torch.tensor([row[1] for row in rows], dtype=torch.float32),
        scores=torch.linspace(0.9, 0.5, len(rows)),
    )


def test_proposals_take_the_labels_of_the_actor_they_overlap_most_or_are_ignored():
    left, right = [0.0, 0, 10, 10], [6.0, 0, 16, 10]
    targets = Targets(
        boxes=(torch.tensor([left, right]), torch.zeros(0, 4), torch.tensor([left])),
        labels=(torch.tensor([[1.0, 0], [0, 1]]), torch.zeros(0, 2), torch.tensor([[1.0, 1]])),
    )
    found = proposals(
        (0, [1, 0, 11, 10]),  # IoU 9/11 with left, 5/15 with right
        (0, [0, 0, 5, 10]),  # IoU exactly 0.5 with left
        (0, [0, 0, 4, 10]),  # 0.4: ignored
        (1, left),  # nobody is annotated in its clip
        (2, right),  # overlaps its clip's actor by 4/16 only
        (2, [0, 1, 10, 11]),
    )
    rois, labels = training_rois(found, targets, positive_iou=0.5, add_ground_truth=False)
    assert rois.tolist() == [[0, 1, 0, 11, 10], [0, 0, 0, 5, 10], [2, 0, 1, 10, 11]]
    assert labels.tolist() == [[1, 0], [1, 0], [1, 1]]
    rois, labels = training_rois(found, targets, positive_iou=0.5, add_ground_truth=True)
    assert rois[3:].tolist() == [[0, *left], [0, *right], [2, *left]]
    assert labels[3:].tolist() == [[1, 0], [0, 1], [1, 1]]
    rois, labels = training_rois(None, targets, positive_iou=0.5, add_ground_truth=False)
    assert rois.tolist() == [[0, *left], [0, *right], [2, *left]]
    assert labels.tolist() == [[1, 0], [0, 1], [1, 1]]


def test_external_proposals_are_the_best_above_the_threshold():
    given = [
        torch.tensor(
            [[0.0, 0, 9, 9, 0.85], [0, 0, 8, 8, 0.95], [0, 0, 7, 7, 0.8], [0, 0, 6, 6, 0.9]]
        ),
        torch.zeros(0, 5),
        torch.tensor([[5.0, 5, 5, 9, 0.99], [1, 1, 4, 4, 0.81]]),  # the first has no area
    ]
    found = external_proposals(given, count=3, threshold=0.8, limit=2)
    assert found.boxes.tolist() == [[0, 0, 8, 8], [0, 0, 6, 6], [1, 1, 4, 4]]
    assert found.clips.tolist() == [0, 0, 2]
    assert found.scores.tolist() == pytest.approx([0.95, 0.9, 0.81])
    everything = external_proposals(given, count=3, threshold=0.0, limit=100)
    assert everything.clips.tolist() == [0, 0, 0, 0, 2]
    none = external_proposals([torch.zeros(0, 5)] * 2, count=2, threshold=0.0, limit=5)
    assert len(none) == 0
    assert none.rois().shape == (0, 5)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "Targets.proposals in training"),
        ([torch.zeros(0, 5)], "proposals of 1 clips for a batch of 2"),
        ([torch.zeros(0, 5), torch.zeros(3, 4)], r"clip 1 must be \[P, 5\].*found \[3, 4\]"),
    ],
)
def test_proposals_that_do_not_fit_are_refused(given, words):
    with pytest.raises(ValueError, match=words):
        external_proposals(given, count=2, threshold=0.5, limit=5)


def regions_seen(model, run):
    """Every set of regions that the action head was given while `run` ran."""
    seen = []
    handle = model.action_head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    run()
    handle.remove()
    return seen


@pytest.fixture
def clips():
    return torch.randn(2, 3, 8, 96, 128)


def with_proposals(targets, *, score=0.9, shift=1.0):
    """The annotated boxes, moved a little, and one box far from everybody."""
    far = torch.tensor([[100.0, 80, 127, 95, score]])
    given = tuple(
        torch.cat((torch.cat((b + shift, torch.full((len(b), 1), score)), 1), far))
        for b in targets.boxes
    )
    return Targets(boxes=targets.boxes, labels=targets.labels, proposals=given)


def test_each_choice_of_training_inputs_feeds_its_own_regions(make_targets, clips):
    model = zoo.se_stad_tiny(5, options=OPEN).train()
    targets = with_proposals(make_targets((2, 1)))
    truth = torch.cat(
        [
            torch.cat((torch.full((len(b), 1), float(n)), b), dim=1)
            for n, b in enumerate(targets.boxes)
        ]
    )
    seen = {}
    for inputs in get_args(TrainInputs):
        model.options = replace(OPEN, train_inputs=inputs)
        (seen[inputs],) = regions_seen(model, lambda: model(clips, targets))
        assert torch.equal(seen[inputs][-3:], truth)  # annotated boxes come last
    assert len(seen["truth"]) == 3
    assert len(seen["dense"]) > len(seen["sparse"]) > 3
    dense = {tuple(row) for row in seen["dense"].tolist()}
    assert {tuple(row) for row in seen["sparse"].tolist()} <= dense
    moved = seen["external"][:-3]
    torch.testing.assert_close(moved[:, 1:], truth[:, 1:] + 1)
    model.options = replace(OPEN, train_inputs="dense", add_ground_truth=False)
    (alone,) = regions_seen(model, lambda: model(clips, targets))
    assert torch.equal(alone, seen["dense"][:-3])


@pytest.mark.parametrize("inputs", get_args(TrainInputs))
@pytest.mark.parametrize("counts", [(2, 1), (0, 0)])
def test_every_choice_trains_all_parameters(make_targets, clips, inputs, counts):
    model = zoo.se_stad_tiny(5, options=replace(OPEN, train_inputs=inputs)).train()
    losses = model(clips, with_proposals(make_targets(counts)))
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
    assert all(weight.grad is not None for weight in model.parameters())


def test_external_boxes_are_what_is_classified_at_test_time(clips):
    model = zoo.se_stad_tiny(5, options=replace(OPEN, test_inputs="external", max_actors=2)).eval()
    boxes = torch.tensor([[10.0, 10, 40, 80], [50, 20, 90, 90], [12, 10, 42, 80]])
    scores = torch.tensor([[0.85], [0.95], [0.9]])
    given = [torch.cat((boxes, scores), dim=1), torch.zeros(0, 5)]
    with torch.no_grad():
        first, second = model(clips, proposals=given)
        rois = torch.cat((torch.zeros(2, 1), boxes[[1, 2]]), dim=1)
        wanted = model.classify(model.localise(clips)[0], rois).sigmoid()
    assert torch.equal(first.boxes, boxes[[1, 2]])  # no suppression, the two best
    assert first.actor_scores.tolist() == pytest.approx([0.95, 0.9])
    torch.testing.assert_close(first.scores, wanted.where(wanted >= 0.002, 0.0))
    assert len(second) == 0
    with pytest.raises(ValueError, match=r"model\(clips, proposals=\.\.\.\) in evaluation"):
        model(clips)


def test_external_training_without_proposals_is_refused(make_targets, clips):
    model = zoo.se_stad_tiny(5, options=replace(OPEN, train_inputs="external"))
    with pytest.raises(ValueError, match="none came with the clips"):
        model(clips, make_targets((1, 1)))


def test_words_that_name_no_choice_are_refused():
    with pytest.raises(ValueError, match=r"train_inputs must be one of dense, .*found 'gt'"):
        SeStadOptions(train_inputs="gt")
    with pytest.raises(ValueError, match="test_inputs must be one of detected, external"):
        SeStadOptions(test_inputs="fcos")


def test_targets_move_and_check_their_proposals():
    boxes, labels = (torch.tensor([[0.0, 0, 1, 1]]),), (torch.ones(1, 2),)
    targets = Targets(boxes=boxes, labels=labels, proposals=(torch.zeros(3, 5),))
    assert targets.to("meta").proposals[0].device.type == "meta"
    with pytest.raises(ValueError, match="boxes of 1 clips but proposals of 2"):
        Targets(boxes=boxes, labels=labels, proposals=(torch.zeros(3, 5),) * 2)
