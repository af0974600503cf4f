"""Labelled and unlabelled samples at a fixed ratio in every batch."""

from collections.abc import Iterator
from dataclasses import dataclass

from stad_data.sampling import EpochBatches, Key
from stad_eval import InputError


@dataclass(frozen=True, kw_only=True, eq=False)
class MixedBatches:
    """Batches of keys that begin with labelled samples and end with unlabelled ones.

    Each part goes through its own epochs, so the smaller set is met more often; within an epoch of
    its own every sample is drawn once, over all processes. Rows of unlabelled samples are counted
    on from the labelled ones: row ``labelled.size + i`` is unlabelled sample i, as in a
    ``ConcatDataset`` of the two. Nothing here keeps state: resuming is starting at another step.

    Attributes:
        labelled: Batches of the labelled samples.
        unlabelled: Batches of the unlabelled samples; its seed should be another.

    Raises:
        InputError: Parts that run on other processes or steps.
    """

    labelled: EpochBatches
    unlabelled: EpochBatches

    def __post_init__(self) -> None:
        runs = [
            (part.rank, part.ranks, part.start, part.stop)
            for part in (self.labelled, self.unlabelled)
        ]
        if runs[0] != runs[1]:
            raise InputError(
                "the parts of mixed batches do not go together",
                expected=f"rank, ranks, start and stop {runs[0]} in both",
                found=f"{runs[1]}",
            )

    def __len__(self) -> int:
        """Number of batches; without ``stop`` there is none (TypeError)."""
        return len(self.labelled)

    def __iter__(self) -> Iterator[list[Key]]:
        for keys, others in zip(self.labelled, self.unlabelled, strict=True):
            yield [*keys, *self._counted_on(others)]

    def keys(self, step: int) -> list[Key]:
        """This process's keys of one global step."""
        return [*self.labelled.keys(step), *self._counted_on(self.unlabelled.keys(step))]

    def epoch(self, step: int) -> int:
        """The epoch of the labelled samples that the first row of a global step belongs to."""
        return self.labelled.epoch(step)

    def _counted_on(self, keys: list[Key]) -> list[Key]:
        return [(epoch, self.labelled.size + row) for epoch, row in keys]


def shares(batch: int, ratio: tuple[int, int]) -> tuple[int, int]:
    """How many labelled and unlabelled samples a batch of this size holds at this ratio.

    Raises:
        InputError: A ratio that does not divide the batch.
    """
    labelled, unlabelled = ratio
    whole = labelled + unlabelled
    if min(batch, labelled, unlabelled) < 1 or batch % whole:
        raise InputError(
            "a batch cannot be shared out at this ratio",
            expected="a batch that is a multiple of the ratio's sum, parts >= 1",
            found=f"batch {batch}, ratio {labelled}:{unlabelled}",
        )
    return batch // whole * labelled, batch // whole * unlabelled
