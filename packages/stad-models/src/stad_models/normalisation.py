"""Batch normalisation that training leaves alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class FrozenBatchNorm(nn.Module):
    """Batch normalisation by fixed statistics, scale and shift, for maps of any dimension.

    All of them are buffers, named as in `nn.BatchNorm3d`, so checkpoints fit either; no optimiser
    sees them and `train()` changes nothing.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight: Tensor
        self.bias: Tensor
        self.running_mean: Tensor
        self.running_var: Tensor
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, ...]` to the same shape."""
        return functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )


def freeze_batch_norm(model: nn.Module) -> nn.Module:
    """Replace every batch normalisation inside a model by its frozen form, in place.

    Values and state-dict keys stay. Do it before the optimiser is made. Returns the same model.

    Raises:
        ValueError: a layer keeps no running statistics or has no scale and shift.
    """
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _BATCH_NORMS):
                setattr(parent, name, _frozen(child))
    return model


def _frozen(
    layer: nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm,
) -> FrozenBatchNorm:
    if not (layer.track_running_stats and layer.affine):
        raise ValueError(f"freeze_batch_norm: {layer} needs running statistics, scale and shift")
    frozen = FrozenBatchNorm(layer.num_features, eps=layer.eps).to(layer.weight.device)
    frozen.load_state_dict(layer.state_dict())
    return frozen
