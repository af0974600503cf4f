"""Checkpoints: one file that holds a whole run, written so that a crash leaves the old one whole.

A checkpoint is a dict of tensors and plain types, so that `torch.load(weights_only=True)`, which
runs no code from the file, reads all of it:

    format, version   "stad-checkpoint", 1
    kind              "training" (last.pt) or "inference" (best.pt)
    step              updates done
    classes           {"names": [...], "ids": [...], "exclusive": bool}
    recipe            the resolved recipe as tables; recipe["model"]["name"] is the network
    protocol          the dataset's evaluation protocol
    fps               median frame rate of the training videos, or None
    model             weights for inference (the averaged ones where there are any)
    metrics           {"frame_mAP": ..., "actor_AP": ...} of the last evaluation before it
    training          (kind "training" only) what else resuming needs, see `engine.train`
"""

import contextlib
import errno
import os
import pickle
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import torch
from torch import nn

from stad_cli.config import Recipe, parse_recipe
from stad_cli.engine.detector import build_detector
from stad_data import ActionClasses
from stad_eval import InputError

FORMAT = "stad-checkpoint"
VERSION = 1


class Loaded(NamedTuple):
    """A network ready for inference and what it was trained on."""

    model: nn.Module
    classes: ActionClasses
    recipe: Recipe


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint under a temporary name beside `path`, sync it, then rename it.

    Whatever stops this, `path` is either the old checkpoint or the new one, never a part.

    Raises:
        OSError: It cannot be written; `path` is as it was and the temporary file is gone.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            spool = _Spool(file)
            torch.save({"format": FORMAT, "version": VERSION, **state}, cast("IO[bytes]", spool))
            spool.check()
            file.flush()
            os.fsync(file.fileno())
        # mkstemp's files are for the owner alone; a checkpoint is as readable as other new files.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        kept = "the one before it is whole" if path.exists() else "there was none before it"
        raise OSError(
            error.errno or errno.EIO,
            f"{error.strerror or error}: this checkpoint was not written, {kept}; "
            "make room and go on with the same command and --resume",
            str(path),
        ) from error
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files that killed processes left in a folder of checkpoints."""
    for path in folder.glob(".*.pt.*.tmp"):
        path.unlink(missing_ok=True)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint, running no code from it.

    Raises:
        InputError: No such file, no checkpoint of this program, a damaged one, one of a newer
            version, or one that holds anything but tensors and plain types.
    """
    if not path.is_file():
        raise InputError(
            "no such checkpoint",
            path=path,
            remedy="a run keeps its checkpoints in RUN/checkpoints/best.pt and last.pt",
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles that it refuses in the next moment
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            "this file is refused: it is no checkpoint, or asks to run code while it is read",
            path=path,
            expected="tensors and plain values only",
            found=str(error).splitlines()[0][:200],
            remedy="use a checkpoint that `stad train` wrote",
        ) from None
    except (OSError, RuntimeError, EOFError, LookupError, ValueError, TypeError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise  # the disk's fault; a jump to a place before the file's start is the content's
        raise InputError(
            "this file cannot be read as a checkpoint: damaged, or something else",
            path=path,
            found=(str(error).splitlines() or [type(error).__name__])[0][:200],
            remedy="use RUN/checkpoints/best.pt or last.pt of a run",
        ) from None
    if not isinstance(state, dict) or cast("dict[str, Any]", state).get("format") != FORMAT:
        raise InputError(
            "this file holds something else than a checkpoint of this program",
            path=path,
            expected=f'a file with format "{FORMAT}"',
            remedy="public weights of backbones are another kind of file",
        )
    state = cast("dict[str, Any]", state)
    if state.get("version") != VERSION:
        raise InputError(
            "a checkpoint of another version of this program",
            path=path,
            expected=f"version {VERSION}",
            found=f"version {state.get('version')}",
        )
    return state


def recipe_of(state: Mapping[str, Any], *, path: Path | None = None) -> Recipe:
    """The recipe that a checkpoint was trained by."""
    return parse_recipe(state["recipe"], path=path)


def classes_of(state: Mapping[str, Any]) -> ActionClasses:
    """The classes that a checkpoint tells apart."""
    table = state["classes"]
    return ActionClasses(
        names=tuple(table["names"]), ids=tuple(table["ids"]), exclusive=bool(table["exclusive"])
    )


def classes_table(classes: ActionClasses) -> dict[str, Any]:
    """Classes as plain types."""
    return {
        "names": list(classes.names),
        "ids": list(classes.ids),
        "exclusive": classes.exclusive,
    }


def build_model(source: Path | Mapping[str, Any]) -> Loaded:
    """The network of a checkpoint, in evaluation mode on the CPU, with its weights for inference.

    Args:
        source: The file, or what `load` gave.

    Raises:
        InputError: See `load`; or weights that do not fit the network named in the checkpoint.
    """
    path = source if isinstance(source, Path) else None
    state = load(source) if isinstance(source, Path) else source
    recipe, classes = recipe_of(state, path=path), classes_of(state)
    model = build_detector(recipe.model, recipe.clip, classes)
    fill(model, state["model"], path=path)
    return Loaded(model.eval(), classes, recipe)


def fill(model: nn.Module, weights: Mapping[str, Any], *, path: Path | None) -> None:
    """Give a network the weights of a checkpoint, all of them or none.

    Raises:
        InputError: A tensor is missing, left over, or of another shape.
    """
    own = model.state_dict()
    missing, extra = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    odd = [name for name in own if name in weights and own[name].shape != weights[name].shape]
    if missing or extra or odd:
        example = (
            f"{odd[0]} {tuple(weights[odd[0]].shape)} against {tuple(own[odd[0]].shape)}"
            if odd
            else (missing or extra)[0]
        )
        raise InputError(
            "the checkpoint is of another network",
            path=path,
            expected=f"{len(own)} tensors of {type(model).__name__}",
            found=f"{len(missing)} missing, {len(extra)} left over, {len(odd)} of another shape, "
            f"for example {example}",
            remedy="use a checkpoint of the same model with the same options and classes",
        )
    model.load_state_dict(dict(weights))


def require_same(
    state: Mapping[str, Any], recipe: Recipe, classes: ActionClasses, *, path: Path
) -> None:
    """Check that a checkpoint is of this model and these classes.

    Raises:
        InputError: Another model, or other classes.
    """
    name = state["recipe"]["model"]["name"]
    if name != recipe.model.name:
        raise InputError(
            "the checkpoint is of another model",
            path=path,
            expected=recipe.model.name,
            found=str(name),
        )
    theirs = classes_of(state).names
    if theirs != classes.names:
        first = next(
            (pair for pair in zip(theirs, classes.names, strict=False) if pair[0] != pair[1]), None
        )
        raise InputError(
            "the checkpoint tells other classes apart",
            path=path,
            expected=f"{len(classes.names)} classes" + (f", {first[1]!r} there" if first else ""),
            found=f"{len(theirs)} classes" + (f", {first[0]!r}" if first else ""),
        )


class _Spool:
    """A file for torch.save that remembers a failed write instead of raising amid C++ code."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._error: OSError | None = None

    def write(self, data: Any) -> int:  # noqa: ANN401 - bytes or a view of memory
        size = memoryview(data).nbytes
        if self._error is None:
            try:
                self._file.write(data)
            except OSError as error:
                self._error = error
        return size

    def flush(self) -> None:
        """Nothing to do: `save` flushes, where a failure can be told."""

    def check(self) -> None:
        if self._error is not None:
            raise self._error


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
