"""Mean Teacher: a copy of the student whose weights are a moving average of the student's."""

import copy
from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from stad_ssl.schedules import early_momentum


class MeanTeacher:
    """Exponential moving average (EMA) of a student network.

    After update n: `teacher = m * teacher + (1 - m) * student`, with m the momentum of that update.
    The teacher starts as an exact copy, stays in evaluation mode, and no gradient reaches it: its
    parameters do not require one and calling it records none. Parameters that the student keeps
    frozen stay bit-equal. A student wrapped by DistributedDataParallel or torch.compile is
    unwrapped, so the teacher's names are those of the bare network; as every rank updates from the
    same weights, the ranks' averages agree without talking. Buffers are each rank's own, as the
    student's are: BatchNorm statistics agree where they are frozen or shared (SyncBatchNorm). Under
    automatic mixed precision parameters are float32, and so is the average.

    A burn-in trains the student alone, without `update`; at its end `restart` copies it, and from
    then on every optimiser step is followed by `update`.

    Attributes:
        model: the teacher network itself.
        updates: number of updates so far (since the start, or the last `restart`).

    Args:
        student: the network to follow; it is copied, never kept.
        momentum: in [0, 1], or a function from `updates` to it (a ramp).
        warm_up: with a constant momentum, cap it at (1 + n) / (10 + n) for update n.
        buffers: "copy" takes the student's buffers (BatchNorm statistics) as they are; "average"
            averages floating ones like parameters. What is not floating (counters, tables of
            indices) is always copied.

    Raises:
        ValueError: momentum outside [0, 1], or an unknown rule for buffers.

    Source: Tarvainen and Valpola, "Mean teachers are better role models", Sec. 2.
    """

    model: nn.Module
    updates: int

    def __init__(
        self,
        student: nn.Module,
        *,
        momentum: float | Callable[[int], float] = 0.999,
        warm_up: bool = True,
        buffers: Literal["copy", "average"] = "copy",
    ) -> None:
        if buffers not in ("copy", "average"):
            raise ValueError(f'buffers must be "copy" or "average"; got {buffers!r}')
        if not callable(momentum):
            _check_momentum(momentum)
        self._momentum = momentum
        self._warm_up = warm_up
        self._buffers = buffers
        self.model = copy.deepcopy(bare(student)).requires_grad_(False).eval()
        self.updates = 0

    def momentum(self) -> float:
        """Momentum that the next update will use."""
        if callable(self._momentum):
            return _check_momentum(self._momentum(self.updates))
        if self._warm_up:
            return early_momentum(self.updates, self._momentum)
        return self._momentum

    @torch.no_grad()
    def update(self, student: nn.Module) -> None:
        """Move the teacher towards the student by one step.

        Raises:
            ValueError: the student's parameters are not those that the teacher was copied from.
        """
        momentum = self.momentum()
        source = bare(student)
        averaged: list[Tensor] = []
        followed: list[Tensor] = []
        copied: list[tuple[Tensor, Tensor]] = []
        for found, average in (
            (_pairs(self.model.named_parameters(), source.named_parameters()), True),
            (_pairs(self.model.named_buffers(), source.named_buffers()), self._buffers != "copy"),
        ):
            for own, theirs in zip(*found, strict=True):
                if average and own.is_floating_point():
                    averaged.append(own)
                    followed.append(theirs)
                else:
                    copied.append((own, theirs))
        if averaged:
            # The pair's types differ in torch's annotation (tuple or list) and not in use.
            move = cast("Callable[[list[Tensor], list[Tensor], int], None]",
                        get_ema_multi_avg_fn(momentum))  # fmt: skip
            move(averaged, followed, self.updates)
        for own, theirs in copied:
            own.copy_(theirs)
        self.updates += 1

    @torch.no_grad()
    def restart(self, student: nn.Module) -> None:
        """Copy the student exactly and forget the past: the end of a burn-in.

        Raises:
            ValueError: the student's parameters are not those that the teacher was copied from.
        """
        source = bare(student)
        for found in (
            _pairs(self.model.named_parameters(), source.named_parameters()),
            _pairs(self.model.named_buffers(), source.named_buffers()),
        ):
            for own, theirs in zip(*found, strict=True):
                own.copy_(theirs)
        self.updates = 0

    @torch.no_grad()
    def __call__(self, *inputs: Any) -> Any:  # noqa: ANN401 - whatever the network takes and gives
        """Run the teacher without recording gradients."""
        return self.model(*inputs)

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs: weights, buffers and the number of updates.

        Buffers that the network itself does not save (not persistent) are saved as "unsaved", since
        an average of them cannot be had again.
        """
        return {
            "model": self.model.state_dict(),
            "unsaved": self._unsaved_buffers(),
            "updates": self.updates,
        }

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave.

        Raises:
            ValueError: the state is not a teacher's, or belongs to another network.
        """
        missing = {"model", "updates"} - set(state)
        if missing:
            raise ValueError(
                f"a teacher's state has the keys 'model' and 'updates'; missing {sorted(missing)}, "
                f"found {sorted(state)}"
            )
        try:
            unsaved = _pairs(self._unsaved_buffers(), state.get("unsaved", {}))
            self.model.load_state_dict(state["model"])
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"the state belongs to another network: {error}") from error
        for own, theirs in zip(*unsaved, strict=True):
            own.copy_(theirs)
        self.updates = int(state["updates"])

    def _unsaved_buffers(self) -> dict[str, Tensor]:
        saved = self.model.state_dict().keys()
        return {name: own for name, own in self.model.named_buffers() if name not in saved}


def bare(model: nn.Module) -> nn.Module:
    """Take DistributedDataParallel, DataParallel and torch.compile wrappers off a network."""
    while True:
        if isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
            model = cast("nn.Module", model.module)
        elif isinstance(inner := model.__dict__.get("_modules", {}).get("_orig_mod"), nn.Module):
            model = inner
        else:
            return model


def _check_momentum(momentum: float) -> float:
    if not 0.0 <= momentum <= 1.0:
        raise ValueError(f"momentum must lie in [0, 1]; got {momentum}")
    return momentum


def _pairs(own: Any, theirs: Any) -> tuple[list[Tensor], list[Tensor]]:  # noqa: ANN401
    """Tensors of two networks side by side, after a check that names and shapes agree."""
    owned: dict[str, Tensor] = dict(own)
    found: dict[str, Tensor] = dict(theirs)
    if owned.keys() != found.keys():
        odd = sorted(owned.keys() ^ found.keys())
        raise ValueError(
            f"teacher and student must be the same network; they differ in {len(odd)} tensors, "
            f"first: {odd[:3]}"
        )
    for name, tensor in owned.items():
        if tensor.shape != found[name].shape:
            raise ValueError(
                f"teacher and student must be the same network; {name} has shape "
                f"{tuple(tensor.shape)} in the teacher, {tuple(found[name].shape)} in the student"
            )
    return list(owned.values()), list(found.values())
