"""Boxes: shares for pixels, sizes for corners, another resolution, outside, tiny, other corners."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from stad_data.checks.all_boxes import AllBoxes
from stad_data.checks.problem import Example, Problem, problems

# Boxes may leave the frame by rounding.
_OUTSIDE = 1.0
_TINY = 2.0
# A pixel's corner is at most 1; no box of pixels is so small and so near the origin.
_SHARE = 1.5
# What a set must have before its extent tells anything.
_ENOUGH = 20
_ENOUGH_VIDEOS = 8
_TOUCHING = 2
_PART = 0.6
# Share of a video's boxes that has to leave the frame if all of them are read wrongly.
_MANY = 0.25


def check_boxes(table: AllBoxes, file_sizes: Mapping[str, tuple[int, int]]) -> list[Problem]:
    """All problems of boxes; each box is told of once, by the first that explains it.

    Args:
        table: The boxes.
        file_sizes: (width, height) of the videos' files, where they were opened.
    """
    shares = _in_shares(table)
    rest = table.select(~shares)
    over = _outside(rest)
    return [
        *normalised(table, shares),
        *_leaving(rest, over, file_sizes),
        *tiny(rest.select(~over)),
        *unused_frame(rest),
        *corner_convention(rest),
    ]


def _in_shares(table: AllBoxes) -> NDArray[np.bool_]:
    """[M] boxes of videos in which no box reaches beyond the first pixels."""
    reach_V = np.zeros(len(table.videos))
    np.maximum.at(reach_V, table.video, np.abs(table.box).max(axis=1, initial=0.0))
    return reach_V[table.video] <= _SHARE


def normalised(table: AllBoxes, shares: NDArray[np.bool_]) -> list[Problem]:
    """Boxes that are shares of the frame where pixels are meant."""
    return problems(
        "normalised-boxes",
        "error",
        "boxes look like shares of the frame, not like pixels",
        table.examples(shares),
        "multiply them by the frame's width and height",
        count=int(shares.sum()),
    )


def _outside(table: AllBoxes) -> NDArray[np.bool_]:
    low, high = table.box[:, :2], table.box[:, 2:]
    return np.logical_or.reduce((low < -_OUTSIDE) | (high > table.side() + _OUTSIDE), axis=1)


def _leaving(
    table: AllBoxes, over: NDArray[np.bool_], file_sizes: Mapping[str, tuple[int, int]]
) -> list[Problem]:
    """Boxes that leave the frame, by what would explain it."""
    concerned_V = np.zeros(len(table.videos), np.bool_)
    concerned_V[table.video[over]] = True
    other = over & _fit_the_file(table, file_sizes)[table.video]
    rest = over & ~other
    all_of = table.select(concerned_V[table.video])
    added = bool(rest.any()) and rest.sum() >= _MANY * len(all_of) and _corners_within(all_of)
    return [
        *other_resolution(table, other, file_sizes),
        *(corners_as_sizes(table, rest) if added else outside(table, rest)),
    ]


def _fit_the_file(table: AllBoxes, file_sizes: Mapping[str, tuple[int, int]]) -> NDArray[np.bool_]:
    """[V] videos whose boxes all fit the frames of a larger file."""
    reach_V2 = np.zeros((len(table.videos), 2))
    np.maximum.at(reach_V2, table.video, table.box[:, 2:])
    files_V2 = np.array([file_sizes.get(a.video, (0, 0)) for a in table.videos]).reshape(-1, 2)
    fits_V2 = (reach_V2 <= files_V2 + _OUTSIDE) & (files_V2 >= table.size)
    return np.logical_and.reduce(fits_V2, axis=1)


def _corners_within(table: AllBoxes) -> bool:
    """Whether widths and heights, taken for the second corner, make boxes inside the frame."""
    corner = table.box[:, 2:] - table.box[:, :2]
    inside = (corner > table.box[:, :2]) & (corner <= table.side() + _OUTSIDE)
    return bool(inside.all())


def other_resolution(
    table: AllBoxes, rows: NDArray[np.bool_], file_sizes: Mapping[str, tuple[int, int]]
) -> list[Problem]:
    """Boxes that leave the annotated frame and fit the file's larger one."""
    sizes = {"{}x{}".format(*file_sizes[table.videos[n].video]) for n in set(table.video[rows])}
    return problems(
        "other-resolution",
        "error",
        f"boxes leave the annotated frame and fit the files' ({', '.join(sorted(sizes)[:3])})",
        table.examples(rows),
        "give the size of the frame that the boxes were drawn on",
        count=int(rows.sum()),
    )


