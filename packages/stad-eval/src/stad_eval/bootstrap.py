"""How sure a mean average precision is: intervals and comparisons by resampling videos.

Boxes of one video are alike, so that videos, not boxes, are drawn anew (with replacement). Nothing
is matched again: which detections are right does not depend on other videos, so that each draw only
counts every video's detections and ground truths as often as the video was drawn. A detection that
is drawn k times is one step of k on the curve; equal scores are one point. A class that has no
ground truth in a draw is left out of that draw's mean.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap", Sec. 13.3 (percentile interval).
Suffix legend: B = draws, V = videos, P = points of a curve (scores of true positives).
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stad_eval.evidence import Evidence
from stad_eval.input_error import InputError
from stad_eval.tables import indices_of
from stad_eval.version import __version__

if TYPE_CHECKING:
    from scipy.sparse import csr_array

SAMPLES = 1000
LEVEL = 0.95
# Draws are made in blocks, so that points times draws stay within some megabytes.
BLOCK = 1 << 22


@dataclass(frozen=True, kw_only=True, eq=False)
class Interval:
    """A mean average precision with its uncertainty; fractions.

    Attributes:
        mean: of all videos, as they are; NaN without ground truth.
        low: lower end of the interval.
        high: upper end of the interval.
        level: share of the draws between them.
        error: standard deviation of the draws.
        videos: how many were drawn from.
        draws: float64 [B], the mean of every draw.
        version: version of stad-eval.
    """

    mean: float
    low: float
    high: float
    level: float
    error: float
    videos: int
    draws: NDArray[np.float64]
    version: str = __version__


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """Two detectors on the same videos; fractions.

    Attributes:
        first, second: either with its interval.
        difference: the second's mean less the first's, with the interval of that difference over
            the same draws of videos for both.
        share: twice the share of draws in which the difference is zero or of the other sign, at
            most 1; small where one detector is better whatever videos are drawn. It reads like a
            p-value of "they are equally good".
    """

    first: Interval
    second: Interval
    difference: Interval
    share: float


def bootstrap_interval(
    evidence: Evidence, *, samples: int = SAMPLES, seed: int = 0, level: float = LEVEL
) -> Interval:
    """The interval of a mean average precision; the same seed gives the same draws.

    Raises:
        InputError: if there are fewer than two videos or draws, or the level is not in (0, 1).
    """
    _check(evidence, samples, level)
    counts_BV = _draws(len(evidence.videos), samples, seed)
    return _interval(evidence, _means(evidence, counts_BV), evidence.mean, level)


def compare(
    first: Evidence,
    second: Evidence,
    *,
    samples: int = SAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> Comparison:
    """Compare two detectors on the same ground truth, each draw of videos for both.

    Raises:
        InputError: if their ground truth differs; as `bootstrap_interval`.
    """
    names = tuple(dict.fromkeys((*first.videos, *second.videos)))
    sides = [_on_videos(each, names) for each in (first, second)]
    if first.classes != second.classes or (sides[0].truths != sides[1].truths).any():
        raise InputError(
            "the two sides were scored on different ground truth",
            expected="the same videos, classes and boxes of the ground truth",
            found=f"{int(first.truths.sum())} and {int(second.truths.sum())} ground truths",
        )
    _check(sides[0], samples, level)
    counts_BV = _draws(len(names), samples, seed)
    one, other = (_means(each, counts_BV) for each in sides)
    change = other - one
    gain = second.mean - first.mean
    against = [float(np.mean(change <= 0.0)), float(np.mean(change >= 0.0))]
    return Comparison(
        first=_interval(sides[0], one, first.mean, level),
        second=_interval(sides[1], other, second.mean, level),
        difference=_interval(sides[0], change, gain, level),
        share=min(1.0, 2.0 * min(against)),
    )


def video_means(evidence: Evidence) -> NDArray[np.float64]:
    """The mean average precision of every video on its own [V], over the classes that it has.

    NaN for a video without ground truth.
    """
    alone = replace(evidence, without_truth="none")
    return _means(alone, np.eye(len(evidence.videos)))


def _check(evidence: Evidence, samples: int, level: float) -> None:
    if samples < 2:
        raise InputError("too few draws", expected="2 or more", found=samples)
    if not 0.0 < level < 1.0:
        raise InputError("bad level", expected="0 < level < 1", found=level)
    if len(evidence.videos) < 2:
        raise InputError(
            "too few videos to draw from", expected="2 or more", found=len(evidence.videos)
        )


def _draws(videos: int, samples: int, seed: int) -> NDArray[np.float64]:
    """How often each video is in each draw [B, V]."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(videos, np.full(videos, 1.0 / videos), samples).astype(np.float64)


