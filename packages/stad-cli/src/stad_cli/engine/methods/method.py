"""What the loop knows of a way of training."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from stad_cli.config import Recipe
from stad_cli.engine.distributed import Processes
from stad_data import Dataset
from stad_data.clips import FrameSource

Losses = dict[str, Tensor]
"""Named scalars on the device, weighted already: their sum is minimised."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingData:
    """What a method draws its batches from.

    Attributes:
        recipe: Says which clips, how they are changed, and how many make a batch.
        dataset: The videos.
        root: The dataset's folder.
        group: The processes that share the batches.
        caches: Frames by video name, for the videos it names.
    """

    recipe: Recipe
    dataset: Dataset
    root: Path
    group: Processes
    caches: Mapping[str, FrameSource]


class Method(Protocol):
    """A way of training one network."""

    @property
    def network(self) -> nn.Module:
        """What is trained, as it is called: wrapped where several processes train it."""
        ...

    def batches(self, data: TrainingData, *, start: int) -> Iterator[Any]:
        """This process's endless stream of batches, from backward pass number `start` on."""
        ...

    def step(self, batch: Any) -> Losses:  # noqa: ANN401 - what its own stream of batches gives
        """The losses of one batch, ready for backward."""
        ...

    def after_update(self, step: int) -> None:
        """Told after the optimiser's update number `step` (from 1)."""
        ...

    def report(self) -> Mapping[str, Any]:
        """Numbers for the log beside the losses, gathered since the last call; often none.

        All processes ask together.
        """
        ...

    def evaluated(self) -> Mapping[str, nn.Module]:
        """Networks to evaluate by name; the first is the one to keep for inference."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What resuming needs beside the network's weights: tensors and plain types."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        ...