def corners_as_sizes(table: AllBoxes, rows: NDArray[np.bool_]) -> list[Problem]:
    """Boxes whose second corner was taken for width and height."""
    return problems(
        "corners-as-sizes",
        "error",
        "boxes leave the frame, and would fit if their width and height were the second corner",
        table.examples(rows),
        "the file holds x1, y1, x2, y2 where x, y, width, height are read: convert it",
        count=int(rows.sum()),
    )


def outside(table: AllBoxes, rows: NDArray[np.bool_]) -> list[Problem]:
    """Boxes that leave the frame for no reason that shows."""
    return problems(
        "box-outside",
        "error",
        f"boxes leave their frame by more than {_OUTSIDE:g} pixel",
        table.examples(rows),
        "look at them (stad data show); is it another scale, or another order of the numbers?",
        count=int(rows.sum()),
    )


def tiny(table: AllBoxes) -> list[Problem]:
    """Boxes of which no actor can be seen."""
    small = np.logical_or.reduce(table.box[:, 2:] - table.box[:, :2] < _TINY, axis=1)
    return problems(
        "tiny-box",
        "warning",
        f"boxes are narrower or lower than {_TINY:g} pixels",
        table.examples(small),
        "look at them (stad data show) and take them out if they hold no one",
        count=int(small.sum()),
    )


def unused_frame(table: AllBoxes) -> list[Problem]:
    """A whole set whose boxes stay in the upper left of its frames: drawn on smaller ones?"""
    if len(table) < _ENOUGH or len(np.unique(table.video)) < _ENOUGH_VIDEOS:
        return []
    reach = (table.box[:, 2:] / table.side()).max(axis=0)
    low = (table.box[:, :2] / table.side()).min(axis=0)
    if (reach >= _PART).any() or (low >= 1 - reach).any():
        return []
    width, height = (f"{100 * share:.0f}" for share in reach)
    note = f"none reaches beyond {width} % of the width or {height} % of the height"
    return problems(
        "smaller-resolution",
        "warning",
        "boxes, all that there are, lie in the upper left of their frames",
        [Example(found=note)],
        "were they drawn on smaller frames? Give the size of those",
        count=len(table),
    )


def corner_convention(table: AllBoxes) -> list[Problem]:
    """Whole pixels that begin at 1, or never reach the right and lower border."""
    if len(table) < _ENOUGH or (table.box != np.round(table.box)).any():
        return []
    low, gap = table.box[:, :2], table.side() - table.box[:, 2:]
    for first, last, name, what in (
        (1, 0, "one-based", "begin at 1 and end at the frame's width and height"),
        (0, 1, "inclusive", "begin at 0 and end one pixel before the frame's width and height"),
    ):
        exact = (low.min(axis=0) == first).all() and (gap.min(axis=0) == last).all()
        touching = min((low == first).sum(axis=0).min(), (gap == last).sum(axis=0).min())
        if exact and touching >= _TOUCHING:
            note = f"{touching} or more boxes at each border do; none goes beyond"
            return problems(
                f"{name}-corners",
                "warning",
                f"boxes {what}: corners that name the first and last pixel?",
                [Example(found=note)],
                "boxes are half-open from 0: x2, y2 are one past the last pixel; for ACT's pickle"
                f" read it with --corners {name}",
                count=len(table),
            )
    return []
