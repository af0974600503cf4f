"""Linking per-frame boxes into tubes, online and greedily or by the best path."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stad_eval.greedy_linking import GreedyLinker, TubeletLinker, check_at_least, link_by_frame
from stad_eval.input_error import InputError
from stad_eval.tables import Boxes
from stad_eval.tube_rows import streams_of, tubes_of_rows
from stad_eval.tubes import Tube
from stad_eval.viterbi import ViterbiLinking, viterbi_rows

__all__ = ["GreedyLinker", "Linker", "link", "link_rows"]

Linker = Literal["act", "viterbi"]


def link_rows(
    found: Boxes,
    *,
    linker: Linker = "act",
    min_iou: float | None = None,
    max_gap: int = 5,
    stride: int = 1,
    max_boxes: int | None = 10,
) -> NDArray[np.int64]:
    """The tube number of every row, int64 [N], numbered over the whole table; -1 if not linked.

    Each video and label is linked on its own. For persons of any action, give a table with one
    class (as the `actors` of a detection file). No row is used twice, and the order of rows does
    not matter.

    Args:
        found: boxes with scores.
        linker: "act": online and greedy (`GreedyLinker`); "viterbi": the best path through the
            video, taken out and searched anew (`viterbi_rows`, which has more options).
        min_iou: overlap that a box needs with a tube's last box; None: 0.2 for "act", and any
            overlap (the paper's) for "viterbi".
        max_gap: a tube may miss so many frames in a row.
        stride: step between the frames that were looked at, so that gaps are counted in steps.
        max_boxes: only so many of the best boxes of a frame are linked; None: all.

    Raises:
        InputError: if the linker is unknown or an option is out of range.
    """
    if linker == "viterbi":
        options = ViterbiLinking(
            min_iou=0.0 if min_iou is None else min_iou,
            max_gap=max_gap,
            stride=stride,
            max_boxes=max_boxes,
        )
        return viterbi_rows(found, options)
    if linker != "act":
        raise InputError("unknown linker", expected="'act' or 'viterbi'", found=linker)
    check_at_least(0, "max_gap", max_gap)
    check_at_least(1, "stride", stride)
    check_at_least(1, "max_boxes", max_boxes)
    greedy = TubeletLinker(
        length=1,
        min_iou=0.2 if min_iou is None else min_iou,
        max_offset=(max_gap + 1) * stride,
        max_tubelets=max_boxes,
    )
    stream = streams_of(found.video, found.label, len(found.classes))
    return link_by_frame(greedy, found.frame, found.box[:, None, :], found.score, stream)


def link(
    found: Boxes,
    *,
    linker: Linker = "act",
    min_iou: float | None = None,
    max_gap: int = 5,
    stride: int = 1,
    max_boxes: int | None = 10,
    min_length: int = 1,
    interpolate: bool = True,
) -> list[Tube]:
    """Tubes of every video and label, by video, label and descending score.

    A tube's score is the mean of its boxes' scores. Tubes of fewer than `min_length` linked boxes
    are left out. With `interpolate`, frames that a tube skipped are filled linearly, in steps of
    `stride`. No rows give no tubes. Other options as in `link_rows`; to cut tubes in time, go
    through `link_rows`, `trim_rows` and `tubes_of_rows`.

    Raises:
        InputError: if the linker is unknown or an option is out of range.
    """
    check_at_least(1, "min_length", min_length)
    tube_of = link_rows(
        found,
        linker=linker,
        min_iou=min_iou,
        max_gap=max_gap,
        stride=stride,
        max_boxes=max_boxes,
    )
    return tubes_of_rows(
        found, tube_of, min_length=min_length, stride=stride if interpolate else None
    )
