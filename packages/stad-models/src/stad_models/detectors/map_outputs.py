"""What a network of localisation maps says about clips, before it is cut into losses or results."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from stad_models.structures import Maps


@dataclass(frozen=True, kw_only=True, eq=False)
class MapOutputs:
    """Of N clips, with gradients.

    Attributes:
        logits: `[N, T, H, W]` of the localisation map.
        scores: `[N, C]` in [0, 1], the actions of the clips.
        features: `[N, D]`, what the last layer before the scores holds.
    """

    logits: Tensor
    scores: Tensor
    features: Tensor

    def __len__(self) -> int:
        return len(self.logits)

    def __getitem__(self, rows: slice) -> MapOutputs:
        return MapOutputs(
            logits=self.logits[rows], scores=self.scores[rows], features=self.features[rows]
        )

    @property
    def localisation(self) -> Tensor:
        """`[N, T, H, W]` in [0, 1]; at least float32."""
        return (self.logits if self.logits.dtype.itemsize > 4 else self.logits.float()).sigmoid()

    def maps(self) -> list[Maps]:
        """One result per clip."""
        found, scores = self.localisation, self.scores
        return [
            Maps(localisation=one, scores=score) for one, score in zip(found, scores, strict=True)
        ]
