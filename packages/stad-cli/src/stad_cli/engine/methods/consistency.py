"""Consistency of two views, and the baselines beside it, for detectors of localisation maps.

Source: End-to-end semi-supervised learning for video action detection, Sec. 3 and Table 2.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from stad_cli.config import OptimSection
from stad_cli.engine.batches import training_batches
from stad_cli.engine.distributed import Processes
from stad_cli.engine.methods.clip_pairs import (
    PairBatch,
    UnlabelledSamples,
    labelled_pairs,
    unlabelled_pairs,
    unlabelled_samples,
)
from stad_cli.engine.methods.map_views import carried_maps, judging
from stad_cli.engine.methods.method import Losses, TrainingData
from stad_cli.engine.methods.mixed_clips import mixed_clips
from stad_cli.engine.methods.supervised import Supervised
from stad_cli.engine.model_input import model_input, targets_of
from stad_cli.method_section import MethodSection
from stad_data.loading import Batch
from stad_eval import InputError
from stad_models.detectors.map_outputs import MapOutputs
from stad_models.detectors.video_capsule import clip_labels
from stad_models.structures import Targets
from stad_ssl import (
    MeanTeacher,
    attended,
    class_divergence,
    class_pseudo_labels,
    cyclic_variance_attention,
    exponential_ramp_up,
    gradient_attention,
    jensen_shannon,
    map_pseudo_labels,
    round_starts,
    seen_mean,
    squared_difference,
    variance_attention,
)


class MapDetector(Protocol):
    """A detector that gives its maps, scores and features with gradients, as `VideoCapsule`."""

    num_classes: int

    def __call__(self, clips: Tensor, *, labels: Tensor) -> MapOutputs:
        """Outputs of clips, decoded from the labels where a row has any."""
        ...

    def losses(self, outputs: MapOutputs, targets: Targets) -> Losses:
        """The supervised losses of outputs."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class ConsistencyBatch:
    """The clips of one backward pass.

    Attributes:
        annotated: During the burn-in and without unlabelled clips: as in supervised training.
        labelled: Afterwards: the same clips in two views.
        unlabelled: Afterwards: clips without labels in two views.
    """

    annotated: Batch | None = None
    labelled: PairBatch | None = None
    unlabelled: PairBatch | None = None


