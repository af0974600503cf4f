"""From a batch to what a detector takes: normalised clips on its device, and targets."""

import numpy as np
import torch
from torch import Tensor

from stad_cli.engine.detector import FUSED_CHANNELS, STACKED_CHANNELS
from stad_data.clip_flow import early_fusion
from stad_data.clip_tracks import ClipTracks
from stad_data.loading import Batch
from stad_models.detectors.snippets import flow_images, stacked_flow
from stad_models.structures import Targets, TrackTargets

# The trunks' public weights were trained on frames normalised by these (of frames in [0, 1]).
MEAN, SPREAD = 0.45, 0.225

UNDECIDED = 255
"""What a mask holds where it is not known whose a pixel is."""


def normalise(clips: Tensor) -> Tensor:
    """Frames in [0, 255] of any shape as the float32 that every model here was trained on."""
    return clips.float().sub_(255.0 * MEAN).mul_(1.0 / (255.0 * SPREAD))


def model_input(batch: Batch, device: torch.device, *, channels: int = STACKED_CHANNELS) -> Tensor:
    """Clips as a detector takes them: moved as bytes, normalised where it computes.

    `[N, 3, T, H, W]`. Where the batch has flow, it lies below the colours: its two displacements
    for a detector of 5 channels (`early_fusion`), else stacked images of it, 18 channels in all.
    Where it has given masks, the fourth channel is the mask on the first frame, 0 on the others.
    """
    clips = normalise(batch.clips.to(device, non_blocking=True))
    if batch.given is not None:
        masks = torch.zeros_like(clips[:, :1])
        masks[:, 0, 0] = batch.given.to(device, non_blocking=True)
        return torch.cat([clips, masks], dim=1)
    if batch.flow is None:
        return clips
    flow = batch.flow.to(device, non_blocking=True)
    if channels == FUSED_CHANNELS:
        return early_fusion(clips, flow)
    return torch.cat([clips, stacked_flow(normalise(flow_images(flow)))], dim=1)


def to_device(
    batch: Batch, device: torch.device, *, channels: int = STACKED_CHANNELS
) -> tuple[Tensor, Targets]:
    """A batch as a detector of so many input channels takes it."""
    return model_input(batch, device, channels=channels), targets_of(batch).to(device)


def targets_of(batch: Batch) -> Targets:
    """What is known of a batch: boxes at keyframes; tracks, masks, proposals where it has them."""
    tracks = [tracks for tracks in batch.tracks if tracks is not None]
    masks = batch.masks
    if masks is not None and masks.dtype == torch.uint8:
        masks = ((masks > 0) & (masks < UNDECIDED)).float()
    return Targets(
        boxes=tuple(batch.boxes),
        labels=tuple(batch.labels),
        tracks=tuple(_track_targets(each) for each in tracks) if tracks else None,
        masks=masks,
        proposals=None if batch.proposals is None else tuple(batch.proposals),
    )


def _track_targets(tracks: ClipTracks) -> TrackTargets:
    # Some arrays are views that run backwards, which torch does not take.
    return TrackTargets(
        boxes=torch.from_numpy(np.ascontiguousarray(tracks.boxes)),
        present=torch.from_numpy(np.ascontiguousarray(tracks.present)),
        labels=torch.from_numpy(np.ascontiguousarray(tracks.labels, np.float32)),
    )