def _interval(
    evidence: Evidence, draws: NDArray[np.float64], mean: float, level: float
) -> Interval:
    defined = draws[np.isfinite(draws)]
    tail = (1.0 - level) / 2.0
    ends = np.quantile(defined, [tail, 1.0 - tail]) if defined.size else np.full(2, np.nan)
    return Interval(
        mean=mean,
        low=float(ends[0]),
        high=float(ends[1]),
        level=level,
        error=float(defined.std()) if defined.size else float("nan"),
        videos=len(evidence.videos),
        draws=draws,
    )


def _means(evidence: Evidence, counts_BV: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean average precision of every draw [B]; NaN where no class has ground truth."""
    total = np.zeros(len(counts_BV))
    classes = np.zeros(len(counts_BV))
    order = np.argsort(evidence.label, kind="stable")
    edges = np.searchsorted(evidence.label[order], np.arange(len(evidence.classes) + 1))
    for label in range(len(evidence.classes)):
        truths_B = counts_BV @ evidence.truths[:, label].astype(np.float64)
        there = truths_B > 0.0
        rows = order[edges[label] : edges[label + 1]]
        total += np.where(there, _areas(evidence, rows, counts_BV, np.maximum(truths_B, 1.0)), 0.0)
        classes += there if evidence.without_truth == "none" else 1.0
    return np.divide(total, classes, out=np.full(total.size, np.nan), where=classes > 0.0)


def _areas(
    evidence: Evidence,
    rows: NDArray[np.intp],
    counts_BV: NDArray[np.float64],
    truths_B: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Average precision of one class in every draw [B].

    Recall rises at the scores of true positives only, and precision is greatest there, so that the
    curve is needed at these scores alone, whatever the number of false positives.
    """
    score, correct, video = evidence.score[rows], evidence.correct[rows], evidence.video[rows]
    points = np.unique(score[correct])[::-1]
    if not points.size:
        return np.zeros(len(counts_BV))
    # The first point whose score is not above a row's; rows below all points never count.
    place = np.searchsorted(-points, -score)
    inside = place < points.size
    videos = counts_BV.shape[1]
    all_PV, hits_PV = (
        _histogram(place[keep], video[keep], (points.size, videos))
        for keep in (inside, inside & correct)
    )
    block = max(1, BLOCK // points.size)
    parts = [
        _block_areas(all_PV, hits_PV, counts_BV[at : at + block].T, evidence.average)
        for at in range(0, len(counts_BV), block)
    ]
    return np.concatenate(parts) / truths_B


def _histogram(
    point: NDArray[np.intp], video: NDArray[np.int64], shape: tuple[int, int]
) -> "csr_array":
    """Rows by point and video, a sparse matrix: most videos have nothing at a point."""
    # Here and not above: scipy takes longer to import than all of the package.
    from scipy.sparse import csr_array

    return csr_array((np.ones(point.size), (point, video)), shape=shape)


def _block_areas(
    all_PV: "csr_array",
    hits_PV: "csr_array",
    counts_VB: NDArray[np.float64],
    average: str,
) -> NDArray[np.float64]:
    step_PB = hits_PV @ counts_VB
    rank_PB = np.cumsum(all_PV @ counts_VB, axis=0)
    hits_PB = np.cumsum(step_PB, axis=0)
    precision_PB = np.divide(hits_PB, rank_PB, out=np.zeros_like(hits_PB), where=rank_PB > 0.0)
    if average == "trapezoid":
        # The curve before a step: what stands above it, its own true positives left out.
        hits_before, rank_before = hits_PB - step_PB, rank_PB - step_PB
        before = np.divide(
            hits_before, rank_before, out=np.ones_like(hits_PB), where=rank_before > 0.0
        )
        return np.sum(step_PB * (precision_PB + before) * 0.5, axis=0)
    envelope = np.maximum.accumulate(precision_PB[::-1], axis=0)[::-1]
    return np.sum(step_PB * envelope, axis=0)


def _on_videos(evidence: Evidence, names: tuple[str, ...]) -> Evidence:
    """The same evidence, its videos numbered by `names`, which hold all of them."""
    place = indices_of(evidence.videos, {name: at for at, name in enumerate(names)})
    truths = np.zeros((len(names), len(evidence.classes)), dtype=np.int64)
    truths[place] = evidence.truths
    video = place[evidence.video] if evidence.video.size else evidence.video
    return replace(evidence, videos=names, video=video, truths=truths)
