"""Channel-wise self-attention: every channel gathers from those that fire where it does.

Suffixes: N clips, C channels, L cells of a map.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ChannelAttention(nn.Module):
    """Adds to each channel a mixture of all, by how alike they are over space.

    The weights are a softmax over the products of a channel with all channels, divided by the root
    of the number of cells. How much of the mixture is added is learned and starts at nothing.

    Source: STMA, Sec. 2.2, "channel-wise self-attention"; Dual attention network, Sec. 3.3. The
    division is ours: without, large maps give weights of 0 and 1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.amount = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, h, w]` to the same shape."""
        flat_NCL = x.flatten(2)
        alike_NCC = flat_NCL @ flat_NCL.transpose(1, 2) / flat_NCL.shape[2] ** 0.5
        mixed_NCL = alike_NCC.softmax(dim=2) @ flat_NCL
        return x + self.amount * mixed_NCL.view_as(x)
