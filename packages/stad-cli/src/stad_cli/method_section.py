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
        flip: Probability of mirroring left and right; for "consistency" alone.
        scale: Range of zoom factors of a further random crop of the same size.
        stretch: Largest relative change of that crop's aspect ratio.
        brightness: Largest relative change of brightness.
        contrast: Largest relative change of contrast.
        saturation: Largest relative change of saturation.
        hue: Largest turn of hues, as a part of the circle, up to 0.5.
        cutout: Number of rectangles that are hidden.
        cutout_area: Smallest and largest share of the frame that one of them hides.
    """

    flip: Share = 0.0
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


class ConsistencySection(Section):
    """[method.consistency]: how unlabelled clips are used by detectors of localisation maps.

    Attributes:
        approach: "consistency": two views of a clip should give the same features and maps.
            "co_ssd": the same class scores and maps, without attention over time. "pseudo_label":
            in rounds, the network as it was at the round's beginning labels clips. "mixmatch":
            guesses over views, made surer, and labelled and unlabelled clips mixed.
        classification: Weight of the consistency of classes, lambda_1; 0 leaves it out.
        localisation: Weight of the consistency of maps, lambda_2; 0 leaves it out.
        attention: Of "consistency": weigh pixels by their "variance" over neighbouring frames
            (temporal coherence), by the second "gradient" of their probability in time (gradient
            smoothness), or alike ("none").
        cyclic: Of "variance": over the circle of both views, instead of the second view's clip.
        l2: Keep a part 1 - w of the plain difference beside what is attended to, where w rises
            from 0 to 1 over `ramp` steps. False attends fully from the first step.
        ramp: Steps of w's exponential rise; all steps after the burn-in where it is not given.
        absolute: Of "gradient": take the absolute value of the second derivative.
        detach: Let no gradient flow through the attention.
        rounds: Of "pseudo_label": how often clips are labelled anew, at equal distances.
        threshold: Of "pseudo_label": least score of a clip's best class.
        map_threshold: Of "pseudo_label": value of a map from which a pixel belongs to an actor.
        temperature: Of "mixmatch": how sure guesses are made, 1 changes nothing.
        alpha: Of "mixmatch": of the Beta distribution that shares are drawn from.
    """

    approach: Literal["consistency", "co_ssd", "pseudo_label", "mixmatch"] = "consistency"
    classification: Annotated[float, Field(ge=0)] = 0.3
    localisation: Annotated[float, Field(ge=0)] = 0.7
    attention: Literal["none", "variance", "gradient"] = "none"
    cyclic: bool = True
    l2: bool = True
    ramp: Positive | None = None
    absolute: bool = True
    detach: bool = True
    rounds: Positive = 3
    threshold: Share = 0.5
    map_threshold: Share = 0.5
    temperature: Annotated[float, Field(gt=0)] = 0.5
    alpha: Annotated[float, Field(gt=0)] = 0.75

    @model_validator(mode="after")
    def _something(self) -> "ConsistencySection":
        if self.classification + self.localisation == 0:
            raise ValueError("one of classification and localisation must be above 0")
        return self


_BOTH = ("name", "burn_in", "unsup_weight", "ratio", "strong")
"""Keys that "pseudo_labels" and "consistency" share."""

_OF_CONSISTENCY = ("consistency", "unlabelled_frames")


class MethodSection(Section):
    """[method]: what one training step adds up.

    All but `name` belongs to "pseudo_labels" or "consistency"; `burn_in`, `unsup_weight`, `ratio`
    and `strong` to both.

    Attributes:
        name: "supervised": the detector's losses on annotated clips. "pseudo_labels": after
            `burn_in` steps of that, also its losses on clips between annotated frames, with boxes
            and labels that a teacher, the student's moving average, helps to find. "consistency":
            for detectors of localisation maps, after `burn_in` steps also what [method.consistency]
            says of a second view of every clip, labelled or not.
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
        consistency: See `ConsistencySection`.
        unlabelled_frames: Of "consistency": draw unlabelled clips around "all" frames of a video
            (untrimmed), or those with "actors" alone, whose places are then taken from the
            annotation (trimmed).
    """

    name: Literal["supervised", "pseudo_labels", "consistency"] = "supervised"
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
    consistency: ConsistencySection = ConsistencySection()
    unlabelled_frames: Literal["all", "actors"] = "all"

    @model_validator(mode="after")
    def _belongs(self) -> "MethodSection":
        for name, field in type(self).model_fields.items():
            if name == "name" or getattr(self, name) == field.default:
                continue
            owner = "consistency" if name in _OF_CONSISTENCY else "pseudo_labels"
            if self.name == "supervised" or (name not in _BOTH and self.name != owner):
                raise ValueError(f'{name} goes with name = "{owner}"')
        if self.name == "pseudo_labels" and self.strong.flip:
            raise ValueError("strong.flip must be 0 for pseudo labels: boxes carry no side")
        return self

    @property
    def unlabelled(self) -> bool:
        """Whether a step looks at unlabelled clips too, once the burn-in is over."""
        if self.name == "consistency":
            return self.unsup_weight > 0
        return (
            self.name == "pseudo_labels"
            and self.unsup_weight > 0
            and self.strategy not in WITHOUT_UNLABELLED
        )
