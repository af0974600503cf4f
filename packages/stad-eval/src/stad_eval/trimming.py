"""Cutting tubes in time: which frames of a tube show its action.

A tube that follows a person through an untrimmed video holds frames before and after the action.
Each frame is labelled action or background so that the sum of its scores, less a penalty for every
change of label, is greatest; what is labelled action becomes tubes of their own. Source: Saha et
al., "Deep Learning for Detecting Multiple Space-Time Action Tubes in Videos", Sec. 3.4; Singh et
al., "Online Real-time Multiple Spatiotemporal Action Localisation and Prediction".
Suffix legend: M = rows of a table, T = tubes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stad_eval.input_error import InputError
from stad_eval.ranking import place_in_group
from stad_eval.tables import Boxes


@dataclass(frozen=True, kw_only=True)
class Trimming:
    """How tubes are cut in time.

    Attributes:
        penalty: what a change between action and background costs (the papers' alpha), by class
            name or one number for all; a frame of score 0 is worth 1 as background, so that
            starting and ending at 3 has to save as much as six of those cost as action.
        level: the score of a frame that may as well be action as background; 0.5 (the papers', for
            probabilities of an action against all else). A frame is worth `score / level - 1` more
            as action than as background.
        window: scores are first averaged over so many frames around each one, an odd number;
            1: as they are.

    Raises:
        InputError: if an option is out of range.
    """

    penalty: float | Mapping[str, float] = 3.0
    level: float = 0.5
    window: int = 1

    def __post_init__(self) -> None:
        values = self.penalty.values() if isinstance(self.penalty, Mapping) else [self.penalty]
        for value in values:
            if not 0.0 <= value < np.inf:
                raise InputError("bad penalty", expected="a number, 0 or more", found=value)
        if not 0.0 < self.level < 1.0:
            raise InputError(
                "bad level", expected="a score between 0 and 1, neither of them", found=self.level
            )
        if self.window < 1 or self.window % 2 == 0:
            raise InputError("bad window", expected="an odd number, 1 or more", found=self.window)

    def of_classes(self, classes: tuple[str, ...]) -> NDArray[np.float64]:
        """The penalty of every class, [C].

        Raises:
            InputError: naming a class that has none.
        """
        if not isinstance(self.penalty, Mapping):
            return np.full(len(classes), float(self.penalty))
        lacking = [name for name in classes if name not in self.penalty]
        if lacking:
            raise InputError(
                "no penalty for every class", expected=", ".join(classes), found=lacking
            )
        return np.array([self.penalty[name] for name in classes], dtype=np.float64)


def trim_rows(
    found: Boxes, tube_of: NDArray[np.int64], options: Trimming | None = None
) -> NDArray[np.int64]:
    """New tube numbers [M]: every run of action frames of a tube is one, -1 for background.

    `tube_of` [M] are the numbers that a linker gave, -1 for rows in no tube. Numbers follow those
    of the tubes, then time. A tube's frames are taken as they come, gaps count as nothing. Where
    action and background are worth the same, a frame is action. No rows give no numbers.

    Raises:
        InputError: if a linked row's score is not in [0, 1], on columns of different length, or a
            class without a penalty.
    """
    options = options or Trimming()
    if tube_of.shape != (len(found),):
        raise InputError(
            "tube numbers of a wrong shape", expected=(len(found),), found=tube_of.shape
        )
    result = np.full(tube_of.size, -1, dtype=np.int64)
    penalty = options.of_classes(found.classes)
    rows = np.flatnonzero(tube_of >= 0)
    rows = rows[np.lexsort((found.frame[rows], tube_of[rows]))]
    if not rows.size:
        return result
    score = found.score[rows]
    if score.min() < 0.0 or score.max() > 1.0:
        raise InputError(
            "scores cannot be compared with the background's",
            expected="scores in [0, 1]",
            found=float(score.min() if score.min() < 0.0 else score.max()),
        )
    tube = tube_of[rows]
    gain = _averaged(score, tube, options.window) / options.level - 1.0
    action = _best_labels(gain, tube, penalty[found.label[rows]])
    starts = action & np.append(True, (np.diff(tube) != 0) | ~action[:-1])
    result[rows[action]] = np.cumsum(starts)[action] - 1
    return result


def _averaged(
    score: NDArray[np.float64], tube: NDArray[np.int64], window: int
) -> NDArray[np.float64]:
    """Mean over the frames of the same tube within half a window on either side."""
    if window == 1:
        return score
    place = place_in_group(tube)
    last = (np.append(np.flatnonzero(np.diff(tube)), tube.size - 1))[_dense(tube)]
    at, half = np.arange(tube.size), window // 2
    low, high = at - np.minimum(place, half), np.minimum(at + half, last) + 1
    # Sums of at most `window` terms, added in the same order for every tube, so that a tube's
    # result does not depend on the tubes before it.
    total = np.zeros(tube.size)
    for step in range(window):
        inside = np.flatnonzero(low + step < high)
        total[inside] += score[low[inside] + step]
    return total / (high - low)


def _dense(tube: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.cumsum(np.append(False, np.diff(tube) != 0))


def _best_labels(
    gain: NDArray[np.float64], tube: NDArray[np.int64], penalty: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which frames are action; rows sorted by tube and time, all tubes together frame by frame.

    `gain` is what a frame is worth as action over background. `lead` is the best sum that ends in
    action less the best that ends in background: a change of label pays where it exceeds the
    penalty, so that it is all that has to be kept.
    """
    place = place_in_group(tube)
    by_place = np.argsort(place, kind="stable")
    levels = np.split(by_place, np.flatnonzero(np.diff(place[by_place])) + 1)
    lead = np.empty(gain.size)
    for depth, rows in enumerate(levels):
        before = 0.0 if depth == 0 else np.clip(lead[rows - 1], -penalty[rows], penalty[rows])
        lead[rows] = gain[rows] + before
    action = np.empty(gain.size, dtype=np.bool_)
    ends = np.append(np.diff(tube) != 0, True)
    for rows in reversed(levels):
        inner = rows[~ends[rows]]
        action[rows[ends[rows]]] = lead[rows[ends[rows]]] >= 0.0
        # Going back, the label changes only where the lead of the other label exceeds the penalty.
        after = action[inner + 1]
        action[inner] = np.where(
            after, lead[inner] >= -penalty[inner], lead[inner] >= penalty[inner]
        )
    return action
