"""Frame-mAP in parts: score subsets of the videos, put the parts together, get exactly the whole.

A part keeps of every detection its score and whether it is right, nothing else, and is saved as
npz without pickles. Parts of a strict protocol make the same number as all videos at once, to the
last bit. Under a protocol that depends on the order of rows, the whole is that of the parts'
rows, one part after the other.
"""

import tempfile
from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stad_eval.frame_parts import FramePartial, check_alike
from stad_eval.frame_result import FrameResult, result_of
from stad_eval.frame_rows import NO_FRAMES, Scored, scored_rows
from stad_eval.input_error import InputError
from stad_eval.matching import Side, assign, candidates
from stad_eval.precision import PrecisionRecall, precision_recall, score_order
from stad_eval.protocols import FrameProtocol, frame_protocol
from stad_eval.row_order import Rows, heap_places
from stad_eval.score_tally import ScoreTally
from stad_eval.tables import Boxes, check_truth


def frame_partial(
    truth: Boxes,
    found: Boxes,
    protocol: str | FrameProtocol,
    *,
    ious: Sequence[float] = (0.5,),
    exclude: Collection[tuple[str, int]] = NO_FRAMES,
) -> FramePartial:
    """Score some videos, for `combine`; arguments as of `frame_map`, the overlaps found once.

    Raises:
        InputError: as `frame_map`.
    """
    options = frame_protocol(protocol) if isinstance(protocol, str) else protocol
    for iou in ious:
        if not 0.0 < iou <= 1.0:
            raise InputError("bad IoU threshold", expected="0 < iou <= 1", found=iou)
    if not ious:
        raise InputError("no IoU threshold", expected="one or more", found="none")
    check_truth(truth)
    scored = scored_rows(truth, found, options, exclude)
    label = scored.found.label.astype(np.min_scalar_type(len(scored.classes)))
    order = np.argsort(label, kind="stable")
    start = np.searchsorted(label[order], np.arange(len(scored.classes) + 1))
    score = scored.found.score[order]
    ranking = np.empty(score.size)
    ranking[order] = match_scores(score, order, start, options)
    return FramePartial(
        protocol=options,
        ious=tuple(float(iou) for iou in ious),
        classes=scored.classes,
        videos=_videos(truth, found),
        truths=scored.truths,
        start=start.astype(np.int64),
        score=score,
        correct=_correct(scored, ranking, options, ious)[:, order],
        counts=scored.counts,
    )


def combine(parts: Iterable[FramePartial]) -> dict[float, FrameResult]:
    """The result of all parts at every threshold; the parts' videos must differ.

    Raises:
        InputError: if there is no part, or they differ in protocol, thresholds or classes, or have
            a video in common.
    """
    whole = list(parts)
    check_alike(whole)
    first = whole[0]
    truths = np.sum([part.truths for part in whole], axis=0)
    results: dict[float, FrameResult] = {}
    for at, iou in enumerate(first.ious):
        curves: dict[str, PrecisionRecall] = {}
        for place, name in enumerate(first.classes):
            rows = [slice(part.start[place], part.start[place + 1]) for part in whole]
            curves[name] = precision_recall(
                np.concatenate([part.score[row] for part, row in zip(whole, rows, strict=True)]),
                np.concatenate(
                    [part.correct[at, row] for part, row in zip(whole, rows, strict=True)]
                ),
                int(truths[place]),
                ties=first.protocol.ties,
            )
        counts = _summed(whole) | {
            "true_positives": int(sum(part.correct[at].sum() for part in whole))
        }
        results[iou] = result_of(curves, counts, first.protocol, iou)
    return results


def frame_map_streamed(
    shards: Iterable[tuple[Boxes, Boxes]],
    protocol: str | FrameProtocol,
    *,
    ious: Sequence[float] = (0.5,),
    exclude: Collection[tuple[str, int]] = NO_FRAMES,
    folder: str | Path | None = None,
) -> dict[float, FrameResult]:
    """Frame-mAP of shards (truth, detections) that come one at a time, in bounded memory.

    Each shard holds videos of its own. Memory holds one shard and the scores of true positives;
    the scores of all detections lie in `folder`, by default a temporary one, 9 bytes each. The
    numbers are those of `frame_map`; the curves lack points at which nothing is found.

    Raises:
        InputError: as `frame_map` and `combine`; if the protocol depends on the order of rows.
    """
    with tempfile.TemporaryDirectory(dir=folder) as place:
        paths: list[Path] = []
        for at, (truth, found) in enumerate(shards):
            paths.append(Path(place) / f"{at:08d}.npz")
            part = frame_partial(truth, found, protocol, ious=ious, exclude=exclude)
            with paths[-1].open("wb") as stream:
                part.write(stream)
        return combine_files(paths)


