"""The detector's own losses on annotated clips."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]

from stad_cli.engine.batches import training_batches
from stad_cli.engine.detector import channels_of
from stad_cli.engine.distributed import Processes, wrap
from stad_cli.engine.methods.method import Losses, TrainingData
from stad_cli.engine.model_input import to_device
from stad_data.loading import Batch
from stad_models.structures import Targets
from stad_ssl import MeanTeacher


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

    def batches(self, data: TrainingData, *, start: int) -> Iterator[Batch]:
        """Annotated clips."""
        self._tell(start // data.recipe.optim.accumulate)
        return training_batches(
            data.recipe, data.dataset, data.group, start=start, caches=data.caches
        )

    def step(self, batch: Batch) -> Losses:
        """The detector's losses."""
        clips, targets = to_device(batch, self._device, channels=channels_of(self._model))
        detector: Callable[[Tensor, Targets], Losses] = self._network
        return detector(clips, targets)

    def after_update(self, step: int) -> None:
        """Move the averaged weights, and tell a detector that trains in phases."""
        self._tell(step)
        if self._teacher is not None:
            self._teacher.update(self._model)

    def _tell(self, step: int) -> None:
        """Tell a detector whose losses change in the course of training how far that is.

        Such a detector has a method `after_update`, as a method of training has.
        """
        tell: Callable[[int], None] | None = getattr(self._model, "after_update", None)
        if tell is not None:
            tell(step)

    def report(self) -> Mapping[str, Any]:
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


def freeze_statistics(model: nn.Module) -> None:
    """Put every BatchNorm into evaluation mode: its running statistics stay as they are."""
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
