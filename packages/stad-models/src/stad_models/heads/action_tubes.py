"""Annotated actions as tubes: who does what from when to when, and which of them a span shows.

Time is counted in frames of the clip: frame t lasts from t to t + 1.
Suffixes: G tubes, T frames of the clip, C classes, S spans, M actors.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot, pad

from stad_models.structures import TrackTargets
from stad_models.trajectories import normalised_times


@dataclass(frozen=True, kw_only=True, eq=False)
class ActionTubes:
    """The actions of one clip: a tube per actor, class and run of successive frames.

    Attributes:
        boxes: `[G, T, 4]` xyxy; meaningless outside the run.
        present: `[G, T]` bool, the run.
        labels: `[G]` int64.
        actors: `[G]` int64, rows of the tracks.
        num_classes: C.
    """

    boxes: Tensor
    present: Tensor
    labels: Tensor
    actors: Tensor
    num_classes: int

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def spans(self) -> Tensor:
        """`[G, 2]` float, start and end of each run."""
        frames = torch.arange(self.present.shape[1], device=self.present.device)
        first_G = torch.where(self.present, frames, frames.numel()).amin(dim=1)
        last_G = torch.where(self.present, frames, -1).amax(dim=1)
        return torch.stack((first_G, last_G + 1), dim=1).float()


@dataclass(frozen=True, kw_only=True, eq=False)
class SpanTubes:
    """The tubes that a span shows, cut to it.

    Attributes:
        boxes: `[G, T, 4]`.
        present: `[G, T]` bool: frames of the tube whose middle lies in the span; at least one each.
        classes: `[G, C]` float in {0, 1}: what the actor of each tube does in the span.
        times: `[T]`, the clip's frames normalised by the span.
    """

    boxes: Tensor
    present: Tensor
    classes: Tensor
    times: Tensor

    def __len__(self) -> int:
        return len(self.classes)


def action_tubes(tracks: TrackTargets) -> ActionTubes:
    """The tubes of a clip's tracks over all of its frames.

    A label of at least 1/2 counts. Frames in which a box has no area count as if the actor were
    absent, and a run ends where its actor is absent for a frame. No actor gives no tube.
    """
    area_MT = (tracks.boxes[..., 2:] > tracks.boxes[..., :2]).all(dim=2)
    does_MCT = ((tracks.labels >= 0.5) & (tracks.present & area_MT)[:, :, None]).transpose(1, 2)
    before, after = pad(does_MCT, (1, 0))[..., :-1], pad(does_MCT, (0, 1))[..., 1:]
    starts = (does_MCT & ~before).nonzero()
    stops = (does_MCT & ~after).nonzero()
    frames = torch.arange(does_MCT.shape[2], device=does_MCT.device)
    return ActionTubes(
        boxes=tracks.boxes[starts[:, 0]],
        present=(frames >= starts[:, 2:]) & (frames <= stops[:, 2:]),
        labels=starts[:, 1],
        actors=starts[:, 0],
        num_classes=does_MCT.shape[1],
    )


def span_iou(a: Tensor, b: Tensor) -> Tensor:
    """Overlap in time `[A, B]` of spans `[A, 2]` and `[B, 2]`; 0 where both are empty."""
    low = torch.maximum(a[:, None, 0], b[None, :, 0])
    high = torch.minimum(a[:, None, 1], b[None, :, 1])
    shared = (high - low).clamp(min=0)
    union = (a[:, 1] - a[:, 0])[:, None] + (b[:, 1] - b[:, 0])[None] - shared
    return shared / union.clamp(min=torch.finfo(union.dtype).tiny)


def tubes_of_span(tubes: ActionTubes, span: Tensor, *, least: float = 0.5) -> SpanTubes:
    """The tubes that overlap a span `[2]` in time by at least `least`, cut to it.

    All tubes of an actor that are chosen count as what each of them does, so that an actor who does
    two things at a time has one kind of box and two classes.
    """
    frames = torch.arange(tubes.present.shape[1], device=span.device, dtype=span.dtype)
    inside_T = (frames + 0.5 >= span[0]) & (frames + 0.5 < span[1])
    present_GT = tubes.present & inside_T
    chosen_G = (span_iou(span[None], tubes.spans)[0] >= least) & present_GT.any(dim=1)
    actors_G = tubes.actors[chosen_G]
    same_GG = (actors_G[:, None] == actors_G).float()
    labels_GC = one_hot(tubes.labels[chosen_G], tubes.num_classes).float()
    return SpanTubes(
        boxes=tubes.boxes[chosen_G],
        present=present_GT[chosen_G],
        classes=(same_GG @ labels_GC).clamp(max=1),
        times=normalised_times(frames, span[None])[0],
    )
