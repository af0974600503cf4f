import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_ssl import Keyframe, Neighbours, Proposals, interpolate_labels

START, END = [0.0, 0.0, 0.2, 0.4], [0.4, 0.2, 0.8, 0.6]
STAYS, COMES = [0.7, 0.7, 0.9, 0.9], [0.1, 0.6, 0.3, 0.9]


def run(before, after, position, **options):
    near = Neighbours(before=before, after=after, position=position)
    (pseudo,) = interpolate_labels([Proposals.none(3)], [near], **options)
    return pseudo


def frame(boxes, labels, persons):
    return Keyframe(
        boxes=torch.tensor(boxes).view(-1, 4),
        labels=torch.tensor(labels).view(-1, 3),
        persons=torch.tensor(persons, dtype=torch.int64),
    )


BEFORE = frame([STAYS, START], [[1, 0, 0], [0, 1, 0]], [4, 7])
AFTER = frame([END, COMES], [[0, 0, 1], [1, 1, 1]], [7, 9])


def test_a_line_by_hand_and_the_nearer_keyframes_labels():
    early = run(BEFORE, AFTER, 0.25)
    torch.testing.assert_close(early.boxes[0], torch.tensor([0.1, 0.05, 0.35, 0.45]))
    assert early.labels[0].tolist() == [0, 1, 0]
    assert early.annotation[0] == 1
    late = run(BEFORE, AFTER, 0.75)
    torch.testing.assert_close(late.boxes[0], torch.tensor([0.3, 0.15, 0.65, 0.55]))
    assert late.labels[0].tolist() == [0, 0, 1]
    assert late.annotation[0] == 2  # the first box of the later keyframe
    assert run(BEFORE, AFTER, 0.5).labels[0].tolist() == [0, 1, 0]
    assert (early.proposal == -1).all()


def test_who_is_in_one_keyframe_only_stays_half_the_way():
    early, late = run(BEFORE, AFTER, 0.25), run(BEFORE, AFTER, 0.75)
    assert early.annotation.tolist() == [1, 0]
    assert early.boxes[1].tolist() == pytest.approx(STAYS)
    assert early.labels[1].tolist() == [1, 0, 0]
    assert late.annotation.tolist() == [2, 3]
    assert late.boxes[1].tolist() == pytest.approx(COMES)
    assert len(run(BEFORE, AFTER, 0.25, unmatched="drop")) == 1


def test_unknown_persons_are_nobodys_match():
    before, after = frame([START], [[1, 0, 0]], [-1]), frame([END], [[0, 1, 0]], [-1])
    assert run(before, after, 0.3).annotation.tolist() == [0]
    assert len(run(before, after, 0.3, unmatched="drop")) == 0
    twice = frame([START, STAYS], [[1, 0, 0]] * 2, [-1, -1])
    assert run(twice, after, 0.3).annotation.tolist() == [0, 1]


@given(position=st.floats(0.01, 0.99), count=st.integers(1, 5), seed=st.integers(0, 999))
@settings(deadline=None, max_examples=30)
def test_time_reversed_gives_the_same(position, count, seed):
    torch.manual_seed(seed)

    def random(persons):
        low = torch.rand(count, 2, dtype=torch.float64)
        return Keyframe(
            boxes=torch.cat([low, low + 0.1], dim=1),
            labels=torch.rand(count, 3).round(),
            persons=persons,
        )

    before, after = random(torch.randperm(6)[:count]), random(torch.randperm(6)[:count])
    if position == 0.5:
        return  # the middle takes the former keyframe's labels
    forth = run(before, after, position)
    back = run(after, before, 1 - position)
    a, b = (
        torch.cat([found.boxes, found.labels.double()], dim=1).tolist() for found in (forth, back)
    )
    for ours, theirs in zip(sorted(a), sorted(b), strict=True):
        assert ours == pytest.approx(theirs)


def test_missing_and_empty_keyframes():
    nobody = frame([], [], [])
    for before, after in ((BEFORE, None), (None, AFTER), (None, None)):
        pseudo = run(before, after, 0.5)
        assert len(pseudo) == 0
        assert not pseudo.known
    assert run(nobody, nobody, 0.5).known
    assert run(nobody, AFTER, 0.9).annotation.tolist() == [0, 1]
    assert len(run(nobody, AFTER, 0.1)) == 0


def test_what_it_needs_is_named():
    with pytest.raises(ValueError, match=r"clip 0.*needs the position"):
        run(BEFORE, AFTER, None)
    nameless = Keyframe(boxes=AFTER.boxes, labels=AFTER.labels)
    with pytest.raises(ValueError, match=r"after clip 0.*give persons"):
        run(BEFORE, nameless, 0.5)
    double = Keyframe(boxes=AFTER.boxes, labels=AFTER.labels, persons=torch.tensor([3, 3]))
    with pytest.raises(ValueError, match=r"before clip 0.*may appear once; found \[3, 3\]"):
        run(double, AFTER, 0.5)
    with pytest.raises(ValueError, match='"nearest" or "drop"'):
        run(BEFORE, AFTER, 0.5, unmatched="keep")
