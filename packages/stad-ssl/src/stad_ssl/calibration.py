"""Thresholds per class, found on annotated frames.

Suffix legend: K = scored actors of all frames, C = classes; N, M = findings and annotated actors of
one frame.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from stad_ssl.boxes import pairwise_iou
from stad_ssl.frames import Keyframe, Neighbours, Proposals
from stad_ssl.gathering import gather


@torch.no_grad()
def class_thresholds(scores: Tensor, labels: Tensor, *, missed: Tensor | None = None) -> Tensor:
    """For each class the threshold that labels best: the one with the largest F1 score.

    "Score at least the threshold" is compared with the labels; of equally good thresholds the
    highest wins. A score of 0 is never taken for a finding. A class that is never there, or whose
    actors all score 0, gets infinity: it is never given.

    Args:
        scores: `[K, C]` in [0, 1]; K may be 0.
        labels: `[K, C]` in {0, 1}: what each scored actor really does, nothing for a proposal that
            is nobody.
        missed: `[C]`, actors of each class that were not found at all and so have no score.

    Returns:
        `[C]`, of the scores' type (at least float32) and device.

    Raises:
        ValueError: shapes that disagree, scores outside [0, 1] or NaN, labels other than 0 and 1,
            negative counts.

    Source: SE-STAD, Sec. 4.4.5 has thresholds "calculated from the model on the training set"; the
    criterion is ours.
    """
    _check_calibration(scores, labels, missed)
    if scores.dtype not in (torch.float32, torch.float64):
        scores = scores.float()
    never = torch.full(scores.shape[1:], torch.inf, dtype=scores.dtype, device=scores.device)
    if len(scores) == 0:
        return never
    sorted_KC, order = scores.sort(dim=0, descending=True, stable=True)
    true_KC = labels.to(scores.device, torch.float64).gather(0, order).cumsum(dim=0)
    positives_C = true_KC[-1] + (0 if missed is None else missed.to(scores.device))
    given = torch.arange(1, len(scores) + 1, device=scores.device, dtype=torch.float64)[:, None]
    f1_KC = 2 * true_KC / (given + positives_C)
    # A threshold cannot part equal scores: only the last of a run stands for it.
    parts = torch.ones_like(sorted_KC, dtype=torch.bool)
    parts[:-1] = sorted_KC[:-1] > sorted_KC[1:]
    f1_KC[~parts | (sorted_KC <= 0)] = 0.0
    best_C, at_C = f1_KC.max(dim=0)
    return torch.where(best_C > 0, sorted_KC.gather(0, at_C[None])[0], never)


def calibrate_thresholds(
    proposals: Sequence[Proposals],
    truth: Sequence[Keyframe],
    *,
    iou: float = 0.5,
    size: tuple[float, float] = (1.0, 1.0),
) -> Tensor:
    """Thresholds per class from a model's findings on annotated frames, for `threshold_labels`.

    Each finding is the annotated actor that it overlaps most, if by enough; several may be the same
    one, as proposals before suppression are. Findings that are nobody count as actors without
    labels, annotated actors that no finding overlaps enough as missed.

    Args:
        proposals: what the model found in each annotated frame, with the settings that pseudo
            labels will be made with.
        truth: the annotation of each frame.
        iou: overlap from which a finding is the annotated actor.
        size: (height, width) of the frames in the boxes' unit.

    Returns:
        `[C]` in CPU memory.

    Raises:
        ValueError: as `assign_temporal_labels`; an IoU outside (0, 1].
    """
    if not 0.0 < iou <= 1.0:
        raise ValueError(f"iou must lie in (0, 1]; got {iou}")
    batch = gather(proposals, [Neighbours(before=frame, size=size) for frame in truth])
    labels = torch.zeros_like(batch.scores)
    missed = torch.zeros(labels.shape[1], dtype=torch.float64)  # float32 counts to 2^24 only
    frames = range(len(truth))
    rows = torch.bincount(batch.clip, minlength=len(truth)).tolist()
    columns = torch.bincount(batch.annotated_clip, minlength=len(truth)).tolist()
    parts = (batch.boxes.split(rows), batch.annotated.split(columns), batch.labels.split(columns))
    wanted = labels.split(rows)  # views: filling one fills its rows of `labels`
    for frame, boxes, annotated, real in zip(frames, *parts, strict=True):
        overlap_NM = pairwise_iou(boxes.double(), annotated.double())
        enough_NM = overlap_NM >= iou
        missed += real[~enough_NM.any(dim=0)].double().sum(dim=0)
        hit = enough_NM.any(dim=1)
        if bool(hit.any()):
            wanted[frame][hit] = real[overlap_NM[hit].argmax(dim=1)]
    return class_thresholds(batch.scores, labels, missed=missed)


def _check_calibration(scores: Tensor, labels: Tensor, missed: Tensor | None) -> None:
    if scores.ndim != 2 or labels.shape != scores.shape:
        raise ValueError(
            "scores and labels must both be [K, C]; found "
            f"{list(scores.shape)} and {list(labels.shape)}"
        )
    if not bool(((scores >= 0) & (scores <= 1)).all()):
        raise ValueError("scores must be probabilities in [0, 1]; found NaN or values outside")
    if not bool(((labels == 0) | (labels == 1)).all()):
        raise ValueError("labels must be 0 or 1")
    if missed is not None and (missed.shape != scores.shape[1:] or bool((missed < 0).any())):
        raise ValueError(
            f"missed must be [{scores.shape[1]}] counts of at least 0; found {missed.tolist()}"
        )
