"""Which clips are drawn, in what order, by which process: pure functions of seed and step.

A sample is a row (video number, frame) of an int64 [S, 2] table; a key is (epoch, row of that
table). Nothing here keeps state, so a run resumed at step 1,000 draws what the undisturbed run
would have drawn, and R processes with batch b draw what one process with batch R x b draws.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from stad_data.annotation import VideoAnnotation
from stad_eval import InputError

Key = tuple[int, int]


def keyframe_samples(
    annotations: Sequence[VideoAnnotation], *, every: int = 1, empty: bool = True
) -> NDArray[np.int64]:
    """One sample per annotated frame: int64 [S, 2] rows (video number, frame), in order.

    Args:
        annotations: The videos; the video number points into them.
        every: Take each ``every``-th keyframe of a video, beginning in the middle of the first
            step, for sets where neighbouring frames tell much the same. A video that has
            keyframes gives at least its middle one.
        empty: Whether keyframes without actors belong to the samples.

    Raises:
        InputError: ``every`` below 1.
    """
    if every < 1:
        raise InputError("a step between samples", expected="every >= 1", found=str(every))
    rows: list[NDArray[np.int64]] = [np.zeros((0, 2), np.int64)]
    for number, annotation in enumerate(annotations):
        frames = annotation.keyframes
        # A video shorter than the first half step is met in its middle.
        frames = frames[min(every // 2, len(frames) // 2) :: every]
        if not empty:
            frames = np.intersect1d(frames, annotation.table.frames)
        rows.append(np.stack([np.full(len(frames), number, np.int64), frames], axis=1))
    return np.concatenate(rows)


def balanced_weights(
    annotations: Sequence[VideoAnnotation],
    samples: NDArray[np.int64],
    *,
    power: float = 0.5,
    empty: float | None = None,
) -> NDArray[np.float64]:
    """How often each sample should be drawn so that rare classes are met more often.

    A sample's weight is the largest of ``frequency ** -power`` over the classes of its actors,
    where frequency is the share of samples that hold the class; a sample without labels gets the
    smallest weight of the others. Weights are float64 [S] with mean 1. ``power`` 0 leaves the
    frequencies as they are, 0.5 draws a class in proportion to the square root of its frequency,
    1 draws all classes alike. ``empty`` is the share, in [0, 1), of draws that go to samples
    without labels, where there are both kinds; None leaves it to the weights.

    Source: Gupta et al., "LVIS", repeat factor sampling (without its threshold).
    """
    if not len(samples):
        return np.zeros(0)
    held = np.stack(
        [annotations[int(video)].at(int(frame)).labels.any(axis=0) for video, frame in samples]
    )
    frequency = held.mean(axis=0)
    class_weights = np.where(frequency > 0, np.maximum(frequency, 1e-12) ** -power, 0.0)
    weights = np.where(held, class_weights, 0.0).max(axis=1, initial=0.0)
    labelled = weights > 0
    weights[~labelled] = weights[labelled].min() if labelled.any() else 1.0
    if empty is not None and labelled.any() and not labelled.all():
        others = weights[labelled].sum() * empty / (1 - empty)
        weights[~labelled] = others / (~labelled).sum()
    return weights / weights.mean()


def epoch_order(
    size: int, *, seed: int, epoch: int, weights: NDArray[np.float64] | None = None
) -> NDArray[np.int64]:
    """The order int64 [size] in which an epoch draws its samples.

    Without weights every sample comes once. With weights the epoch still has ``size`` draws, and
    a sample is drawn floor or ceil of ``size * weight / sum`` times (systematic sampling).
    """
    rng = np.random.default_rng([seed, epoch])
    if weights is None:
        return rng.permutation(size)
    edges = np.cumsum(weights / weights.sum() * size)
    points = np.arange(size) + rng.random()
    drawn = np.minimum(np.searchsorted(edges, points, side="right"), size - 1)
    return rng.permutation(drawn)


@dataclass(frozen=True, kw_only=True, eq=False)
class EpochBatches:
    """Batches of keys for one of several processes: a ``batch_sampler`` for a DataLoader.

    One global batch has ``batch * ranks`` rows; process ``rank`` gets rows
    ``[rank * batch : (rank + 1) * batch]`` of it. Beginning at ``start`` costs nothing: no sample
    before it is loaded.

    With ``drop_last`` False the epochs follow each other without a seam: a global batch at the end
    of an epoch is filled up from the beginning of the next, every sample is drawn once per epoch
    and none is left out. With True an epoch has ``size // (batch * ranks)`` full batches and the
    rest of its order is left out (another rest in every epoch).

    Attributes:
        size: Number of samples S.
        batch: Batch size of one process.
        seed: Together with the epoch it fixes the order.
        rank: Which process this is.
        ranks: How many processes there are.
        start: First global step, for resuming.
        stop: Global step to end before; None goes on for ever.
        shuffle: False takes the samples in their own order in every epoch.
        drop_last: See above.
        weights: float64 [S] from ``balanced_weights``; None draws every sample alike.

    Raises:
        InputError: Numbers that make no batches.
    """

    size: int
    batch: int
    seed: int
    rank: int = 0
    ranks: int = 1
    start: int = 0
    stop: int | None = None
    shuffle: bool = True
    drop_last: bool = False
    weights: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if self.size < 1 or self.batch < 1:
            self._refuse("needs samples and a batch size", "size >= 1, batch >= 1")
        if not 0 <= self.rank < self.ranks:
            self._refuse("has no such rank", "0 <= rank < ranks")
        if self.start < 0 or (self.stop is not None and self.stop < self.start):
            self._refuse("cannot run these steps", "0 <= start <= stop")
        if self.drop_last and self.size < self.batch * self.ranks:
            self._refuse("drop_last leaves no batch", "size >= batch * ranks")
        weights = self.weights
        if weights is not None and (
            not self.shuffle
            or weights.shape != (self.size,)
            or not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any())
        ):
            self._refuse(
                "cannot use these weights", "one weight >= 0 per sample, not all 0, and shuffle"
            )

    def _refuse(self, problem: str, expected: str) -> NoReturn:
        raise InputError(f"a sampler {problem}", expected=expected, found=repr(self))

    def __len__(self) -> int:
        """Number of batches; a sampler without ``stop`` has none."""
        if self.stop is None:
            raise TypeError("this sampler goes on for ever: give it a stop to have a length")
        return self.stop - self.start

    def __iter__(self) -> Iterator[list[Key]]:
        order = lru_cache(maxsize=2)(self._order)
        step = self.start
        while self.stop is None or step < self.stop:
            yield [(epoch, int(order(epoch)[row])) for epoch, row in self._places(step)]
            step += 1

    def keys(self, step: int) -> list[Key]:
        """This process's keys of one global step."""
        return [(epoch, int(self._order(epoch)[row])) for epoch, row in self._places(step)]

    def epoch(self, step: int) -> int:
        """The epoch that the first row of a global step belongs to."""
        return (step * self.batch * self.ranks) // self._epoch_rows

    @property
    def _epoch_rows(self) -> int:
        whole = self.batch * self.ranks
        return self.size // whole * whole if self.drop_last else self.size

    def _places(self, step: int) -> list[tuple[int, int]]:
        first = (step * self.ranks + self.rank) * self.batch
        return [divmod(row, self._epoch_rows) for row in range(first, first + self.batch)]

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if not self.shuffle:
            return np.arange(self.size)
        return epoch_order(self.size, seed=self.seed, epoch=epoch, weights=self.weights)


def shard(size: int, *, rank: int, ranks: int) -> range:
    """The contiguous rows of ``size`` that one process evaluates; together they are each row once.

    Shards differ in length by at most one; a process may get none.
    """
    return range(size * rank // ranks, size * (rank + 1) // ranks)
