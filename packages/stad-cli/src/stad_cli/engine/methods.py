"""What a training step adds up: the one thing that differs between supervised and other training.

The loop in `engine.train` knows this protocol only. A new way of training (a teacher beside the
student, pseudo labels, consistency, stages that follow each other) is a new Method, and perhaps a
new stream of batches in `build_method`; a new detector needs neither.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]

from stad_cli.config import Recipe
from stad_cli.engine.data import to_device
from stad_cli.engine.distributed import Processes, wrap
from stad_data.loading import Batch
from stad_models.structures import Targets
from stad_ssl import MeanTeacher

Losses = dict[str, Tensor]
"""Named scalars on the device, weighted already: their sum is minimised."""


class Method(Protocol):
    """A way of training one network."""

    @property
    def network(self) -> nn.Module:
        """What is trained, as it is called: wrapped where several processes train it."""
        ...

    def step(self, batch: Any) -> Losses:  # noqa: ANN401 - what its own stream of batches gives
        """The losses of one batch, ready for backward."""
        ...

    def after_update(self, step: int) -> None:
        """Told after the optimiser's update number `step` (from 1)."""
        ...

    def report(self) -> Mapping[str, float]:
        """Numbers for the log beside the losses, gathered since the last call; often none."""
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


class Supervised:
    """The detector's own losses on annotated clips; averages weights (EMA) where asked to.

    Args:
        model: The detector, on its device.
        group: The processes that train it.
        ema: Momentum of the averaged weights; 0 keeps none.
        freeze_batch_norm: Keep BatchNorm's running statistics as they are.
    """

    def __init__(
        self,
        model: nn.Module,
        group: Processes,
        *,
        ema: float = 0.0,
        freeze_batch_norm: bool = False,
    ) -> None:
        self._model = model
        self._device = group.device
        model.train()
        if freeze_batch_norm:
            freeze_statistics(model)
        self._teacher = MeanTeacher(model, momentum=ema) if ema else None
        self._network = wrap(model, group)

    @property
    def network(self) -> nn.Module:
        """The detector, wrapped where several processes train it."""
        return self._network

    def step(self, batch: Batch) -> Losses:
        """The detector's losses."""
        clips, targets = to_device(batch, self._device)
        detector: Callable[[Tensor, Targets], Losses] = self._network
        return detector(clips, targets)

    def after_update(self, step: int) -> None:  # noqa: ARG002 - the protocol's
        """Move the averaged weights."""
        if self._teacher is not None:
            self._teacher.update(self._model)

    def report(self) -> Mapping[str, float]:
        """Nothing beside the losses."""
        return {}

    def evaluated(self) -> Mapping[str, nn.Module]:
        """The averaged detector where there is one, else the detector."""
        if self._teacher is not None:
            return {"ema": self._teacher.model}
        return {"model": self._model}

    def state_dict(self) -> dict[str, Any]:
        """The averaged weights."""
        return {} if self._teacher is None else {"teacher": self._teacher.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the averaged weights."""
        if self._teacher is not None:
            self._teacher.load_state_dict(state["teacher"])


def build_method(recipe: Recipe, model: nn.Module, group: Processes) -> Method:
    """The recipe's method around a detector that is on its device already."""
    return Supervised(
        model,
        group,
        ema=recipe.optim.ema,
        freeze_batch_norm=recipe.model.freeze_batch_norm,
    )


def freeze_statistics(model: nn.Module) -> None:
    """Put every BatchNorm into evaluation mode: its running statistics stay as they are."""
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
