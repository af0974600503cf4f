"""Localisation maps of one view of clips on another view, and a network asked without training it.

Suffix legend: N = clips, T, H, W = frames, height, width of a map.
"""

import contextlib
from collections.abc import Generator, Sequence

import torch
from torch import Tensor, nn

from stad_data.loading import ClipInfo
from stad_data.warping import transfer


def carried_maps(
    maps: Tensor, given: Sequence[ClipInfo], wanted: Sequence[ClipInfo]
) -> tuple[Tensor, Tensor]:
    """Maps of one view, clip by clip on the other view, with gradients.

    Args:
        maps: `[N, T, H, W]` of clips of one size.
        given: The view that they are on.
        wanted: The view that they shall be on.

    Returns:
        `[N, T, H, W]`, 0 where the given view does not show the place, and bool `[N, 1, H, W]`:
        where it does.
    """
    if all(a.placement == b.placement for a, b in zip(given, wanted, strict=True)):
        return maps, torch.ones_like(maps[:, :1], dtype=torch.bool)
    moved = [transfer(one, a, b) for one, a, b in zip(maps, given, wanted, strict=True)]
    return (
        torch.stack([one for one, _ in moved]),
        torch.stack([seen for _, seen in moved])[:, None],
    )


@contextlib.contextmanager
def judging(model: nn.Module) -> Generator[None]:
    """Evaluation mode without gradients; afterwards every module is as it was (frozen ones too).

    Unlike in inference mode what comes out may be trained on.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training