def combine_files(paths: Sequence[str | Path]) -> dict[float, FrameResult]:
    """As `combine`, of parts that were saved, one at a time in memory, each read twice.

    The numbers are the same to the last bit; the curves lack points at which nothing is found.

    Raises:
        InputError: as `combine`, or if a file is no part; if the protocol depends on the order of
            rows.
    """
    # The first reading finds where curves rise: at the scores of true positives, which are few.
    heads: list[FramePartial] = []
    hits: list[list[NDArray[np.float64]]] = []
    for path in paths:
        part = FramePartial.load(path)
        if part.protocol.ties != "grouped":
            raise InputError(
                f"protocol '{part.protocol.name}' depends on the order of all rows",
                path=path,
                expected="a protocol with ties 'grouped'",
                remedy="Load the parts and use `combine`, which holds all scores in memory.",
            )
        hits.append(_hit_scores(part))
        heads.append(part.without_rows())
    check_alike(heads)
    first = heads[0]
    points = [np.unique(np.concatenate(each)) for each in zip(*hits, strict=True)]
    tally = [ScoreTally(each, len(first.ious)) for each in points]
    for path in paths:
        part = FramePartial.load(path)
        for place, each in enumerate(tally):
            rows = slice(int(part.start[place]), int(part.start[place + 1]))
            each.add(part.score[rows].astype(np.float64), part.correct[:, rows])
    truths = np.sum([part.truths for part in heads], axis=0)
    results: dict[float, FrameResult] = {}
    for at, iou in enumerate(first.ious):
        curves = {
            name: each.curve(at, int(total))
            for name, each, total in zip(first.classes, tally, truths, strict=True)
        }
        right = sum(int(each.hits[at].sum()) for each in tally)
        counts = _summed(heads) | {"true_positives": right}
        results[iou] = result_of(curves, counts, first.protocol, iou)
    return results


def _correct(
    scored: Scored,
    ranking: NDArray[np.floating],
    options: FrameProtocol,
    ious: Sequence[float],
) -> NDArray[np.bool_]:
    """Which detections are true positives at every threshold, bool [T, N]."""
    size = len(scored.classes)
    found, truth = (
        Side(cell=rows.frame * size + rows.label, box=rows.box)
        for rows in (scored.found, scored.truth)
    )
    pairs = candidates(
        found,
        truth,
        least=min(ious),
        rule=options.matching,
        convention=options.convention,
        truth_key=lambda rows: truth_key(scored.truth, rows, options),
    )
    correct = np.zeros((len(ious), len(scored.found)), dtype=np.bool_)
    for at, iou in enumerate(ious):
        taken = assign(
            pairs,
            iou=iou,
            rule=options.matching,
            score=ranking,
            found=found,
            truths=len(scored.truth),
        )
        correct[at] = taken >= 0
    return correct


def match_scores(
    score: NDArray[np.floating],
    order: NDArray[np.intp],
    start: NDArray[np.int64] | NDArray[np.intp],
    options: FrameProtocol,
) -> NDArray[np.floating]:
    """What decides who matches first, the higher the earlier, [N].

    `score` [N] stands by class, class c from start[c] to start[c + 1]; `order` [N] are its rows.
    """
    if options.match_order == "row":
        return -order.astype(np.float64)
    if options.match_order == "score":
        return score
    result = np.empty(order.size)
    for low, high in pairwise(start.tolist()):
        ranked = score_order(score[low:high], options.ties)
        result[low + ranked] = -np.arange(ranked.size)
    return result


def truth_key(truth: Rows, rows: NDArray[np.int64], options: FrameProtocol) -> NDArray[np.float64]:
    """What tells the given rows of the truth apart where IoUs are equal, [n, D]; see `TruthKey`."""
    if options.truth_order == "box":
        return truth.box[rows].astype(np.float64)
    if options.truth_order == "heap":
        return heap_places(truth, rows)[:, None]
    return rows[:, None].astype(np.float64)


def _videos(truth: Boxes, found: Boxes) -> tuple[str, ...]:
    pairs = [(truth, truth.video), (found, found.video)]
    if truth.annotated is not None:
        pairs.append((truth, truth.annotated[:, 0]))
    names: dict[str, None] = {}
    for table, column in pairs:
        present = np.zeros(len(table.videos), dtype=np.bool_)
        present[column] = True
        names |= dict.fromkeys(table.videos[at] for at in np.flatnonzero(present))
    return tuple(names)


def _summed(parts: Sequence[FramePartial]) -> dict[str, int]:
    return {name: sum(part.counts[name] for part in parts) for name in parts[0].counts}


def _hit_scores(part: FramePartial) -> list[NDArray[np.float64]]:
    """The distinct scores of each class's true positives, whatever the threshold."""
    hit = np.logical_or.reduce(part.correct, axis=0)
    return [
        np.unique(part.score[low:high][hit[low:high]].astype(np.float64))
        for low, high in pairwise(part.start.tolist())
    ]
