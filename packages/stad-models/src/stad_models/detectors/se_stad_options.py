"""How SE-STAD chooses proposals and scores actors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from stad_models.detectors.action_inputs import TestInputs, TrainInputs

ACTOR_POWERS = {"action": 0, "action*actor": 1, "action*actor^2": 2, "action*actor^3": 3}
"""How often the actor's score is a factor of an action's, by the name of the rule."""


@dataclass(frozen=True, kw_only=True)
class SeStadOptions:
    """How proposals are chosen and scored. Source: SE-STAD, Sec. 4.1.2, 4.1.3 and Table 4.

    Attributes:
        train_inputs: what trains the action head: "dense", proposals of the localisation head
            without NMS; "sparse", the same after NMS; "external", those of another detector that
            come with the targets; "truth", annotated boxes alone.
        train_score: proposals must score more than this to train the action head.
        train_proposals: at most this many proposals per clip.
        train_nms: IoU above which the worse of two "sparse" proposals goes.
        positive_iou: a proposal that overlaps an annotated box by at least this takes the labels of
            the box it overlaps most; all others are ignored.
        add_ground_truth: train the action head on the annotated boxes as well.
        actor_weight: weight of the localisation losses.
        action_weight: weight of the action loss. The paper's training section and its table of
            weights put the 10 here; its Eq. 3 puts it on localisation.
        label_smoothing: share of an action label that is spread, see `losses.action`.
        test_inputs: whose boxes are classified: "detected", those of the localisation head, or
            "external", those of another detector, given beside the clips.
        test_score: proposals must score more than this.
        test_nms: IoU above which the worse of two proposals goes.
        test_vote: IoU from which proposals join a kept box in a weighted mean, see
            `heads.localisation.vote`; None, as in the paper, leaves boxes as they are.
        test_candidates: at most this many proposals per clip enter NMS.
        max_actors: at most this many actors per clip.
        external_score: external proposals must score more than this, in training and test. The
            paper does not say; 0.8 is SlowFast's for AVA.
        action_threshold: scores below become 0.
        score: what an action's score is: its probability alone, times the actor's score, or times
            the square or cube of that. For FCOS the square is actor probability times centerness;
            higher powers rank well placed boxes first, which tells where probabilities of actions
            are vague.
    """

    train_inputs: TrainInputs = "dense"
    train_score: float = 0.3
    train_proposals: int = 100
    train_nms: float = 0.3
    positive_iou: float = 0.5
    add_ground_truth: bool = True
    actor_weight: float = 1.0
    action_weight: float = 10.0
    label_smoothing: float = 0.0
    test_inputs: TestInputs = "detected"
    test_score: float = 0.4
    test_nms: float = 0.3
    test_vote: float | None = None
    test_candidates: int = 1000
    max_actors: int = 10
    external_score: float = 0.8
    action_threshold: float = 0.002
    score: Literal["action", "action*actor", "action*actor^2", "action*actor^3"] = "action"

    def __post_init__(self) -> None:
        words = (
            ("score", self.score, tuple(ACTOR_POWERS)),
            ("train_inputs", self.train_inputs, get_args(TrainInputs)),
            ("test_inputs", self.test_inputs, get_args(TestInputs)),
        )
        for name, value, known in words:
            if value not in known:
                raise ValueError(
                    f"SeStadOptions: {name} must be one of {', '.join(known)}, found {value!r}"
                )
        if self.test_vote is not None and not 0 < self.test_vote <= 1:
            raise ValueError(
                f"SeStadOptions: test_vote must be in (0, 1] or None, found {self.test_vote}"
            )
