"""Attention over all positions of a clip map, by dot product."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stad_models.backbones.residual import Norm


class NonLocal(nn.Module):
    """Adds to every position a mean of all (pooled) positions, weighted by dot products.

    The dot products are divided by the number of pooled positions. Keys and values come from the
    input max-pooled by `pool`, so that the attention stays small.

    Source: Non-local neural networks, Sec. 3.2 (dot product), with PySlowFast's pooling.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        *,
        pool: tuple[int, int, int] = (2, 2, 2),
        norm: Norm = nn.BatchNorm3d,
    ) -> None:
        super().__init__()
        self.theta = nn.Conv3d(channels, width, 1)
        self.phi = nn.Conv3d(channels, width, 1)
        self.g = nn.Conv3d(channels, width, 1)
        self.out = nn.Conv3d(width, channels, 1)
        self.norm = norm(channels)
        self.window = pool
        self.pool = nn.MaxPool3d(pool)

    @property
    def last_norm(self) -> nn.Module:
        """The normalisation at the end of the residual branch."""
        return self.norm

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, T, H, W]` to the same shape.

        Raises:
            ValueError: the map is smaller than the pool.
        """
        if any(cells < window for cells, window in zip(x.shape[2:], self.window, strict=True)):
            raise ValueError(
                f"NonLocal: a map of {tuple(x.shape[2:])} cells (time, height, width) is smaller "
                f"than the pool {self.window}; give longer or larger clips"
            )
        pooled = self.pool(x)
        query_NCP = self.theta(x).flatten(2)
        key_NCQ = self.phi(pooled).flatten(2)
        value_NCQ = self.g(pooled).flatten(2)
        weight_NPQ = torch.bmm(query_NCP.transpose(1, 2), key_NCQ) / key_NCQ.shape[2]
        mixed_NCP = torch.bmm(value_NCQ, weight_NPQ.transpose(1, 2))
        return x + self.norm(self.out(mixed_NCP.unflatten(2, x.shape[2:])))
