"""Whole batches by their keys, made here or in worker processes."""

import multiprocessing
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from stad_data.sampling import Key
from stad_eval import InputError

Made = TypeVar("Made")


def load_batches(
    make: Callable[[Sequence[Key]], Made],
    order: Iterable[list[Key]],
    *,
    workers: int,
    pinned: bool,
) -> Iterator[Made]:
    """What `make` gives for each list of keys, in order, some batches ahead of their use.

    Args:
        make: From the keys of a batch to the batch; workers are given a copy of it.
        order: The keys of every batch; may go on for ever.
        workers: Processes that make batches; 0 makes them here, when they are asked for.
        pinned: Give batches in page-locked memory, by their `pin_memory()`.

    Raises:
        InputError: While iterating: what `make` raised. An OSError likewise.
    """
    loader: DataLoader[Any] = DataLoader(
        _Batches(make),
        batch_sampler=order,  # pyright: ignore[reportArgumentType] - any iterable of keys will do
        num_workers=workers,
        collate_fn=_same,
        pin_memory=pinned,
        prefetch_factor=4 if workers else None,
        # Its own generator: the global one belongs to the model, to be saved and restored.
        generator=torch.Generator().manual_seed(0),
        # Forked workers share the frame caches.
        multiprocessing_context=(
            multiprocessing.get_context("fork") if workers and sys.platform == "linux" else None
        ),
    )
    with warnings.catch_warnings():
        # Python warns of forking beside threads; the children only decode and never use torch's.
        warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
        batches = iter(loader)
    return _checked(batches)


class _Batches(TorchDataset[Any]):
    """Batches by their keys; what went wrong comes back as a value.

    A DataLoader would wrap an exception of a worker in a traceback; the user needs its message.
    """

    def __init__(self, make: Callable[[Sequence[Key]], Any]) -> None:
        self._make = make

    def __getitem__(self, key: Key) -> Any:  # noqa: ANN401 - see the class
        return self.__getitems__([key])

    def __getitems__(self, keys: Sequence[Key]) -> Any:  # noqa: ANN401
        try:
            return self._make(keys)
        except (InputError, OSError) as error:
            return error


def _checked(batches: Iterator[Any]) -> Iterator[Any]:
    for batch in batches:
        if isinstance(batch, Exception):
            raise batch
        yield batch


def _same(batch: Any) -> Any:  # noqa: ANN401 - collated already
    return batch
