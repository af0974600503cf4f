"""From J and F of pairs on frames to the scores of a video's objects: which count, paired how."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stad_eval.input_error import InputError
from stad_eval.mask_protocols import VOID, MaskProtocol
from stad_eval.mask_result import ObjectScores, mean, statistics
from stad_eval.masks import FrameMeasures


@dataclass(frozen=True, kw_only=True)
class MaskVideo:
    """What is scored of one video; `frames` are names, the first one shows which objects count."""

    name: str
    frames: tuple[str, ...]
    scored: tuple[str, ...]
    classes: Mapping[int, str] | None


def planned(
    name: str,
    frames: tuple[str, ...],
    classes: Mapping[int, str] | None,
    options: MaskProtocol,
) -> MaskVideo:
    """What the protocol scores of a video with these `frames`.

    Raises:
        InputError: if the protocol needs classes and there are none.
    """
    if options.seen_classes is not None and classes is None:
        raise InputError(
            f"protocol '{options.name}' needs the class of every object",
            expected="classes by video and object index",
            found="none",
            remedy="Read them with read_youtube_vos_classes('meta.json').",
        )
    scored = {"inner": frames[1:-1], "all": frames, "after-first": frames[1:]}[options.frames]
    return MaskVideo(name=name, frames=frames, scored=scored, classes=classes)


def scored_objects(
    plan: MaskVideo,
    first: NDArray[np.uint8],
    measures: Sequence[FrameMeasures],
    options: MaskProtocol,
) -> tuple[list[ObjectScores], int]:
    """The objects of one video with their scores, and how many found ones belong to none."""
    starts = _objects(first, measures, options)
    if options.pairing == "best":
        return _assigned(plan, list(starts), measures, options), 0
    unknown = _unknown(plan, starts, measures, options)
    objects = [
        _object(plan, index, options, [(each, index, index) for each in measures[start:]])
        for index, start in starts.items()
    ]
    return objects, unknown


def _objects(
    first: NDArray[np.uint8], measures: Sequence[FrameMeasures], options: MaskProtocol
) -> dict[int, int]:
    """Indices of the objects that count, each with the first of the measured frames it is due."""
    present = np.flatnonzero(np.bincount(first.ravel(), minlength=256)[:VOID])
    starts = {index: 0 for index in present.tolist() if index}
    if options.numbering == "greatest":
        starts = dict.fromkeys(range(1, max(starts, default=0) + 1), 0)
    if options.objects == "any-frame":
        for at, each in enumerate(measures):
            for index in sorted(each.truth - starts.keys()):
                starts[index] = at + 1 if options.frames == "after-first" else 0
    return starts


def _unknown(
    plan: MaskVideo,
    objects: Mapping[int, int],
    measures: Sequence[FrameMeasures],
    options: MaskProtocol,
) -> int:
    strangers: set[int] = set()
    for frame, each in zip(plan.scored, measures, strict=True):
        here = each.found - objects.keys()
        if here and options.unknown == "refused":
            raise InputError(
                f"video '{plan.name}', frame '{frame}': found objects that the video has not",
                expected=f"0 (background) or one of {sorted(objects)}",
                found=sorted(here),
                remedy="Results keep the indices of the first frame's objects; 255 means nothing.",
            )
        strangers |= here
    return len(strangers)


def _assigned(
    plan: MaskVideo,
    objects: Sequence[int],
    measures: Sequence[FrameMeasures],
    options: MaskProtocol,
) -> list[ObjectScores]:
    """Every true object with the found one that the best assignment gives it."""
    seen = sorted(set[int]().union(*(each.found for each in measures)))
    if options.numbering == "greatest":
        seen = list(range(1, max(seen, default=0) + 1))
    if options.most_found is not None and len(seen) > options.most_found:
        raise InputError(
            f"video '{plan.name}': too many objects found",
            expected=f"at most {options.most_found}",
            found=len(seen),
            remedy="Keep the best ones, numbered from 1.",
        )
    # Here and not above: scipy takes longer to import than all of the package.
    from scipy.optimize import linear_sum_assignment

    # Indices past 255 stand for nothing found: no mask holds them.
    nothing = range(VOID + 1, VOID + 1 + max(0, len(objects) - len(seen)))
    found = [*seen, *nothing]
    gain = np.zeros((len(found), len(objects)))
    for row, other in enumerate(found):
        for column, index in enumerate(objects):
            region = mean(each.region(index, other) for each in measures)
            boundary = mean(each.boundary(index, other) for each in measures)
            gain[row, column] = (region + boundary) / 2.0
    rows, columns = (each.tolist() for each in linear_sum_assignment(-gain))
    result: list[ObjectScores] = []
    for place, (row, column) in enumerate(zip(rows, columns, strict=True)):
        index = objects[column]
        pairs = [(each, index, found[row]) for each in measures]
        scores = _object(plan, index, options, pairs)
        result.append(replace(scores, index=place + 1) if options.listing == "found" else scores)
    return result


def _object(
    plan: MaskVideo,
    index: int,
    options: MaskProtocol,
    pairs: Sequence[tuple[FrameMeasures, int, int]],
) -> ObjectScores:
    """Scores of one true object, from (frame, true index, found index) of every frame it is due."""
    label = None
    if plan.classes is not None:
        label = plan.classes.get(index)
        if label is None and options.seen_classes is not None:
            raise InputError(
                f"video '{plan.name}': object {index} has no class",
                expected=f"a class for each object; there are some for {sorted(plan.classes)}",
                remedy="Take ground truth and meta.json from the same release.",
            )
    return ObjectScores(
        video=plan.name,
        index=index,
        label=label,
        frames=len(pairs),
        region=statistics([each.region(one, two) for each, one, two in pairs], options),
        boundary=statistics([each.boundary(one, two) for each, one, two in pairs], options),
    )
