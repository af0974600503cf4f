"""How many pseudo boxes and labels there were since the last line of the log, and how good."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from stad_cli.engine.distributed import Processes
from stad_ssl import Keyframe, PseudoLabelCounts, PseudoLabels, count_pseudo_labels

_PARTS = ("given", "judged", "present", "correct")


class PseudoLabelTally:
    """Counts of this process, added up until they are told.

    A checkpoint holds those of the first process; others that resume begin at 0, which shows in one
    line of the log, and only where `run.checkpoint_every` is no multiple of `run.log_every`.
    """

    def __init__(self) -> None:
        self._counts: PseudoLabelCounts | None = None
        self._clips = self._left_out = 0

    def add(
        self, pseudo: Sequence[PseudoLabels], hidden: Sequence[Keyframe | None], *, left_out: int
    ) -> None:
        """Add one batch, of whose clips some were left out of the loss."""
        counts = count_pseudo_labels(pseudo, hidden)
        self._counts = counts if self._counts is None else self._counts + counts
        self._clips += len(pseudo)
        self._left_out += left_out

    def told(self, names: Sequence[str], group: Processes) -> dict[str, Any]:
        """The counts of all processes, as the log has them; begins anew. Empty without clips.

        Precision and recall are there where some truth was known.
        """
        parts = group.gather((self._counts, self._clips, self._left_out))
        self._counts, self._clips, self._left_out = None, 0, 0
        known: list[PseudoLabelCounts] = [counts for counts, _, _ in parts if counts is not None]
        if not known:
            return {}
        total = known[0]
        for counts in known[1:]:
            total += counts
        of_labels = PseudoLabelCounts(
            **{part: getattr(total, part)[1:].sum(dim=0, keepdim=True) for part in _PARTS}
        )
        return {
            "clips": sum(clips for _, clips, _ in parts),
            "left_out": sum(left_out for _, _, left_out in parts),
            "boxes": _entry(total, 0),
            "labels": _entry(of_labels, 0),
            "by_class": {name: _entry(total, row) for row, name in enumerate(names, start=1)},
        }

    def state_dict(self) -> dict[str, Any]:
        """Plain types and tensors."""
        counts = self._counts
        return {
            "counts": {} if counts is None else {part: getattr(counts, part) for part in _PARTS},
            "clips": self._clips,
            "left_out": self._left_out,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        counts: dict[str, Tensor] = {
            part: counted.to(torch.int64) for part, counted in state["counts"].items()
        }
        self._counts = PseudoLabelCounts(**counts) if counts else None
        self._clips, self._left_out = int(state["clips"]), int(state["left_out"])


def _entry(counts: PseudoLabelCounts, row: int) -> dict[str, float]:
    entry: dict[str, float] = {"given": int(counts.given[row])}
    if counts.judged[row]:
        entry["precision"] = float(counts.precision[row])
    if counts.present[row]:
        entry["recall"] = float(counts.recall[row])
    return entry
