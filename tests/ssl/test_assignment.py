import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from torch.nn import functional

from stad_ssl import (
    CostWeights,
    Keyframe,
    Neighbours,
    Proposals,
    assign_temporal_labels,
    assignment_cost,
    background_cost,
    solve_assignment,
)

SIDE = torch.tensor([0.2, 0.3])


def at(*corners: tuple[float, float]) -> torch.Tensor:
    """Boxes of one size by their upper left corners."""
    low = torch.tensor(corners).view(-1, 2)
    return torch.cat([low, low + SIDE], dim=1)


def total(cost, background, chosen) -> float:
    """Sum of an assignment's costs, row by row."""
    return sum(
        float(background[row]) if column < 0 else float(cost[row, column])
        for row, column in enumerate(chosen)
    )


def cheapest(cost, background) -> float:
    """By trying every way: columns of background are added until every row can have its own."""
    count, columns = cost.shape
    extra = [-1] * max(count - columns, 0)
    ways = set(itertools.permutations([*range(columns), *extra], count))
    return min((total(cost, background, way) for way in ways), default=0.0)


def test_cost_by_hand():
    boxes = torch.tensor([[0.0, 0.0, 0.5, 0.5]], dtype=torch.float64)
    annotated = torch.tensor([[0.0, 0.0, 0.5, 1.0]], dtype=torch.float64)
    scores = torch.tensor([[0.8, 0.1]], dtype=torch.float64)
    labels = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    classification = -(np.log(0.8) + np.log(0.9)) / 2
    # y2 differs by a half: 0.5 * 0.25; IoU 1/2, hull and union the same.
    cost = assignment_cost(boxes, scores, annotated, labels)
    assert cost.item() == pytest.approx(classification + 0.125 + 0.5)
    assert background_cost(scores).item() == pytest.approx(-(np.log(0.2) + np.log(0.9)) / 2)
    weights = CostWeights(classification=2.0, distance=4.0, giou=0.0)
    weighed = assignment_cost(boxes, scores, annotated, labels, weights=weights)
    assert weighed.item() == pytest.approx(2 * classification + 0.5)
    assert background_cost(scores, weights=weights).item() == pytest.approx(
        2 * background_cost(scores).item()
    )


def test_classification_is_binary_cross_entropy_and_finite_for_certain_scores():
    scores = torch.tensor([[0.0, 1.0, 0.3], [1.0, 0.0, 1e-30]])
    labels = torch.tensor([[0.0, 1.0, 1.0], [1.0, 1.0, 0.0]])
    boxes = at((0.1, 0.1), (0.5, 0.5))
    only = CostWeights(distance=0.0, giou=0.0)
    found = assignment_cost(boxes, scores, boxes, labels, weights=only)
    for row, column in itertools.product(range(2), range(2)):
        wanted = functional.binary_cross_entropy(scores[row], labels[column])
        torch.testing.assert_close(found[row, column], wanted)


