"""Where weights come from: files, told apart by their content, or a mapping of tensors."""

from __future__ import annotations

import pickle
import re
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from stad_models.weights import restricted_pickle
from stad_models.weights.own_file import read_safetensors
from stad_models.weights.report import WeightsError

_INNER = ("model_state", "state_dict", "model_state_dict", "model", "blobs")
"""Under which keys checkpoints keep their weights, in the order in which they are looked for."""
_DEEPEST = 3
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How files of `torch.save` before version 1.6 begin."""
_GLOBAL = re.compile(r"GLOBAL (\S+)")
_KINDS = "PyTorch's, safetensors, npz, or a pickle of arrays"
_DAMAGED = (
    *(ValueError, RuntimeError, EOFError, LookupError, TypeError, AttributeError, AssertionError),
    *(OverflowError, MemoryError, struct.error, zipfile.BadZipFile),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """A checkpoint's content.

    Attributes:
        name: the file, or "tensors".
        tensors: by the checkpoint's own keys, without DataParallel's "module.".
        others: keys of what are no tensors of numbers.
    """

    name: str
    tensors: dict[str, Tensor]
    others: tuple[str, ...] = field(default=())


def read(source: str | Path | Mapping[str, Any]) -> Source:
    """Read a file, or look through a mapping, running no code from either.

    Raises:
        WeightsError: no such file, a folder, an empty, damaged or hostile file, or no weights.
    """
    if isinstance(source, Mapping):
        return _source("tensors", source)
    path = Path(source)
    if path.is_dir():
        raise WeightsError(f"weights: {path} is a folder; name the checkpoint file in it")
    if not path.is_file():
        raise WeightsError(f"weights: {path} does not exist")
    if path.stat().st_size == 0:
        raise WeightsError(f"weights: {path} is empty; fetch it again")
    content = _content(path)
    if not isinstance(content, Mapping):
        raise WeightsError(
            f"weights: {path} holds a {type(content).__name__}, not a table of weights; "
            "save the model's state_dict()"
        )
    return _source(str(path), cast("Mapping[str, Any]", content))


def _content(path: Path) -> object:
    with path.open("rb") as file:
        start = file.read(len(_LEGACY))
    try:
        if start.startswith(b"PK"):
            return _npz(path) if _is_npz(path) else _torch(path)
        if start == _LEGACY:
            return _torch(path)
        if start[8:9] == b"{":
            return read_safetensors(path)
        return restricted_pickle.loads(path.read_bytes())
    except restricted_pickle.RefusedError as error:
        raise WeightsError(_refusal(path, str(error))) from None
    except _DAMAGED as error:
        problem = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise WeightsError(
            f"weights: {path} cannot be read: damaged, cut short, or no checkpoint "
            f"({problem}); expected a file of one of these kinds: {_KINDS}"
        ) from None


def _refusal(path: Path, what: str) -> str:
    return (
        f"weights: {path} was refused: {what}, and a checkpoint holds tensors, numbers and text "
        "only; where you trust the file, save its state_dict alone and use that"
    )


def _is_npz(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    return bool(names) and all(name.endswith(".npy") for name in names)


def _npz(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def _torch(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        asked = _GLOBAL.search(str(error))
        what = f"it asks for {asked[1]}" if asked else "it holds something else than weights"
        raise restricted_pickle.RefusedError(what) from None


def _source(name: str, content: Mapping[str, Any]) -> Source:
    for _ in range(_DEEPEST):
        nested = [content[key] for key in _INNER if isinstance(content.get(key), Mapping)]
        if not nested:
            break
        content = cast("Mapping[str, Any]", nested[0])
    tensors: dict[str, Tensor] = {}
    others: list[str] = []
    for key, value in content.items():
        tensor = _tensor(value)
        if tensor is None:
            others.append(str(key))
        else:
            tensors[str(key).removeprefix("module.")] = tensor
    if not tensors:
        raise WeightsError(
            f"weights: {name} holds no tensors"
            + (f", but {', '.join(others[:5])}" if others else "")
            + f"; expected a state dict, or one under {', '.join(_INNER)}"
        )
    return Source(name=name, tensors=tensors, others=tuple(others))


def _tensor(value: object) -> Tensor | None:
    """A tensor of a tensor or an array of numbers; None for all else."""
    if isinstance(value, Tensor):
        return None if value.is_complex() or value.layout != torch.strided else value.detach()
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        native = value.astype(value.dtype.newbyteorder("="))  # a copy: arrays may be read-only
        return torch.from_numpy(np.ascontiguousarray(native).reshape(value.shape))
    return None
