"""Our own weights: safetensors, which hold tensors under the model's own names and nothing else."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from torch import Tensor, nn


def save(model: nn.Module, path: str | Path, *, names: Collection[str] | None = None) -> None:
    """Write a model's tensors as safetensors, whole or not at all.

    `load` finds them by the model's own names. A backbone's file also fits the detectors on it, and
    a detector's fits its backbone.

    Args:
        model: on any device.
        path: ends in .safetensors.
        names: of the model's tensors, those to write; all where None.

    Raises:
        ValueError: another ending, or a name that the model does not have.
        OSError: it cannot be written; what was there is as it was.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"save: the file must end in .safetensors, found {path.name!r}")
    state = model.state_dict()
    unknown = sorted(set(names or ()) - state.keys())
    if unknown:
        raise ValueError(f"save: {type(model).__name__} has no tensor {unknown[0]!r}")
    chosen = state if names is None else {name: state[name] for name in state if name in names}
    # Copies: names that share memory, which the format refuses, come back as one by loading.
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in chosen.items()}
    from safetensors.torch import save as packed  # only who writes or reads such files waits for it

    partial = path.with_name(f".{path.name}.part")
    try:
        partial.write_bytes(packed(tensors, metadata={"format": "pt"}))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of a file, by name.

    Raises:
        ValueError: the file is damaged or cut short.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(str(error)) from None
