"""Batch normalisation folded into the convolution before it, for inference."""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from stad_models.backbones.nonlocal_block import NonLocal
from stad_models.backbones.pathway import Stem
from stad_models.backbones.residual import Basic, Bottleneck, Shortcut
from stad_models.backbones.resnet3d import Fusion
from stad_models.normalisation import FrozenBatchNorm

_PAIRS: dict[type[nn.Module], tuple[tuple[str, str], ...]] = {
    Stem: (("conv", "norm"),),
    Fusion: (("conv", "norm"),),
    Shortcut: (("conv", "norm"),),
    Basic: (("conv1", "norm1"), ("conv2", "norm2")),
    Bottleneck: (("conv1", "norm1"), ("conv2", "norm2"), ("conv3", "norm3")),
    NonLocal: (("out", "norm"),),
}
"""Convolutions whose output goes to this normalisation and nowhere else, by the module's type."""

_NORMS = (nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, FrozenBatchNorm)


def fold_batch_norm(model: nn.Module) -> nn.Module:
    """A copy of a model for inference whose convolutions do their batch normalisation as well.

    It gives what the model gives in evaluation mode, but for the rounding of sums, in less time: a
    normalisation reads and writes a whole map. Folded are the layers of SlowOnly and SlowFast
    (non-local blocks among them) and neighbours in an `nn.Sequential`; others stay as they are, and
    so does a layer without running statistics. Frozen batch normalisation is folded too.

    Args:
        model: of any kind; it is not changed.

    Returns:
        The copy, in evaluation mode. Its tensors have other names in part: keep checkpoints of the
        model itself. It must not be trained.
    """
    folded = copy.deepcopy(model)
    for module in list(folded.modules()):
        parts = dict(module.named_children())
        for conv_name, norm_name in _pairs(module):
            conv, norm = parts.get(conv_name), parts.get(norm_name)
            if not isinstance(conv, (nn.Conv2d, nn.Conv3d)) or not isinstance(norm, _NORMS):
                continue
            if norm.running_mean is None or norm.running_var is None:
                continue
            with torch.no_grad():
                conv.weight, conv.bias = fuse_conv_bn_weights(
                    conv.weight,
                    conv.bias,
                    norm.running_mean,
                    norm.running_var,
                    norm.eps,
                    norm.weight,
                    norm.bias,
                )
            setattr(module, norm_name, nn.Identity())
    return folded.eval()


def _pairs(module: nn.Module) -> tuple[tuple[str, str], ...]:
    if isinstance(module, nn.Sequential):
        return tuple(pairwise(name for name, _ in module.named_children()))
    return _PAIRS.get(type(module), ())
