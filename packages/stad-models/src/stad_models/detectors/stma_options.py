"""What of STMA is switched on, and its numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class StmaOptions:
    """The paper's parts, each a switch, and its weights. With all switches off it is MOC.

    Attributes:
        class_agnostic: CAL: one kind of center, and a branch of its own for actions.
        motion_excitation: ME, a part of that branch.
        aggregation: STA: a 3D trunk over the whole clip joins that branch.
        gaussian_size: GR of sizes: distances to the sides, trained over areas by GIoU.
        gaussian_movement: GR of movement: trained over areas.
        center_weight: weight of the loss of centers.
        action_weight: weight of that of actions.
        regression_weight: weight of movement and sizes; None takes the paper's 0.5, or MOC's 1
            where all switches are off.
        size_weight: weight of sizes within that.
        max_tubelets: centers per clip; None takes the paper's 10, or MOC's 100 where centers have
            classes.
        background_centers: the branch of actions also learns to tell "no action", from so many of
            the best false centers per clip, see `Stma`. 0, the paper's: from actors alone, so that
            only the centers, told from K frames, say who acts.
        min_score: centers must score more than this; those that score 0 never count.
        clip_step: in a streaming pass the 3D trunk looks at the clips around every so many frames
            of the video; the tubelets between share the nearest one's map. 1 gives every tubelet
            the clip around its own keyframe, as in training.

    Raises:
        ValueError: a part of the action branch without the branch; a number out of range.

    Source: Sec. 2.4, Eq. 8 and 9; Sec. 2.5; Tables 2 and 3.
    """

    class_agnostic: bool = True
    motion_excitation: bool = True
    aggregation: bool = True
    gaussian_size: bool = True
    gaussian_movement: bool = True
    center_weight: float = 1.0
    action_weight: float = 0.01
    regression_weight: float | None = None
    size_weight: float = 0.1
    max_tubelets: int | None = None
    background_centers: int = 0
    min_score: float = 0.0
    clip_step: int = 1

    def __post_init__(self) -> None:
        if (self.motion_excitation or self.aggregation) and not self.class_agnostic:
            raise ValueError(
                "StmaOptions: motion_excitation and aggregation are parts of the branch that "
                "class_agnostic brings; switch it on, or both of them off"
            )
        if self.background_centers < 0:
            raise ValueError(
                "StmaOptions: background_centers must be 0 or more, found "
                f"{self.background_centers}"
            )
        if self.background_centers and not self.class_agnostic:
            raise ValueError(
                "StmaOptions: background_centers train the branch that class_agnostic brings; "
                "switch it on, or set background_centers to 0"
            )
        if self.max_tubelets is not None and self.max_tubelets < 1:
            raise ValueError(
                f"StmaOptions: max_tubelets must be positive or None, found {self.max_tubelets}"
            )
        if self.clip_step < 1:
            raise ValueError(f"StmaOptions: clip_step must be positive, found {self.clip_step}")

    @property
    def is_moc(self) -> bool:
        """Whether all switches are off."""
        return not (self.class_agnostic or self.gaussian_size or self.gaussian_movement)

    @property
    def regression(self) -> float:
        """The weight of movement and sizes."""
        if self.regression_weight is None:
            return 1.0 if self.is_moc else 0.5
        return self.regression_weight

    @property
    def limit(self) -> int:
        """How many centers per clip."""
        if self.max_tubelets is None:
            return 10 if self.class_agnostic else 100
        return self.max_tubelets
