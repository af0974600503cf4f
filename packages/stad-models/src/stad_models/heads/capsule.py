"""Convolutional matrix capsules with EM routing by agreement, over two or three dimensions.

Suffix legend: N = clips, B = primary capsules per cell, C = class capsules, P = numbers of a pose,
M = cells of all clips.
Source: Matrix capsules with EM routing; VideoCapsuleNet, Sec. 3; the public code of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

POSE_SIDE = 4
"""Poses are matrices of 4 x 4."""

POSE = POSE_SIDE**2


class PrimaryCapsules(nn.Module):
    """Capsules from a map: a pose and an activation per type and cell.

    Args:
        channels_in: of the map.
        types: B.
        kernel: side of the convolution's window; nothing is padded. One number for a map over two
            dimensions, three (time, height, width) for one over three.
        stride: of the convolution, the same in all directions of space; time has 1.

    Attributes:
        types: B.
    """

    def __init__(
        self, channels_in: int, types: int, kernel: int | Sequence[int], *, stride: int = 1
    ) -> None:
        super().__init__()
        self.types = types
        if isinstance(kernel, int):
            self.pose: nn.Module = nn.Conv2d(channels_in, types * POSE, kernel, stride=stride)
            self.activation: nn.Module = nn.Conv2d(channels_in, types, kernel, stride=stride)
        else:
            time, height, width = kernel
            window, strides = (time, height, width), (1, stride, stride)
            self.pose = nn.Conv3d(channels_in, types * POSE, window, stride=strides)
            self.activation = nn.Conv3d(channels_in, types, window, stride=strides)
        for part in (self.pose, self.activation):
            nn.init.xavier_uniform_(part.get_parameter("weight"))
            nn.init.zeros_(part.get_parameter("bias"))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """`[N, channels_in, ...]` to poses `[N, B, P, ...]` and activations `[N, B, ...]`."""
        poses = self.pose(features).unflatten(1, (self.types, POSE))
        return poses, self.activation(features).sigmoid()


class ClassCapsules(nn.Module):
    """One capsule per class and cell, from the primary capsules of that cell.

    Every primary capsule votes for the pose of every class capsule, by a matrix that all cells
    share; where votes agree, the capsule becomes active.

    Args:
        types: B of the primary capsules.
        num_classes: C.
        iterations: of the routing; at least 1.
        inverse_temperature: lambda of the activation's sigmoid, the same in all iterations.
    """

    def __init__(
        self, types: int, num_classes: int, *, iterations: int = 3, inverse_temperature: float = 2.0
    ) -> None:
        super().__init__()
        if iterations < 1:
            raise ValueError(f"ClassCapsules: iterations must be positive, found {iterations}")
        self.iterations = iterations
        self.inverse_temperature = inverse_temperature
        self.weights = nn.Parameter(torch.empty(num_classes, types, POSE_SIDE, POSE_SIDE))
        self.beta_use = nn.Parameter(torch.zeros(num_classes, POSE))
        # A class that gets no votes begins at sigmoid(-lambda): little active.
        self.beta_activation = nn.Parameter(torch.full((num_classes,), -1.0))
        # The identity and some noise: votes begin as the poses themselves, told apart by class.
        nn.init.normal_(self.weights, std=0.5)
        with torch.no_grad():
            self.weights += torch.eye(POSE_SIDE, device=self.weights.device)

    def forward(self, poses: Tensor, activations: Tensor) -> tuple[Tensor, Tensor]:
        """`[N, B, P, ...]` and `[N, B, ...]` to `[N, C, P, ...]` and `[N, C, ...]`.

        Computed in at least float32.
        """
        count, cells = poses.shape[0], poses.shape[3:]
        flat = prod(cells)
        pose_MB = _by_cell(poses.flatten(3), flat).unflatten(2, (POSE_SIDE, POSE_SIDE))
        active_MB = activations.flatten(2).transpose(1, 2).reshape(-1, poses.shape[1])
        with _without_autocast(poses.device):
            means_MCP, active_MC = em_routing(
                _votes(_precise(pose_MB), self.weights),
                _precise(active_MB),
                self.beta_use,
                self.beta_activation,
                iterations=self.iterations,
                inverse_temperature=self.inverse_temperature,
            )
        classes = active_MC.shape[1]
        found = means_MCP.reshape(count, flat, classes, POSE).permute(0, 2, 3, 1)
        active = active_MC.reshape(count, flat, classes).transpose(1, 2)
        return found.unflatten(3, cells), active.unflatten(2, cells)


def em_routing(
    votes: Tensor,
    activations: Tensor,
    beta_use: Tensor,
    beta_activation: Tensor,
    *,
    iterations: int,
    inverse_temperature: float,
) -> tuple[Tensor, Tensor]:
    """Clusters of votes, one per class: expectation maximisation with diagonal Gaussians.

    Args:
        votes: `[M, C, B, P]`, of B capsules for each of C.
        activations: `[M, B]` in [0, 1], how much each of them counts.
        beta_use: `[C, P]`, cost of a vote that is used.
        beta_activation: `[C]`, cost of not being active.
        iterations: of both steps; at least 1.
        inverse_temperature: lambda of the sigmoid.

    Returns:
        `[M, C, P]` the means of the clusters, `[M, C]` in [0, 1] how active they are. The order of
        the B capsules does not matter.

    Source: Matrix capsules with EM routing, Procedure 1. Its schedule of lambda over iterations is
    left out, and the cost is a mean over pose and votes instead of a sum, so that lambda need not
    change with B and P.
    """
    classes, capsules = votes.shape[1], votes.shape[2]
    active_M1B = activations[:, None, :]
    shares_MCB = torch.full_like(votes[..., 0], 1.0 / classes)
    for iteration in range(iterations):
        # M: mean, variance and cost of each cluster.
        weights_MCB = shares_MCB * active_M1B
        total_MC = weights_MCB.sum(dim=2)
        weights_MC1B = (weights_MCB / (total_MC[..., None] + _EPSILON))[:, :, None]
        means_MC1P = weights_MC1B @ votes
        away_MCBP = (votes - means_MC1P).square()
        variance_MCP = (weights_MC1B @ away_MCBP)[:, :, 0] + _LEAST_VARIANCE
        logs_MCP = variance_MCP.log()
        cost_MC = (beta_use + 0.5 * logs_MCP).mean(dim=2) * (total_MC * (classes / capsules))
        logits_MC = inverse_temperature * (beta_activation - cost_MC)
        if iteration == iterations - 1:
            return means_MC1P[:, :, 0], logits_MC.sigmoid()
        # E: how likely each vote came from each cluster.
        likely_MCB = -0.5 * ((away_MCBP @ (1.0 / variance_MCP)[..., None])[..., 0])
        likely_MCB = likely_MCB - 0.5 * logs_MCP.sum(dim=2)[..., None]
        shares_MCB = (likely_MCB + nn.functional.logsigmoid(logits_MC)[..., None]).softmax(dim=1)
    raise ValueError(f"em_routing: iterations must be positive, found {iterations}")


_EPSILON = 1e-7
_LEAST_VARIANCE = 1e-2
"""Of a cluster; smaller ones would make gradients explode once all votes agree."""


def _votes(poses_MB: Tensor, weights_CB: Tensor) -> Tensor:
    """`[M, B, 4, 4]` by `[C, B, 4, 4]` to `[M, C, B, P]`."""
    # One product per capsule type: rows of all poses by the matrices of all classes side by side.
    types, classes = weights_CB.shape[1], weights_CB.shape[0]
    rows = poses_MB.permute(1, 0, 2, 3).reshape(types, -1, POSE_SIDE)
    matrices = weights_CB.permute(1, 2, 0, 3).reshape(types, POSE_SIDE, -1)
    found = rows @ matrices.to(rows.dtype)  # [B, M * 4, C * 4]
    found = found.reshape(types, -1, POSE_SIDE, classes, POSE_SIDE)
    return found.permute(1, 3, 0, 2, 4).reshape(-1, classes, types, POSE)


def _without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Small variances need more than half precision."""
    if device.type == "meta":  # which has no autocast
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def _by_cell(values_NBPF: Tensor, flat: int) -> Tensor:
    """`[N, B, P, F]` to `[N * F, B, P]`."""
    count, types, numbers, _ = values_NBPF.shape
    return values_NBPF.permute(0, 3, 1, 2).reshape(count * flat, types, numbers)


def _precise(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
