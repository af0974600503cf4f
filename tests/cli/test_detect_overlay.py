"""What the overlay shows between keyframes."""

from dataclasses import dataclass

import numpy as np
import pytest

from stad_cli.keyframe_detections import KeyframeDetections
from stad_cli.overlay import Overlay, ShownActor, between, caption

CLASSES = ("walk", "wave", "sit")


def found(frame, time, **actors):
    """``actors``: t<number>=(x, scores)."""
    rows = [(int(name[1:]), x, scores) for name, (x, scores) in actors.items()]
    return KeyframeDetections(
        frame=frame,
        time=time,
        boxes=np.array([[x, 0.0, x + 10, 20.0] for _, x, _ in rows]).reshape(-1, 4),
        actor_scores=np.full(len(rows), 0.9),
        scores=np.array([scores for *_, scores in rows], dtype=float).reshape(-1, 3),
        tracks=np.array([track for track, *_ in rows], dtype=np.int64),
    )


def test_boxes_move_on_a_line_and_actions_are_the_nearer_ones():
    before = found(0, 0.0, t0=(0.0, [0.9, 0, 0]))
    after = found(8, 1.0, t0=(40.0, [0, 0.8, 0]))
    quarter, late = between(before, after, 0.25)[0], between(before, after, 0.75)[0]
    np.testing.assert_allclose(quarter.box, [10, 0, 20, 20])
    assert quarter.scores.tolist() == [0.9, 0, 0]
    np.testing.assert_allclose(late.box, [30, 0, 40, 20])
    assert late.scores.tolist() == [0, 0.8, 0]


def test_an_actor_of_one_keyframe_is_shown_half_way():
    before = found(0, 0.0, t0=(0.0, [1, 0, 0]))
    after = found(8, 1.0, t1=(50.0, [1, 0, 0]))
    assert [actor.track for actor in between(before, after, 0.4)] == [0]
    assert [actor.track for actor in between(before, after, 0.6)] == [1]
    np.testing.assert_allclose(between(before, after, 0.6)[0].box, [50, 0, 60, 20])


@pytest.mark.parametrize(
    ("scores", "exclusive", "text"),
    [
        ([0.9, 0.5, 0.1], False, "walk 0.90\nwave 0.50"),
        ([0.9, 0.5, 0.1], True, "walk 0.90"),
        ([0.1, 0.2, 0.0], False, "person 0.70"),
    ],
)
def test_captions(scores, exclusive, text):
    actor = ShownActor(track=0, box=np.zeros(4), actor_score=0.7, scores=np.array(scores))
    assert caption(actor, CLASSES, least=0.3, exclusive=exclusive) == text


@dataclass(frozen=True)
class Still:
    index: int
    time: float
    image: np.ndarray


def test_every_frame_is_written_once_in_order_with_its_time():
    times = [0.0, 0.1, 0.15, 0.4, 0.5, 0.6, 0.9]
    frames = iter([Still(i, t, np.zeros((1, 1, 3), np.uint8)) for i, t in enumerate(times)])
    written, drawn = [], []

    def draw(image, actors):
        drawn.append([float(actor.box[0]) for actor in actors])
        return image

    overlay = Overlay(frames, draw=draw, write=lambda _, time: written.append(time))
    overlay.add(found(0, 0.0, t0=(0.0, [1, 0, 0])))
    assert written == []
    overlay.add(found(3, 0.4, t0=(40.0, [1, 0, 0])))
    assert written == times[:3]
    overlay.add(found(6, 0.9))
    overlay.finish()
    assert written == times
    np.testing.assert_allclose([row[0] for row in drawn[:5]], [0, 10, 15, 40, 40])
    assert drawn[5:] == [[40.0], []] or drawn[5:] == [[], []]


def test_a_video_without_anybody_is_written_as_it_is():
    frames = iter([Still(i, i / 10, np.zeros((1, 1, 3), np.uint8)) for i in range(5)])
    shown = []
    overlay = Overlay(
        frames, draw=lambda image, actors: shown.append(len(actors)) or image, write=lambda *_: None
    )
    overlay.add(found(0, 0.0))
    overlay.add(found(4, 0.4))
    overlay.finish()
    assert shown == [0] * 5
