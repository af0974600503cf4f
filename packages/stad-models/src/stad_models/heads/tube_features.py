"""Evenly spaced 2D features of spans of a clip, and convolutions over them with attention.

Suffixes: S spans, N features of each, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stad_models.backbones.nonlocal_block import NonLocal
from stad_models.backbones.residual import Norm
from stad_models.trajectories import evenly, frames_at


def sample_spans(
    clip_map: Tensor, clips: Tensor, spans: Tensor, *, count: int, frame_stride: int
) -> Tensor:
    """N features `[S, C, N, H, W]` of each span, from its first frame to its last.

    Between two frames of the map features are interpolated; before its first and behind its last
    they stay.

    Args:
        clip_map: `[B, C, T', H, W]`.
        clips: `[S]` int64, the clip of each span.
        spans: `[S, 2]` in frames of the clip.
        count: N, at least 1.
        frame_stride: frames of the clip per frame of the map.

    Source: CFAD, Sec. 3.1.
    """
    frames_SN = frames_at(evenly(count, like=spans), spans) + 0.5
    cells_SN = (frames_SN / frame_stride - 0.5).clamp(0, clip_map.shape[2] - 1)
    left_SN = cells_SN.floor().long()
    right_SN = (left_SN + 1).clamp(max=clip_map.shape[2] - 1)
    share_SN = (cells_SN - left_SN).to(clip_map.dtype)[:, :, None, None, None]
    rows = clip_map.transpose(1, 2)
    left, right = rows[clips[:, None], left_SN], rows[clips[:, None], right_SN]
    return torch.lerp(left, right, share_SN).transpose(1, 2)


class AttentiveConvs(nn.Module):
    """A non-local block, then 3D convolutions with normalisation and ReLU: the 3D head of CFAD.

    Args:
        channels: of the features.
        hidden: channels of the convolutions.
        depth: how many there are, at least 1.
        norm: the normalisation layer.

    Source: CFAD, Sec. 3.2 and Fig. 2; the numbers are ours. Keys and values are pooled over space
    alone, since there are few times.
    """

    def __init__(
        self, channels: int, hidden: int, *, depth: int = 1, norm: Norm = nn.BatchNorm3d
    ) -> None:
        super().__init__()
        self.attention = NonLocal(channels, max(1, channels // 2), pool=(1, 2, 2), norm=norm)
        layers: list[nn.Module] = []
        for layer in range(depth):
            before = hidden if layer else channels
            layers += [
                nn.Conv3d(before, hidden, 3, padding=1, bias=False),
                norm(hidden),
                nn.ReLU(inplace=True),
            ]
        self.convs = nn.Sequential(*layers)
        for part in self.modules():
            if isinstance(part, nn.Conv3d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
        # The block begins as the identity, as non-local blocks in trunks do.
        weight = getattr(self.attention.last_norm, "weight", None)
        if isinstance(weight, nn.Parameter):
            nn.init.zeros_(weight)

    def forward(self, x: Tensor) -> Tensor:
        """`[S, C, N, H, W]` to `[S, hidden, N, H, W]`."""
        return self.convs(self.attention(x))
