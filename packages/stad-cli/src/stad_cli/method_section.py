"""[method] of a recipe: what one training step adds up."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from stad_cli.recipe_section import Count, Positive, Section, Share

StrategyName = Literal["none", "interpolation", "ema", "threshold", "class_threshold", "tla"]
"""The rows of SE-STAD's Table 6."""

WITHOUT_UNLABELLED: tuple[StrategyName, ...] = ("none", "ema")
"""Strategies that look at annotated clips alone."""


class StrongSection(Section):
    """[method.strong]: how the student's view of an unlabelled clip differs from the teacher's.

    The teacher sees the clip after the geometry of [augment]; the student sees that view after
    these changes, drawn anew for every clip, and gets the boxes carried along.

    Attributes:
        scale: Range of zoom factors of a further random crop of the same size.
        stretch: Largest relative change of that crop's aspect ratio.
        brightness: Largest relative change of brightness.
        contrast: Largest relative change of contrast.
        saturation: Largest relative change of saturation.
        hue: Largest turn of hues, as a part of the circle, up to 0.5.
        cutout: Number of rectangles that are hidden.
        cutout_area: Smallest and largest share of the frame that one of them hides.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    stretch: Share = 0.0
    brightness: Share = 0.4
    contrast: Share = 0.4
    saturation: Share = 0.4
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    cutout: Count = 1
    cutout_area: tuple[float, float] = (0.02, 0.1)

    @model_validator(mode="after")
    def _ranges(self) -> "StrongSection":
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale must be [low, high] with 0 < low <= high, not {self.scale}")
        if not 0 < self.cutout_area[0] <= self.cutout_area[1] <= 1:
            raise ValueError(
                f"cutout_area must be [low, high] with 0 < low <= high <= 1, not {self.cutout_area}"
            )
        return self


class MethodSection(Section):
    """[method]: what one training step adds up.

    All but `name` belongs to "pseudo_labels".

    Attributes:
        name: "supervised": the detector's losses on annotated clips. "pseudo_labels": after
            `burn_in` steps of that, also its losses on clips between annotated frames, with boxes
            and labels that a teacher, the student's moving average, helps to find.
        strategy: How these are labelled: "interpolation" between the two annotated frames, the
            teacher's scores over a "threshold" or one per class ("class_threshold"), or temporal
            label assignment ("tla"). "ema" only averages the weights of supervised training, and
            "none" does not even that.
        burn_in: Steps on annotated clips alone; the teacher is a copy of the student at their end.
        unsup_weight: Weight of the losses on unlabelled clips; 0 leaves these unread.
        ratio: Unlabelled clips per annotated clip, a whole number of them per batch.
        momentum: Of the teacher; lower during its first updates.
        proposal_score: The teacher's boxes must score more than this.
        proposal_limit: At most this many of them per clip, the best ones.
        proposal_nms: Of two that overlap more than this the worse one goes; 1 keeps all.
        threshold: Of "threshold": score from which a box has an action.
        restrict: Of both thresholds: actions must occur in one of the neighbouring keyframes.
        background: What becomes of boxes without an action: "drop" leaves them out, "negative"
            keeps them as actors that do nothing.
        cost: Of "tla": weights of cross-entropy, distance and GIoU loss.
        calibrate_every_nth_frame: Of "class_threshold": thresholds are calibrated, once and with
            the teacher at the end of the burn-in, on every n-th annotated frame.
        per_gap: Draw from at most this many frames of each gap between annotated frames; all where
            it is not given.
        widest_gap: Draw from gaps of at most this many frames.
        strong: See `StrongSection`.
    """

    name: Literal["supervised", "pseudo_labels"] = "supervised"
    strategy: StrategyName = "tla"
    burn_in: Count = 0
    unsup_weight: Annotated[float, Field(ge=0)] = 0.5
    ratio: Annotated[float, Field(gt=0)] = 1.0
    momentum: Share = 0.999
    proposal_score: Share = 0.3
    proposal_limit: Positive = 100
    proposal_nms: Share = 1.0
    threshold: Share = 0.5
    restrict: bool = True
    background: Literal["drop", "negative"] = "drop"
    cost: tuple[
        Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]
    ] = (1.0, 1.0, 1.0)
    calibrate_every_nth_frame: Positive = 1
    per_gap: Positive | None = None
    widest_gap: Positive | None = None
    strong: StrongSection = StrongSection()

    @model_validator(mode="after")
    def _belongs(self) -> "MethodSection":
        if self.name == "supervised":
            for name, field in type(self).model_fields.items():
                if name != "name" and getattr(self, name) != field.default:
                    raise ValueError(f'{name} goes with name = "pseudo_labels"')
        return self

    @property
    def unlabelled(self) -> bool:
        """Whether a step looks at unlabelled clips too, once the burn-in is over."""
        return (
            self.name == "pseudo_labels"
            and self.unsup_weight > 0
            and self.strategy not in WITHOUT_UNLABELLED
        )
