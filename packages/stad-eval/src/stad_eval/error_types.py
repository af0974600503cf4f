"""How many detections are right, and what the others are: the four types of CFAD.

The paper (Li et al., "CFAD: Coarse-to-Fine Action Detector for Spatiotemporal Action
Localization", Fig. 5) defines, for a threshold on the overlap: true positive (right class, enough
overlap), wrong class (enough overlap with ground truth of another class), bad localisation (right
class, too little overlap) and duplicate (right class, enough overlap with ground truth that was
found before). It leaves open what a detection is that fits two of them or none. Here they are
tried in the order true positive, duplicate, wrong class, bad localisation, so that enough overlap
decides before too little; "right class" means that ground truth of the class stands on the frame
(for tubes: in the video); and what fits none is counted as background.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stad_eval.judgement import Judgement
from stad_eval.version import __version__

TYPES = ("true positive", "wrong class", "bad localisation", "duplicate", "background")


@dataclass(frozen=True, kw_only=True, eq=False)
class ErrorTypes:
    """Detections by type; the types exclude each other and add up to all detections.

    Attributes:
        protocol: id of the protocol.
        iou: the threshold; enough overlap is IoU >= iou.
        min_score: only detections of this score or more are counted; None: all.
        counts: detections by type.
        per_class: detections by class name and type.
        truths: ground truths by class name.
        version: version of stad-eval.
    """

    protocol: str
    iou: float
    min_score: float | None
    counts: dict[str, int]
    per_class: dict[str, dict[str, int]]
    truths: dict[str, int]
    version: str = __version__

    def table(self) -> str:
        """Aligned text: detections of every class by type, then of all and their shares."""
        width = max(len(name) for name in (*self.per_class, "class", "all", "share %"))
        title = f"{'class':<{width}}" + "".join(f"{each:>18}" for each in TYPES)
        rule = "-" * len(title)
        lines = [f"{self.protocol}, IoU {self.iou:g}: detections by type", rule, title, rule]
        for name, row in (*self.per_class.items(), ("all", self.counts)):
            if name == "all":
                lines.append(rule)
            lines.append(f"{name:<{width}}" + "".join(f"{row[each]:>18}" for each in TYPES))
        total = max(sum(self.counts.values()), 1)
        shares = "".join(f"{100.0 * self.counts[each] / total:>18.2f}" for each in TYPES)
        return "\n".join([*lines, f"{'share %':<{width}}{shares}"])

    def to_dict(self) -> dict[str, object]:
        """For JSON: protocol, iou, min_score, counts, per_class, truths, version."""
        return {
            "protocol": self.protocol,
            "iou": self.iou,
            "min_score": self.min_score,
            "counts": self.counts,
            "per_class": self.per_class,
            "truths": self.truths,
            "version": self.version,
        }


def error_types(judged: Judgement, *, min_score: float | None = None) -> ErrorTypes:
    """Count detections of score >= `min_score` (None: all) by type; none give zeros."""
    kind = np.select(
        [
            judged.correct,
            judged.duplicate,
            judged.wrong_class,
            judged.own_in_video if judged.tubes else judged.own_here,
        ],
        [np.int8(TYPES.index(each)) for each in ("true positive", "duplicate", *TYPES[1:3])],
        default=np.int8(TYPES.index("background")),
    )
    cell = judged.label.astype(np.int64) * len(TYPES) + kind
    if min_score is not None:
        cell = cell[judged.score >= min_score]
    shape = (len(judged.classes), len(TYPES))
    counts = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape)

    def named(row: NDArray[np.int64]) -> dict[str, int]:
        return dict(zip(TYPES, row.tolist(), strict=True))

    return ErrorTypes(
        protocol=judged.protocol,
        iou=judged.iou,
        min_score=min_score,
        counts=named(counts.sum(axis=0)),
        per_class={name: named(row) for name, row in zip(judged.classes, counts, strict=True)},
        truths=dict(zip(judged.classes, judged.truths.tolist(), strict=True)),
    )
