"""How weights change: optimiser, learning rate, mixed precision, clipping, accumulation."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn

from stad_cli.config import OptimSection
from stad_eval import InputError
from stad_ssl import cosine


def learning_rate(optim: OptimSection, step: int) -> float:
    """Learning rate of the update that follows `step` earlier ones: a pure function.

    Of the schedule "plateau" it is the rate before any drop; `Optimisation.rate` knows those.
    """
    if step < optim.warm_up:
        share = optim.warm_up_from + (1.0 - optim.warm_up_from) * step / optim.warm_up
        return optim.lr * share
    if optim.schedule == "step":
        return optim.lr * optim.factor ** sum(step >= milestone for milestone in optim.milestones)
    if optim.schedule == "plateau":
        return optim.lr
    length = optim.steps - optim.warm_up
    return cosine(step - optim.warm_up, length, start=optim.lr, end=optim.lr * optim.final)


def parameter_groups(model: nn.Module, optim: OptimSection) -> list[dict[str, Any]]:
    """Learning parameters, those that decay apart from those that do not.

    Vectors and scalars (biases, scale and shift of normalisation layers) do not, unless the recipe
    says `decay_all`.
    """
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decaying = [parameter for parameter in learning if optim.decay_all or parameter.ndim > 1]
    others = [parameter for parameter in learning if not optim.decay_all and parameter.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": decaying, "weight_decay": optim.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


class Plateau:
    """Drops of the learning rate where the training loss no longer falls.

    The loss of a period is the mean over its backward passes and all processes, so that all of
    them drop at the same step.

    Args:
        optim: The recipe's section, of the schedule "plateau".
    """

    def __init__(self, optim: OptimSection) -> None:
        self._period = (optim.period or 1) * optim.accumulate
        self._patience = optim.patience
        self._sum: Tensor | None = None
        self._count = self._bad = self.drops = 0
        self._best = float("inf")

    def add(self, loss: Tensor) -> None:
        """Take in the loss of one backward pass; it stays on its device until a period ends."""
        loss = loss.detach().float()
        self._sum = loss.clone() if self._sum is None else self._sum + loss
        self._count += 1

    def close(self) -> None:
        """After an update: judge the period if it is over."""
        if self._sum is None or self._count < self._period:
            return
        mean = self._sum / self._count
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(mean)
        self._sum, self._count = None, 0
        if float(mean) < self._best:
            self._best, self._bad = float(mean), 0
            return
        self._bad += 1
        if self._bad >= self._patience:
            self.drops, self._bad = self.drops + 1, 0

    def state_dict(self) -> dict[str, Any]:
        """Plain types and a tensor."""
        return {
            "sum": self._sum,
            "count": self._count,
            "bad": self._bad,
            "drops": self.drops,
            "best": self._best,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self._sum = state["sum"]
        self._count, self._bad = int(state["count"]), int(state["bad"])
        self.drops, self._best = int(state["drops"]), float(state["best"])


class Optimisation:
    """One optimiser and everything between the losses and its step.

    Args:
        optim: The recipe's section.
        model: The bare network.
        device: Where it computes.

    Attributes:
        rate: Learning rate of the last update.

    Raises:
        InputError: fp16 without CUDA, or a network without learning parameters.
    """

    def __init__(self, optim: OptimSection, model: nn.Module, device: torch.device) -> None:
        if optim.amp == "fp16" and device.type != "cuda":
            raise InputError(
                "amp fp16 needs a CUDA device",
                found=f"device {device.type}",
                remedy='use --set optim.amp=bf16, or "none"',
            )
        groups = parameter_groups(model, optim)
        if not groups:
            raise InputError("the network has no parameter that learns")
        self._optim = optim
        self._device = device
        self._parameters: list[Tensor] = [p for group in groups for p in group["params"]]
        if optim.name == "sgd":
            self._optimiser: torch.optim.Optimizer = torch.optim.SGD(
                groups, lr=optim.lr, momentum=optim.momentum, nesterov=optim.nesterov, foreach=True
            )
        else:
            rule = torch.optim.Adam if optim.name == "adam" else torch.optim.AdamW
            self._optimiser = rule(groups, lr=optim.lr, betas=optim.betas, foreach=True)
        self.rate = optim.lr
        self._plateau = Plateau(optim) if optim.schedule == "plateau" else None
        self._scaler = torch.amp.GradScaler(device.type, enabled=optim.amp == "fp16")

    def autocast(self) -> AbstractContextManager[Any]:
        """Mixed precision for the forward pass, where the recipe asks for it."""
        if self._optim.amp == "none":
            return nullcontext()
        dtype = torch.bfloat16 if self._optim.amp == "bf16" else torch.float16
        return torch.autocast(self._device.type, dtype=dtype)

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of one of the `accumulate` losses of a step."""
        if self._plateau is not None:
            self._plateau.add(loss)
        self._scaler.scale(loss / self._optim.accumulate).backward()

    def update(self, step: int) -> None:
        """Change the weights by the gradients gathered, and forget these."""
        drops = 0 if self._plateau is None else self._plateau.drops
        self.rate = learning_rate(self._optim, step) * self._optim.factor**drops
        for group in self._optimiser.param_groups:
            group["lr"] = self.rate
        if self._optim.clip_grad:
            self._scaler.unscale_(self._optimiser)
            nn.utils.clip_grad_norm_(self._parameters, self._optim.clip_grad, foreach=True)
        self._scaler.step(self._optimiser)
        self._scaler.update()
        self._optimiser.zero_grad(set_to_none=True)
        if self._plateau is not None:
            self._plateau.close()

    def state_dict(self) -> dict[str, Any]:
        """The optimiser's moments, the scaler's factor, and what a plateau was judged by."""
        return {
            "optimiser": self._optimiser.state_dict(),
            "scaler": self._scaler.state_dict(),
            "plateau": {} if self._plateau is None else self._plateau.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self._optimiser.load_state_dict(state["optimiser"])
        self._scaler.load_state_dict(state["scaler"])
        if self._plateau is not None:
            self._plateau.load_state_dict(state["plateau"])
