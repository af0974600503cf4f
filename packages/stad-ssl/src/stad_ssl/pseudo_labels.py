"""Ways of labelling unlabelled frames, behind one call: a batch of clips in, pseudo labels out.

A `Strategy` is any function of that form; options are bound with `functools.partial`. The rows of
SE-STAD's Table 6:

| row                 | strategy                                                            |
|---------------------|---------------------------------------------------------------------|
| None                | `no_pseudo_labels`, the student evaluated                           |
| Interpolation       | `interpolate_labels`                                                |
| EMA                 | `no_pseudo_labels`, the student's average evaluated (`MeanTeacher`) |
| Hard threshold      | `partial(threshold_labels, threshold=0.5)`                          |
| Per class threshold | `partial(threshold_labels, threshold=calibrate_thresholds(...))`    |
| TLA                 | `assign_temporal_labels`                                            |
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from stad_ssl.assignment import Background, check_background
from stad_ssl.frames import Neighbours, Proposals, PseudoLabels
from stad_ssl.gathering import gather

Strategy = Callable[[Sequence[Proposals], Sequence[Neighbours]], list[PseudoLabels]]
"""Proposals and neighbours of each clip of a batch in, one `PseudoLabels` per clip out."""


def no_pseudo_labels(
    proposals: Sequence[Proposals], neighbours: Sequence[Neighbours]
) -> list[PseudoLabels]:
    """Leave every unlabelled clip out: supervised training, with or without an average (EMA).

    Args:
        proposals: of each clip; not used, but checked as everywhere.
        neighbours: likewise.

    Returns:
        One per clip, all empty and not `known`.

    Raises:
        ValueError: as `assign_temporal_labels`.

    Source: SE-STAD, Table 6, rows None and EMA.
    """
    batch = gather(proposals, neighbours)
    nothing = torch.zeros(len(batch.clip), dtype=torch.bool)
    return batch.kept(nothing, batch.scores, batch.row, known=[False] * len(neighbours))


def threshold_labels(
    proposals: Sequence[Proposals],
    neighbours: Sequence[Neighbours],
    *,
    threshold: float | Tensor,
    restrict: bool = True,
    exclusive: bool = False,
    background: Background = "drop",
) -> list[PseudoLabels]:
    """Give each proposal the actions that score enough.

    The temporal restriction lets an action through only where somebody does it in one of the two
    neighbour keyframes (the one that there is, if the other is missing). Without both neighbours a
    restricted clip is not `known`; an unrestricted one always is. Without proposals there are no
    pseudo boxes.

    Args:
        proposals: the teacher's, one per clip of the batch.
        neighbours: the keyframes around each clip.
        threshold: a score of at least this gives the label: one number for all classes, or `[C]`,
            one for each (see `calibrate_thresholds`; infinity gives a class never).
        restrict: apply the temporal restriction.
        exclusive: an actor does one action at a time: of those that score enough (and pass the
            restriction) only the one with the highest score is given.
        background: "drop" leaves proposals without any label out; "negative" keeps them as actors
            without labels.

    Returns:
        One per clip, rows in the order of the proposals.

    Raises:
        ValueError: as `assign_temporal_labels`; a threshold that is NaN or has the wrong shape.

    Source: SE-STAD, Sec. 4.4.5, "Hard Threshold" and "Per Class Threshold".
    """
    check_background(background)
    batch = gather(proposals, neighbours)
    classes = batch.scores.shape[1]
    least = torch.as_tensor(threshold).detach().cpu().to(batch.scores.dtype)
    if least.shape not in ((), (classes,)) or bool(least.isnan().any()):
        raise ValueError(
            f"threshold must be a number or [{classes}], one per class, without NaN; "
            f"found {least.tolist()}"
        )
    given = batch.scores >= least
    known = [True] * len(neighbours)
    if restrict:
        around_BC = torch.zeros(len(neighbours), classes, dtype=batch.labels.dtype)
        around_BC.index_add_(0, batch.annotated_clip, batch.labels)
        given &= (around_BC > 0)[batch.clip]
        known = [bool(near.keyframes) for near in neighbours]
    keep = given.any(dim=1)
    if exclusive:
        best = batch.scores.where(given, -1.0).argmax(dim=1)
        given &= best[:, None] == torch.arange(classes)
    if background == "negative":
        keep = torch.ones_like(keep)
    return batch.kept(keep, given, torch.full_like(batch.clip, -1), known=known)
