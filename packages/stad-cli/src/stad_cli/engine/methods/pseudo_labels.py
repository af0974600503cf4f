"""Pseudo labels: after a burn-in, a teacher labels the clips between annotated frames.

Source: SE-STAD, Sec. 3.4.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stad_cli.engine.batches import training_batches
from stad_cli.engine.distributed import Processes
from stad_cli.engine.methods.labelling import calibrated_thresholds, labelling
from stad_cli.engine.methods.method import Losses, TrainingData
from stad_cli.engine.methods.pseudo_label_tally import PseudoLabelTally
from stad_cli.engine.methods.supervised import Supervised
from stad_cli.engine.methods.teacher_proposals import teacher_proposals
from stad_cli.engine.methods.unlabelled_clips import UnlabelledBatch, unlabelled_batches
from stad_cli.engine.model_input import normalise
from stad_cli.method_section import MethodSection
from stad_data.loading import Batch
from stad_data.views import carried
from stad_models.structures import Targets
from stad_ssl import MeanTeacher, Neighbours, Proposals, PseudoLabels, Strategy


@dataclass(frozen=True, kw_only=True, eq=False)
class MixedBatch:
    """The clips of one backward pass.

    Attributes:
        annotated: As in supervised training, to the bit.
        unlabelled: Clips between annotated frames; None during the burn-in.
    """

    annotated: Batch
    unlabelled: UnlabelledBatch | None = None


class PseudoLabelling:
    """Supervised losses, plus the same losses on unlabelled clips with pseudo labels.

    The teacher, the student's average, is a copy of it at the end of the burn-in. Where no box came
    out for a clip although a neighbouring keyframe has actors, nothing is known about it and it is
    left out: to the localisation head a clip without boxes says that nobody is there.

    Args:
        model: The detector, on its device: it takes boxes and labels at keyframes as targets, and
            gives `Detections`.
        group: The processes that train it.
        settings: The recipe's section.
        freeze_batch_norm: Keep BatchNorm's running statistics as they are.
    """

    def __init__(
        self,
        model: nn.Module,
        group: Processes,
        settings: MethodSection,
        *,
        freeze_batch_norm: bool = False,
    ) -> None:
        self._model, self._group, self._settings = model, group, settings
        self._supervised = Supervised(model, group, freeze_batch_norm=freeze_batch_norm)
        self._averages = settings.strategy != "none"
        self._teacher = MeanTeacher(model, momentum=settings.momentum)
        self._steps = 0
        self._thresholds: Tensor | None = None
        self._labelling: Strategy | None = None
        self._tally = PseudoLabelTally()
        self._data: TrainingData | None = None

    @property
    def network(self) -> nn.Module:
        """The student, wrapped where several processes train it."""
        return self._supervised.network

    def batches(self, data: TrainingData, *, start: int) -> Iterator[MixedBatch]:
        """Annotated clips, joined by unlabelled ones after the burn-in."""
        self._data = data
        recipe = data.recipe
        annotated = training_batches(
            recipe, data.dataset, data.group, start=start, caches=data.caches
        )
        if not self._settings.unlabelled:
            return (MixedBatch(annotated=batch) for batch in annotated)
        burn_in = self._settings.burn_in * recipe.optim.accumulate
        return _mixed(annotated, data, alone=max(0, burn_in - start), start=max(0, start - burn_in))

    def step(self, batch: MixedBatch) -> Losses:
        """The supervised losses, and those on pseudo labels as "unsup_..."."""
        losses = self._supervised.step(batch.annotated)
        if batch.unlabelled is not None:
            losses |= self._unsupervised(batch.unlabelled)
        return losses

    def after_update(self, step: int) -> None:
        """Move the teacher; at the end of the burn-in copy the student."""
        self._steps = step
        if not self._averages:
            return
        if step == self._settings.burn_in:
            self._teacher.restart(self._model)
        elif step > self._settings.burn_in:
            self._teacher.update(self._model)

    def report(self) -> Mapping[str, Any]:
        """Counts of pseudo boxes and labels; where truth is known, precision and recall."""
        if not self._settings.unlabelled or self._data is None:
            return {}
        told = self._tally.told(self._data.dataset.classes.names, self._group)
        return {"pseudo_labels": told} if told else {}

    def evaluated(self) -> Mapping[str, nn.Module]:
        """Teacher and student; the student alone before the teacher begins, or without one."""
        student: dict[str, nn.Module] = {"student": self._model}
        if not self._averages or self._steps < self._settings.burn_in:
            return student
        return {"teacher": self._teacher.model, **student}

    def state_dict(self) -> dict[str, Any]:
        """The teacher, the thresholds, and what was counted since the last line of the log."""
        return {
            "teacher": self._teacher.state_dict(),
            "steps": self._steps,
            "thresholds": self._thresholds,
            "tally": self._tally.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self._teacher.load_state_dict(state["teacher"])
        self._steps, self._thresholds = int(state["steps"]), state["thresholds"]
        if self._group.leads:
            self._tally.load_state_dict(state["tally"])

    def _unsupervised(self, batch: UnlabelledBatch) -> Losses:
        pseudo = self._pseudo_labels(batch)
        used = [row for row, found in enumerate(pseudo) if _says(found, batch.neighbours[row])]
        self._tally.add(pseudo, batch.hidden, left_out=len(batch) - len(used))
        # Every process must take part in what the losses share: without a usable clip, at weight 0.
        weight = self._settings.unsup_weight if used else 0.0
        rows = used or list(range(len(batch)))
        clips = batch.strong.clips if len(rows) == len(batch) else batch.strong.clips[rows]
        targets = carried_targets([pseudo[row] for row in rows], batch, rows)
        detector: Callable[[Tensor, Targets], Losses] = self.network
        device = self._group.device
        losses = detector(normalise(clips.to(device, non_blocking=True)), targets.to(device))
        return {f"unsup_{name}": loss * weight for name, loss in losses.items()}

    def _pseudo_labels(self, batch: UnlabelledBatch) -> list[PseudoLabels]:
        label = self._strategy()
        if self._settings.strategy == "interpolation":
            classes = len(self._trained_on().dataset.classes)
            return label([Proposals.none(classes)] * len(batch), batch.neighbours)
        found = teacher_proposals(
            self._teacher.model, batch.weak, self._settings, self._group.device
        )
        return label(found, batch.neighbours)

    def _strategy(self) -> Strategy:
        """The strategy; thresholds are calibrated when they are first needed."""
        if self._labelling is None:
            data = self._trained_on()
            if self._settings.strategy == "class_threshold" and self._thresholds is None:
                self._thresholds = calibrated_thresholds(self._teacher.model, data)
            self._labelling = labelling(
                self._settings,
                exclusive=data.dataset.classes.exclusive,
                thresholds=self._thresholds,
            )
        return self._labelling

    def _trained_on(self) -> TrainingData:
        if self._data is None:
            raise RuntimeError("a method's batches come before its steps")
        return self._data


def carried_targets(
    pseudo: Sequence[PseudoLabels], batch: UnlabelledBatch, rows: Sequence[int]
) -> Targets:
    """Pseudo labels found in the weak view of some clips as targets in their strong view.

    Args:
        pseudo: One per row, in pixels of the weak view.
        batch: The clips.
        rows: Which of them.
    """
    boxes: list[Tensor] = []
    labels: list[Tensor] = []
    for found, row in zip(pseudo, rows, strict=True):
        weak, strong = batch.weak.clips_info[row], batch.strong.clips_info[row]
        moved, kept = carried(
            found.boxes.numpy(), weak.placement, strong.placement, size=strong.size
        )
        box = torch.from_numpy(moved).float()
        solid = (box[:, 2:] > box[:, :2]).all(dim=1)  # in float32 a sliver may lose its area
        boxes.append(box[solid])
        labels.append(found.labels[torch.from_numpy(kept)][solid].float())
    return Targets(boxes=tuple(boxes), labels=tuple(labels))


def _says(pseudo: PseudoLabels, near: Neighbours) -> bool:
    """Whether a clip's pseudo labels say who is there, or rightly that nobody is."""
    somebody = any(len(frame) > 0 for frame in near.keyframes)
    return pseudo.known and (len(pseudo) > 0 or not somebody)


def _mixed(
    annotated: Iterator[Batch], data: TrainingData, *, alone: int, start: int
) -> Iterator[MixedBatch]:
    """Batches of which the first `alone` hold annotated clips only, and nothing else is read."""
    for _ in range(alone):
        yield MixedBatch(annotated=next(annotated))
    unlabelled = unlabelled_batches(data, start=start)
    for batch, others in zip(annotated, unlabelled, strict=False):
        yield MixedBatch(annotated=batch, unlabelled=others)