@given(
    count=st.integers(0, 6),
    columns=st.integers(0, 6),
    seed=st.integers(0, 10_000),
    whole=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_equals_brute_force_over_permutations(count, columns, seed, whole):
    generator = torch.Generator().manual_seed(seed)
    cost = torch.rand(count, columns, generator=generator, dtype=torch.float64) * 3
    background = torch.rand(count, generator=generator, dtype=torch.float64) * 3
    if whole:  # many ties
        cost, background = cost.round(), background.round()
    chosen = solve_assignment(cost, background).tolist()
    used = [column for column in chosen if column >= 0]
    assert len(set(used)) == len(used) == min(count, columns)
    assert total(cost, background, chosen) == pytest.approx(cheapest(cost, background))


@given(
    count=st.integers(0, 4),
    before=st.integers(0, 3),
    after=st.integers(0, 3),
    seed=st.integers(0, 999),
)
@settings(deadline=None, max_examples=40)
def test_labels_are_those_of_the_cheapest_assignment(count, before, after, seed):
    torch.manual_seed(seed)
    boxes, scores = at(*torch.rand(count, 2).tolist()), torch.rand(count, 3)
    annotated = at(*torch.rand(before + after, 2).tolist())
    labels = torch.rand(before + after, 3).round()
    (pseudo,) = assign_temporal_labels(
        [Proposals(boxes=boxes, scores=scores)],
        [
            Neighbours(
                before=Keyframe(boxes=annotated[:before], labels=labels[:before]),
                after=Keyframe(boxes=annotated[before:], labels=labels[before:]),
            )
        ],
        background="negative",
    )
    cost = assignment_cost(boxes, scores, annotated, labels)
    background = background_cost(scores)
    assert pseudo.proposal.tolist() == list(range(count))
    found = total(cost, background, pseudo.annotation.tolist())
    assert found == pytest.approx(cheapest(cost, background), abs=1e-4)
    for row, column in enumerate(pseudo.annotation.tolist()):
        wanted = torch.zeros(3) if column < 0 else labels[column]
        assert torch.equal(pseudo.labels[row], wanted)


def test_ten_thousand_problems_reach_the_optimum_with_explicit_background_objects():
    generator = np.random.default_rng(0)
    cost = generator.random((10_000, 6, 4))
    background = generator.random((10_000, 6))
    rows = generator.integers(0, 7, 10_000)
    columns = generator.integers(0, 5, 10_000)
    chosen = solve_assignment(
        torch.from_numpy(cost),
        torch.from_numpy(background),
        proposals=rows.tolist(),
        annotations=columns.tolist(),
    ).numpy()
    for number, (n, m) in enumerate(zip(rows, columns, strict=True)):
        extra = np.repeat(background[number, :n, None], max(n - m, 0), axis=1)
        square = np.concatenate([cost[number, :n, :m], extra], axis=1)
        found = np.where(
            chosen[number, :n] < 0,
            background[number, :n],
            np.take_along_axis(cost[number, :n], np.maximum(chosen[number, :n, None], 0), axis=1)[
                :, 0
            ],
        ).sum()
        assert found == pytest.approx(square[linear_sum_assignment(square)].sum())
        assert (chosen[number, n:] == -1).all()
        assert chosen[number].max() < max(m, 1)


@given(people=st.integers(1, 6), seed=st.integers(0, 9999))
@settings(deadline=None, max_examples=40)
def test_perfect_boxes_find_the_hidden_labels_where_no_action_changes(people, seed):
    """People on a grid, who move little; the teacher knows where they are and not what they do."""
    torch.manual_seed(seed)
    cells = torch.tensor([[x, y] for x in (0.1, 0.4, 0.7) for y in (0.1, 0.6)])
    start = cells[torch.randperm(6)[:people]]
    move = torch.rand(people, 2) * 0.05
    labels = torch.rand(people, 4).round()
    order, later = torch.randperm(people), torch.randperm(people)
    hidden = at(*(start[order] + move[order] / 2).tolist())
    (pseudo,) = assign_temporal_labels(
        [Proposals(boxes=hidden, scores=torch.full((people, 4), 0.5))],
        [
            Neighbours(
                before=Keyframe(boxes=at(*start.tolist()), labels=labels),
                after=Keyframe(boxes=at(*(start + move)[later].tolist()), labels=labels[later]),
            )
        ],
    )
    assert torch.equal(pseudo.boxes, hidden)
    assert torch.equal(pseudo.labels, labels[order])


def test_scores_decide_between_people_in_one_place():
    """Two annotations of one box that do different things: the sure proposal takes its own."""
    spot = at((0.4, 0.4))
    (pseudo,) = assign_temporal_labels(
        [Proposals(boxes=spot, scores=torch.tensor([[0.1, 0.9]]))],
        [
            Neighbours(
                before=Keyframe(boxes=spot, labels=torch.tensor([[1, 0]])),
                after=Keyframe(boxes=spot, labels=torch.tensor([[0, 1]])),
            )
        ],
    )
    assert pseudo.annotation.tolist() == [1]
    assert pseudo.labels.tolist() == [[0.0, 1.0]]


def test_the_rest_is_background():
    """The farther proposal yields the only annotation; what it becomes is an option."""
    found = Proposals(boxes=at((0.6, 0.6), (0.1, 0.12)), scores=torch.full((2, 3), 0.5))
    near = Neighbours(after=Keyframe(boxes=at((0.1, 0.1)), labels=torch.tensor([[1, 0, 1]])))
    (dropped,) = assign_temporal_labels([found], [near])
    assert dropped.proposal.tolist() == [1]
    assert dropped.annotation.tolist() == [0]
    (negative,) = assign_temporal_labels([found], [near], background="negative")
    assert negative.proposal.tolist() == [0, 1]
    assert negative.annotation.tolist() == [-1, 0]
    assert negative.labels.tolist() == [[0, 0, 0], [1, 0, 1]]
    with pytest.raises(ValueError, match=r"\"drop\" or \"negative\"; got 'keep'"):
        assign_temporal_labels([found], [near], background="keep")  # type: ignore[arg-type]


def test_a_batch_is_its_clips_one_by_one(make_proposals, make_neighbours):
    torch.manual_seed(1)
    counts = [(4, 2, 3), (0, 2, 2), (7, 1, None), (3, None, None), (2, 0, 0), (5, None, 8)]
    proposals = [make_proposals(n) for n, _, _ in counts]
    neighbours = [make_neighbours(before, after) for _, before, after in counts]
    together = assign_temporal_labels(proposals, neighbours)
    for found, near, pseudo in zip(proposals, neighbours, together, strict=True):
        (alone,) = assign_temporal_labels([found], [near])
        for name in ("boxes", "labels", "proposal", "annotation"):
            assert torch.equal(getattr(pseudo, name), getattr(alone, name))
        assert pseudo.known == alone.known
    assert [len(pseudo) for pseudo in together] == [4, 0, 1, 0, 0, 5]
    assert [pseudo.known for pseudo in together] == [True, True, True, False, True, True]


def test_pixels_with_their_size_are_fractions(make_proposals, make_neighbours):
    size = (240.0, 320.0)
    torch.manual_seed(2)
    pixels, around = make_proposals(6, size=size), make_neighbours(2, 2, size=size)
    scale = torch.tensor([320.0, 240.0] * 2)

    def fractions(frame):
        return Keyframe(boxes=frame.boxes / scale, labels=frame.labels)

    (wanted,) = assign_temporal_labels(
        [Proposals(boxes=pixels.boxes / scale, scores=pixels.scores)],
        [Neighbours(before=fractions(around.before), after=fractions(around.after))],
    )
    (found,) = assign_temporal_labels([pixels], [around])
    assert torch.equal(found.annotation, wanted.annotation)
    assert torch.equal(found.boxes, pixels.boxes[found.proposal])  # to the bit


def test_solver_refuses_what_it_cannot_solve():
    with pytest.raises(ValueError, match="NaN"):
        solve_assignment(torch.tensor([[torch.nan]]), torch.zeros(1))
    with pytest.raises(ValueError, match="infinity"):
        solve_assignment(torch.tensor([[1.0]]), torch.tensor([torch.inf]))
    with pytest.raises(ValueError, match=r"\[1, 2, 3\] and \[1, 3\]"):
        solve_assignment(torch.zeros(2, 3), torch.zeros(3))
    with pytest.raises(ValueError, match="giou must be finite and at least 0; got -1"):
        CostWeights(giou=-1.0)
