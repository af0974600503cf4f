"""A network that is exported: its module, its example inputs, and the names of what comes out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

Run = Callable[..., Mapping[str, Tensor]]
"""A graph that runs: tensors in the order of its inputs, to tensors by the names of its outputs."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Graph:
    """One network to be exported.

    Attributes:
        name: Names its file.
        module: Takes the inputs in order, gives a tuple of the outputs in order.
        inputs: Example tensors by name; their first axis may have any length.
        outputs: Names of what comes out.
    """

    name: str
    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]


class Method(nn.Module):
    """A function of tensors as a module, with the weights of the module that it belongs to.

    Args:
        owner: Holds the weights.
        method: Takes the graph's inputs, gives a tensor or a tuple of them.
    """

    def __init__(
        self, owner: nn.Module, method: Callable[..., Tensor | tuple[Tensor, ...]]
    ) -> None:
        super().__init__()
        self.owner = owner
        self.method = method

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """What the function gives, always as a tuple."""
        found = self.method(*inputs)
        return (found,) if isinstance(found, Tensor) else found


def answer_by(part: nn.Module, name: str, method: Callable[..., Any]) -> None:
    """Let this one module answer by another function where its method `name` is called."""
    object.__setattr__(part, name, method)
