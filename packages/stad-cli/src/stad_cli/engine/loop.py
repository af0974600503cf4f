"""The training loop. It knows Methods only: a detector or a way of training never changes it."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed
from torch import Tensor

from stad_cli.config import Recipe
from stad_cli.engine.distributed import Processes, without_sync
from stad_cli.engine.methods import Losses, Method
from stad_cli.engine.optimisation import Optimisation
from stad_eval import InputError


@dataclass(kw_only=True, eq=False)
class LossWindow:
    """Sums of the losses since the last line of the log, kept on the device until they are read."""

    names: tuple[str, ...] = ()
    total: Tensor | None = None
    count: int = 0

    def add(self, losses: Losses) -> None:
        """Add the losses of one backward pass."""
        values = torch.stack([loss.detach().float() for loss in losses.values()])
        if self.total is None or self.names != tuple(losses):
            self.names, self.total, self.count = tuple(losses), torch.zeros_like(values), 0
        self.total += values
        self.count += 1

    def means(self, group: Processes) -> dict[str, float]:
        """Means over the window and all processes, with their sum as "total"."""
        if self.total is None:
            return {}
        mean = self.total / self.count
        if group.ranks > 1:
            torch.distributed.all_reduce(mean)
            mean /= group.ranks
        values: dict[str, float] = dict(zip(self.names, mean.tolist(), strict=True))
        return {"total": sum(values.values()), **values}

    def clear(self) -> None:
        """Begin anew."""
        self.names, self.total, self.count = (), None, 0

    def state_dict(self) -> dict[str, Any]:
        """Plain types and tensors."""
        return {"names": list(self.names), "total": self.total, "count": self.count}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Restore what `state_dict` gave."""
        total = state["total"]
        self.names = tuple(state["names"])
        self.total = None if total is None else total.to(device, copy=True)
        self.count = int(state["count"])


@dataclass(kw_only=True, eq=False)
class Events:
    """What happens around the updates; the loop says when. `step` counts updates done.

    `stop` is asked after every update whether to end here; the run is saved first.
    """

    log: Callable[[int, dict[str, Any]], None]
    evaluate: Callable[[int], None]
    save: Callable[[int], None]
    advance: Callable[[int], None] = field(default=lambda _: None)
    stop: Callable[[], bool] = field(default=lambda: False)


class Stopped(Exception):  # noqa: N818 - it is no error
    """The run was asked to end before its last step, and is saved at this one."""

    def __init__(self, step: int) -> None:
        super().__init__(step)
        self.step = step


def run(
    recipe: Recipe,
    method: Method,
    optimisation: Optimisation,
    batches: Iterator[Any],
    group: Processes,
    *,
    start: int,
    window: LossWindow,
    events: Events,
) -> None:
    """Update the method's network from step `start` to the recipe's last.

    The end of the run is saved and not evaluated here: that is done in full, by the caller.

    Raises:
        InputError: The losses are no longer finite; whatever is wrong with the data.
        Stopped: `events.stop` said so.
    """
    optim, last = recipe.optim, recipe.optim.steps
    clock = _Clock(start)
    for step in range(start, last):
        for part in range(optim.accumulate):
            syncs = part == optim.accumulate - 1
            with nullcontext() if syncs else without_sync(method.network):
                with optimisation.autocast():
                    losses = method.step(clock.next(batches))
                optimisation.backward(torch.stack(tuple(losses.values())).sum())
            window.add(losses)
        optimisation.update(step)
        done = step + 1
        method.after_update(done)
        events.advance(1)
        if done % recipe.run.log_every == 0 or done == last:
            means = window.means(group)
            _require_finite(means, done)
            window.clear()
            entry = {"loss": means, "lr": optimisation.rate, **method.report()}
            rate, entry["wait"] = clock.read(done)
            entry["clips_per_s"] = rate * optim.batch * optim.accumulate * group.ranks
            events.log(done, entry)
        if recipe.eval.every and done % recipe.eval.every == 0 and done < last:
            events.evaluate(done)
            clock.restart(done)
        stops = done < last and events.stop()
        if stops or done % recipe.run.checkpoint_every == 0 or done == last:
            _require_finite(window.means(group), done)
            events.save(done)
        if stops:
            raise Stopped(done)


def _require_finite(means: Mapping[str, float], step: int) -> None:
    bad = [name for name, value in means.items() if value - value != 0]  # inf and nan alone
    if bad:
        raise InputError(
            f"training diverged by step {step}: the loss is no longer finite",
            found=", ".join(f"{name} {means[name]}" for name in bad),
            remedy="lower optim.lr, lengthen optim.warm_up, set optim.clip_grad, or try amp none",
        )


class _Clock:
    """Steps per second, and how much of the time went into waiting for data."""

    def __init__(self, step: int) -> None:
        self.restart(step)

    def restart(self, step: int) -> None:
        self._step, self._time, self._waited = step, time.monotonic(), 0.0

    def next(self, batches: Iterator[Any]) -> Any:  # noqa: ANN401 - batches are the method's own
        begun = time.monotonic()
        try:
            return next(batches)
        finally:
            self._waited += time.monotonic() - begun

    def read(self, step: int) -> tuple[float, float]:
        """Steps per second and the share of time waited, since it was last read or restarted."""
        passed = max(time.monotonic() - self._time, 1e-9)
        rate, wait = (step - self._step) / passed, min(1.0, self._waited / passed)
        self.restart(step)
        return rate, wait
