"""Tiny models learn from scratch where boxes are and how they move."""

import pytest
import torch
from torchvision.ops import box_iou

from stad_models import zoo
from stad_models.detectors.stma_options import StmaOptions

STEPS = 55


def trained(model, clips, targets):
    """A model after full-batch steps whose rate falls over the second half."""
    optimiser = torch.optim.Adam(model.parameters())
    for step in range(STEPS):
        optimiser.param_groups[0]["lr"] = 4e-3 * min(1, 2 * (1 - step / STEPS))
        loss = sum(model(clips, targets).values())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


@torch.no_grad()
def judge(model, clips, targets):
    """Mean IoU of the best tubelets by frame, and the share whose action is right."""
    overlaps, right = [], []
    for found, tracks in zip(model(clips), targets.tracks, strict=True):
        overlaps.append(
            torch.stack(
                [
                    box_iou(found.boxes[:1, k], tracks.boxes[:, k])[0, 0]
                    for k in range(tracks.boxes.shape[1])
                ]
            )
        )
        right.append(found.scores[0].argmax() == tracks.labels[0, 0].argmax())
    return torch.stack(overlaps).mean(dim=0), torch.stack(right).float().mean()


@pytest.mark.parametrize(
    ("builder", "numbers"),
    [
        (zoo.moc_tiny, {}),
        (zoo.stma_tiny, {"clip_length": 8, "options": StmaOptions(action_weight=0.1)}),
    ],
)
def test_it_localises_follows_and_tells_actions(builder, numbers, moving_squares):
    model = builder(2, **numbers)
    clips, targets = moving_squares(4, frames=model.clip_length, length=5, size=(64, 48))
    untrained, _ = judge(builder(2, **numbers).eval(), clips, targets)
    overlap_K, right = judge(trained(model, clips, targets), clips, targets)
    assert untrained.max() < 0.3
    assert overlap_K.min() > 0.6  # in every frame, however far from the keyframe
    assert right == 1
    # Boxes that stayed where they are in the keyframe would overlap less at both ends.
    still = [
        box_iou(tracks.boxes[:, 2], tracks.boxes[:, k])[0, 0]
        for tracks in targets.tracks
        for k in (0, 4)
    ]
    assert overlap_K[[0, 4]].mean() > torch.stack(still).mean() + 0.05
