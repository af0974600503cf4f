"""MixMatch's batch: guessed targets of unlabelled clips, and all clips mixed with each other.

Source: MixMatch, Algorithm 1; that maps are guessed and mixed as classes are is our choice.
Suffix legend: L = labelled clips, U = unlabelled ones, A = L + 2 U, labelled clips, then the first
and the second views of the unlabelled ones.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from stad_cli.engine.methods.clip_pairs import PairBatch
from stad_cli.engine.methods.map_views import carried_maps
from stad_models.detectors.map_outputs import MapOutputs
from stad_ssl import mix_share, mixed, sharpen, sharpen_maps


@dataclass(frozen=True, kw_only=True, eq=False)
class MixedClips:
    """Clips `[A, 3, T, H, W]`, labels `[A, C]` and masks `[A, T, H, W]`, mixed with their like."""

    clips: Tensor
    labels: Tensor
    masks: Tensor


def mixed_clips(
    clips: Tensor,
    known: Tensor,
    masks: Tensor,
    found: MapOutputs,
    labelled: PairBatch,
    unlabelled: PairBatch,
    *,
    temperature: float,
    alpha: float,
) -> MixedClips:
    """Guess, sharpen, and mix every clip with another one of the batch.

    A guess is the mean over both views of a clip. Order and shares follow from the clips' own
    chances.

    Args:
        clips: `[A, 3, T, H, W]`, as the detector takes them.
        known: `[L, C]`.
        masks: `[L, T, H, W]`.
        found: Of the unlabelled clips' first views, then of their second ones.
        labelled: The L clips.
        unlabelled: The U clips.
        temperature: See `sharpen`.
        alpha: See `mix_share`.
    """
    count = len(unlabelled)
    guessed = sharpen((found.scores[:count] + found.scores[count:]).float() / 2, temperature)
    maps = _guessed_maps(found, unlabelled, temperature)
    labels = torch.cat([known, guessed, guessed])
    targets = torch.cat([masks, *maps])
    column = torch.cat([labelled.chances[:, 0], unlabelled.chances[:, 0], unlabelled.chances[:, 1]])
    order = column.argsort().to(clips.device)
    drawn = torch.cat([labelled.chances[:, 2], unlabelled.chances[:, 2], 1 - column[-count:]])
    shares = torch.tensor([mix_share(chance, alpha) for chance in drawn.tolist()]).to(clips)
    return MixedClips(
        clips=mixed(clips, clips[order], shares),
        labels=mixed(labels, labels[order], shares),
        masks=mixed(targets, targets[order], shares),
    )


def _guessed_maps(
    found: MapOutputs, unlabelled: PairBatch, temperature: float
) -> tuple[Tensor, Tensor]:
    """The mean map of both views, on each of them; where one does not look, the other's."""
    count = len(unlabelled)
    first, second = found.localisation[:count], found.localisation[count:]
    infos, others = unlabelled.first.clips_info, unlabelled.second.clips_info
    undone, seen = carried_maps(second, others, infos)
    guess = sharpen_maps(torch.where(seen, (first + undone) / 2, first), temperature)
    carried, seen = carried_maps(guess, infos, others)
    return guess, torch.where(seen, carried, second)