class Consistency:
    """Supervised losses, plus what two views of labelled and unlabelled clips should share.

    All clips of a step pass the network together, so that BatchNorm sees one shuffled batch.

    Args:
        model: The detector, on its device: it gives `MapOutputs`.
        group: The processes that train it.
        settings: The recipe's section.
        optim: Says for how many steps, and whether weights are averaged.
        freeze_batch_norm: Keep BatchNorm's running statistics as they are.

    Raises:
        InputError: A detector without localisation maps, or too few steps for the rounds.
    """

    def __init__(
        self,
        model: nn.Module,
        group: Processes,
        settings: MethodSection,
        optim: OptimSection,
        *,
        freeze_batch_norm: bool = False,
    ) -> None:
        if not hasattr(model, "losses"):
            raise InputError(
                'method "consistency" needs a detector of localisation maps',
                found=type(model).__name__,
                remedy='take model.name "video_capsule_tiny", "video_capsule_i3d", "vos_tiny" or '
                '"vos_i3d"',
            )
        self._model = model
        self._maps = cast("MapDetector", model)
        self._group, self._settings, self._optim = group, settings, optim
        self._supervised = Supervised(
            model, group, ema=optim.ema, freeze_batch_norm=freeze_batch_norm
        )
        self._outputs = cast("Callable[..., MapOutputs]", self._supervised.network)
        self._steps = 0
        self._sure = self._judged = 0
        rounds = settings.unlabelled and settings.consistency.approach == "pseudo_label"
        self._rounds = _rounds(settings, optim) if rounds else ()
        self._labeller = MeanTeacher(model) if rounds else None

    @property
    def network(self) -> nn.Module:
        """The detector, wrapped where several processes train it."""
        return self._supervised.network

    def batches(self, data: TrainingData, *, start: int) -> Iterator[ConsistencyBatch]:
        """Annotated clips; after the burn-in these in two views, joined by unlabelled ones."""
        if not self._settings.unlabelled:
            return _annotated(data, start=start)
        burn_in = self._settings.burn_in * data.recipe.optim.accumulate
        return _batches(data, unlabelled_samples(data), start=start, burn_in=burn_in)

    def step(self, batch: ConsistencyBatch) -> Losses:
        """The supervised losses, and those of unlabelled clips as "unsup_..."."""
        if batch.annotated is not None:
            return self._supervised.step(batch.annotated)
        if batch.labelled is None or batch.unlabelled is None:
            raise RuntimeError("a batch holds annotated clips, or labelled and unlabelled pairs")
        steps: dict[str, Callable[[PairBatch, PairBatch], Losses]] = {
            "consistency": self._consistent,
            "co_ssd": self._consistent,
            "pseudo_label": self._pseudo_labelled,
            "mixmatch": self._mixed,
        }
        return steps[self._settings.consistency.approach](batch.labelled, batch.unlabelled)

    def after_update(self, step: int) -> None:
        """Move the averaged weights; at the beginning of a round copy the network."""
        self._steps = step
        self._supervised.after_update(step)
        if self._labeller is not None and step in self._rounds:
            self._labeller.restart(self._model)

    def report(self) -> Mapping[str, Any]:
        """The share of attention; of pseudo labels how many clips were sure."""
        parts: list[tuple[int, int]] = self._group.gather((self._sure, self._judged))
        self._sure = self._judged = 0
        sure, judged = (sum(counts) for counts in zip(*parts, strict=True))
        if judged:
            return {"pseudo_clips": {"judged": judged, "sure": sure}}
        consistency = self._settings.consistency
        if consistency.approach == "consistency" and consistency.attention != "none":
            return {"attention_share": self._share()}
        return {}

    def evaluated(self) -> Mapping[str, nn.Module]:
        """The averaged detector where there is one, else the detector."""
        return self._supervised.evaluated()

    def state_dict(self) -> dict[str, Any]:
        """The averaged weights, the network that labels, and the steps done."""
        return {
            "supervised": self._supervised.state_dict(),
            "labeller": None if self._labeller is None else self._labeller.state_dict(),
            "steps": self._steps,
            "counts": [self._sure, self._judged],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self._supervised.load_state_dict(state["supervised"])
        if self._labeller is not None:
            self._labeller.load_state_dict(state["labeller"])
        self._steps = int(state["steps"])
        if self._group.leads:
            self._sure, self._judged = map(int, state["counts"])

    def _consistent(self, labelled: PairBatch, unlabelled: PairBatch) -> Losses:
        """Eqs. 7 to 9; of "co_ssd" the divergence of class scores and plain maps."""
        settings, consistency = self._settings, self._settings.consistency
        targets = targets_of(labelled.first).to(self._group.device)
        known = clip_labels(targets, self._maps.num_classes)
        none = known.new_zeros((len(unlabelled), known.shape[1]))
        views = (labelled.first, unlabelled.first, labelled.second, unlabelled.second)
        outputs = self._outputs(self._clips(*views), labels=torch.cat([known, none, known, none]))
        losses = self._maps.losses(outputs[: len(labelled)], targets)
        both = len(labelled) + len(unlabelled)
        first, second = outputs[:both], outputs[both:]
        weight = settings.unsup_weight
        if consistency.classification:
            if consistency.approach == "co_ssd":
                classes = class_divergence(first.scores, second.scores)
            else:
                classes = jensen_shannon(first.features, second.features)
            losses["unsup_class"] = weight * consistency.classification * classes
        if consistency.localisation:
            infos = [*labelled.first.clips_info, *unlabelled.first.clips_info]
            others = [*labelled.second.clips_info, *unlabelled.second.clips_info]
            undone, seen = carried_maps(second.localisation, others, infos)
            maps = self._map_consistency(first.localisation, undone, seen)
            losses["unsup_map"] = weight * consistency.localisation * maps
        return losses

    def _map_consistency(self, first: Tensor, second: Tensor, seen: Tensor) -> Tensor:
        """L2 of maps `[N, T, H, W]`, with the attention of the recipe."""
        consistency = self._settings.consistency
        difference = squared_difference(first, second)
        if consistency.approach == "co_ssd" or consistency.attention == "none":
            return seen_mean(difference, seen)
        if consistency.attention == "gradient":
            attention = gradient_attention(
                first, absolute=consistency.absolute, detach=consistency.detach
            )
        elif consistency.cyclic:
            attention = cyclic_variance_attention(first, second, detach=consistency.detach)
        else:
            attention = variance_attention(second, detach=consistency.detach)
        return seen_mean(attended(difference, attention, self._share()), seen)

    def _share(self) -> float:
        """W of Eq. 3 at the coming step."""
        consistency = self._settings.consistency
        if not consistency.l2:
            return 1.0
        burn_in = self._settings.burn_in
        length = consistency.ramp or self._optim.steps - burn_in
        return exponential_ramp_up(max(0, self._steps - burn_in), max(0, length))

    def _pseudo_labelled(self, labelled: PairBatch, unlabelled: PairBatch) -> Losses:
        """The supervised losses on second views of clips that the round's network is sure of."""
        settings = self._settings.consistency
        if self._labeller is None:
            raise RuntimeError("pseudo labels without a network that gives them")
        device = self._group.device
        with torch.no_grad():
            found: MapOutputs = self._labeller.model(
                self._clips(unlabelled.first), labels=self._nothing(len(unlabelled))
            )
        guessed, sure = class_pseudo_labels(found.scores, settings.threshold)
        carried, _ = carried_maps(
            found.localisation, unlabelled.first.clips_info, unlabelled.second.clips_info
        )
        masks = map_pseudo_labels(carried, settings.map_threshold)
        targets = targets_of(labelled.first).to(device)
        known = clip_labels(targets, self._maps.num_classes)
        outputs = self._outputs(
            self._clips(labelled.first, unlabelled.second), labels=torch.cat([known, guessed])
        )
        count = int(sure.sum())
        self._sure, self._judged = self._sure + count, self._judged + len(unlabelled)
        # Every process must take part in what the losses share: without a sure clip, at weight 0.
        rows = sure.nonzero()[:, 0] if count else torch.arange(len(unlabelled), device=device)
        weight = self._settings.unsup_weight if count else 0.0
        used = rows + len(labelled)
        chosen = MapOutputs(
            logits=outputs.logits[used],
            scores=outputs.scores[used],
            features=outputs.features[used],
        )
        losses = self._maps.losses(outputs[: len(labelled)], targets)
        pseudo = self._maps.losses(chosen, clip_targets(guessed[rows], masks[rows]))
        return losses | {f"unsup_{name}": weight * loss for name, loss in pseudo.items()}

    def _mixed(self, labelled: PairBatch, unlabelled: PairBatch) -> Losses:
        """MixMatch: see `mixed_clips`; unlabelled clips have the squared error of both outputs."""
        settings, count = self._settings.consistency, len(labelled)
        targets = targets_of(labelled.first).to(self._group.device)
        known = clip_labels(targets, self._maps.num_classes)
        if targets.masks is None:
            raise RuntimeError("labelled clips without masks")
        with judging(self._model):
            none = self._nothing(2 * len(unlabelled))
            found = self._maps(self._clips(unlabelled.first, unlabelled.second), labels=none)
        mixed = mixed_clips(
            self._clips(labelled.first, unlabelled.first, unlabelled.second),
            known,
            targets.masks,
            found,
            labelled,
            unlabelled,
            temperature=settings.temperature,
            alpha=settings.alpha,
        )
        outputs = self._outputs(mixed.clips, labels=mixed.labels)
        wanted = clip_targets(mixed.labels[:count], mixed.masks[:count])
        losses = self._maps.losses(outputs[:count], wanted)
        classes = (outputs.scores[count:].float() - mixed.labels[count:]).square().mean()
        maps = seen_mean(squared_difference(outputs.localisation[count:], mixed.masks[count:]))
        weight = self._settings.unsup_weight
        losses["unsup_class"] = weight * settings.classification * classes
        losses["unsup_map"] = weight * settings.localisation * maps
        return losses

    def _clips(self, *batches: Batch) -> Tensor:
        """The clips of several batches, as the detector takes them."""
        return torch.cat([model_input(batch, self._group.device) for batch in batches])

    def _nothing(self, count: int) -> Tensor:
        """Labels of clips of which nothing is known."""
        return torch.zeros((count, self._maps.num_classes), device=self._group.device)


def _annotated(data: TrainingData, *, start: int) -> Iterator[ConsistencyBatch]:
    """Batches as in supervised training."""
    batches = training_batches(
        data.recipe, data.dataset, data.group, start=start, caches=data.caches
    )
    return (ConsistencyBatch(annotated=batch) for batch in batches)


def _batches(
    data: TrainingData, drawn: UnlabelledSamples, *, start: int, burn_in: int
) -> Iterator[ConsistencyBatch]:
    """Annotated clips up to the end of the burn-in, then pairs of labelled and unlabelled ones."""
    if start < burn_in:
        yield from islice(_annotated(data, start=start), burn_in - start)
    labelled = labelled_pairs(data, start=max(start, burn_in))
    unlabelled = unlabelled_pairs(data, drawn, start=max(0, start - burn_in))
    for batch, others in zip(labelled, unlabelled, strict=False):
        yield ConsistencyBatch(labelled=batch, unlabelled=others)


def clip_targets(labels: Tensor, masks: Tensor) -> Targets:
    """Targets of clips of which labels `[N, C]` and masks `[N, T, H, W]` are known, not boxes.

    A box over the whole frame carries each clip's labels.
    """
    height, width = masks.shape[2:]
    frame = torch.tensor([[0.0, 0.0, width, height]], device=labels.device)
    return Targets(
        boxes=tuple(frame for _ in labels),
        labels=tuple(row[None] for row in labels),
        masks=masks,
    )


def _rounds(settings: MethodSection, optim: OptimSection) -> tuple[int, ...]:
    try:
        return round_starts(
            optim.steps, burn_in=settings.burn_in, rounds=settings.consistency.rounds
        )
    except ValueError as error:
        raise InputError(
            "method.consistency.rounds does not fit the steps",
            found=str(error),
            remedy="raise optim.steps, or lower rounds or method.burn_in",
        ) from None
