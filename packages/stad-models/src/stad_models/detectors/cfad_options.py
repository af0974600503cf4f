"""What CFAD's training weighs and its inference keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Selection = Literal["learned", "random", "uniform"]
"""How key timestamps are chosen: by importance, or the two that the paper compares it with."""


@dataclass(frozen=True, kw_only=True)
class CfadOptions:
    """The paper's numbers, where it gives them.

    Attributes:
        proposal_steps: updates at the beginning that train the temporal proposals (and the trunk)
            alone.
        span_weight: weight of the losses of temporal proposals.
        tube_weight: of the class of coarse tubes.
        curve_weight: of their curves.
        importance_weight: of the importance of timestamps.
        box_weight: of the boxes found at timestamps.
        segment: K frames that an anchor is matched with.
        positive: least overlap of positive anchors, of tubes and of boxes; ours.
        negative: negative ones have less; ours.
        key_overlap: epsilon, overlap at which the selection of key timestamps ends.
        train_spans: temporal proposals per clip that train the modules beside the true spans,
            evenly spread over the `max_spans` best: the best of all are soon the true ones; ours.
        span_overlap: a proposal shows the tubes that it overlaps so much in time; ours.
        max_spans: temporal proposals per clip in evaluation; ours.
        span_nms: overlap in time from which the worse of two proposals is dropped (R-C3D).
        span_score: proposals that score less are dropped; ours.
        candidates: coarse tubes per clip that enter suppression; ours.
        max_tubes: tubes per clip that are left.
        tube_nms: overlap from which the worse of two tubes of a class is dropped.
        refine: whether tubes are refined.
        search: sigma, the reach of the local search in widths and heights.
        importance: alpha, least importance of a key timestamp; the paper's curve begins with 0.15.
        selection: see `Selection`; "random" draws the same places for every span of a clip.
        selection_count: timestamps that "random" and "uniform" take.

    Raises:
        ValueError: numbers that make no sense.

    Source: CFAD, Sec. 4.1.
    """

    proposal_steps: int = 0
    span_weight: float = 1.0
    tube_weight: float = 1.0
    curve_weight: float = 1.0
    importance_weight: float = 1.0
    box_weight: float = 1.0
    segment: int = 6
    positive: float = 0.5
    negative: float = 0.3
    key_overlap: float = 0.8
    train_spans: int = 4
    span_overlap: float = 0.5
    max_spans: int = 8
    span_nms: float = 0.7
    span_score: float = 0.0
    candidates: int = 64
    max_tubes: int = 3
    tube_nms: float = 0.2
    refine: bool = True
    search: float = 0.8
    importance: float = 0.15
    selection: Selection = "learned"
    selection_count: int = 4

    def __post_init__(self) -> None:
        counts = {
            "segment": self.segment,
            "max_spans": self.max_spans,
            "candidates": self.candidates,
            "max_tubes": self.max_tubes,
            "selection_count": self.selection_count,
        }
        for name, value in counts.items():
            if value < 1:
                raise ValueError(f"CfadOptions: {name} must be positive, found {value}")
        if min(self.proposal_steps, self.train_spans) < 0:
            raise ValueError(
                "CfadOptions: proposal_steps and train_spans must not be negative, "
                f"found {self.proposal_steps} and {self.train_spans}"
            )
        if not 0 <= self.negative <= self.positive <= 1:
            raise ValueError(
                "CfadOptions: needs 0 <= negative <= positive <= 1, "
                f"found {self.negative} and {self.positive}"
            )
        if self.selection not in ("learned", "random", "uniform"):
            raise ValueError(
                "CfadOptions: selection must be 'learned', 'random' or 'uniform', "
                f"found {self.selection!r}"
            )
        if self.search < 0:
            raise ValueError(f"CfadOptions: search must not be negative, found {self.search}")
