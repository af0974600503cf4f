"""What bfloat16 gets wrong on CPUs: convolutions over fewer frames than their kernel spans."""

from functools import partial
from typing import Any

import torch
from torch import nn

from stad_eval import InputError


def refuse_thin_maps(model: nn.Module) -> None:
    """Have training end with an error where a gradient would be wrong.

    Under autocast to bfloat16 on a CPU, PyTorch (2.15, by oneDNN) gives a 3D convolution's weight
    a gradient that is anything up to infinite where its input has fewer frames than the kernel
    spans and its output has more than one: a kernel of 3 over 2 frames. Its result is right, and
    so are gradients in float32, in 1D and 2D, and where height or width are that small.

    Args:
        model: Whose 3D convolutions look at their input before they compute.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv3d):
            module.register_forward_pre_hook(partial(_refuse, name))


def _refuse(name: str, module: nn.Module, inputs: tuple[Any, ...]) -> None:
    assert isinstance(module, nn.Conv3d)
    clips: torch.Tensor = inputs[0]
    reads, frames = module.kernel_size[0], clips.shape[2]
    if not torch.is_grad_enabled() or not 1 < frames < reads or module.stride[0] >= frames:
        return
    raise InputError(
        f"the gradient of {name}.weight would be wrong: bfloat16 on a CPU cannot train "
        "convolutions over more frames than there are",
        expected=f"at least {reads} frames",
        found=f"{frames}",
        remedy="use --set optim.amp=none, longer clips, or smaller strides over time",
    )
