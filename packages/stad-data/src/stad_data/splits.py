"""Which training videos count as labelled, and which are used without their labels.

A split is the beginning of one order of the videos, so the split of a larger share with the same
seed holds every labelled video of a smaller one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stad_data.annotation import VideoAnnotation
from stad_eval import InputError
from stad_eval.formats import files

_PARTS = ("labelled", "unlabelled")


@dataclass(frozen=True, kw_only=True)
class Split:
    """Names of the labelled and of the unlabelled videos, each in the order of the dataset.

    Raises:
        InputError: A video in it twice, or no labelled video.
    """

    labelled: tuple[str, ...]
    unlabelled: tuple[str, ...]

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for video in (*self.labelled, *self.unlabelled):
            if video in seen:
                raise InputError(
                    f"video {video!r} is twice in a split", expected="each video in one part"
                )
            seen.add(video)
        if not self.labelled:
            raise InputError("a split without labelled videos", expected="at least one")

    def parts(
        self, annotations: Sequence[VideoAnnotation]
    ) -> tuple[tuple[VideoAnnotation, ...], tuple[VideoAnnotation, ...]]:
        """The labelled videos, and the unlabelled ones without their annotation.

        Raises:
            InputError: A video of the split that is not among them, or one of them that is in
                neither part.
        """
        _check_names((*self.labelled, *self.unlabelled), annotations, path=None)
        labelled = set(self.labelled)
        return (
            tuple(video for video in annotations if video.video in labelled),
            tuple(unannotated(video) for video in annotations if video.video not in labelled),
        )


def labelled_split(annotations: Sequence[VideoAnnotation], *, share: float, seed: int) -> Split:
    """A share of the videos as labelled, with every class in its proportion.

    ``round(share * videos)`` videos are labelled, at least one. They are the first of an order in
    which each class is spread evenly and the first video of every class comes before all second
    ones, so that no class is without a label as soon as there are as many labelled videos as
    classes. The order depends on the seed alone: splits of one seed are nested. A video that
    holds several classes stands for the rarest of them, and those without any make up a class of
    their own, which comes last.

    Args:
        annotations: The training videos.
        share: Part of them that is labelled, in (0, 1].
        seed: Another seed draws other videos of each class.

    Raises:
        InputError: A share outside (0, 1], no videos, or a name given twice.
    """
    if not 0 < share <= 1 or not annotations:
        raise InputError(
            "cannot split the videos",
            expected="videos, and a share in (0, 1]",
            found=f"{len(annotations)} videos, share {share}",
        )
    order = _spread(_strata(annotations), seed=seed)
    count = max(1, round(share * len(annotations)))
    labelled = set(order[:count].tolist())
    names = [annotation.video for annotation in annotations]
    return Split(
        labelled=tuple(name for at, name in enumerate(names) if at in labelled),
        unlabelled=tuple(name for at, name in enumerate(names) if at not in labelled),
    )


def _strata(annotations: Sequence[VideoAnnotation]) -> NDArray[np.int64]:
    """The class that each video stands for, int64 [V]; -1 for videos without any."""
    classes = max(annotation.num_classes for annotation in annotations)
    held = np.zeros((len(annotations), classes), np.bool_)
    for row, annotation in zip(held, annotations, strict=True):
        for track in annotation.tracks:
            row[: annotation.num_classes] |= track.labels.any(axis=0)
    if not classes:
        return np.full(len(annotations), -1, np.int64)
    videos = held.sum(axis=0)
    rarity = np.where(held, videos, len(annotations) + 1)
    return np.where(held.any(axis=1), rarity.argmin(axis=1), -1)


def _spread(strata: NDArray[np.int64], *, seed: int) -> NDArray[np.int64]:
    """An order int64 [V] of the videos that meets every stratum evenly, first ones first."""
    shuffled = np.random.default_rng(seed).permutation(len(strata))
    priority = np.zeros(len(strata))
    first = np.ones(len(strata), np.int64)
    for stratum in np.unique(strata):
        members = shuffled[strata[shuffled] == stratum]
        priority[members] = (np.arange(len(members)) + 0.5) / len(members)
        if stratum >= 0:
            first[members[0]] = 0
    # Equal priorities stay in the shuffled order.
    return shuffled[np.lexsort((priority[shuffled], first[shuffled]))]


def unannotated(annotation: VideoAnnotation) -> VideoAnnotation:
    """The video as if no one had annotated it: without tracks, keyframes, timestamps and masks."""
    return replace(
        annotation,
        tracks=(),
        keyframes=np.zeros(0, np.int64),
        timestamps=None,
        masks=None,
    )


def write_split(path: Path | str, split: Split) -> None:
    """Write a split as text: one line ``labelled <video>`` or ``unlabelled <video>`` per video.

    Raises:
        InputError: A name that a line cannot hold, or a file that cannot be written.
    """
    lines = [f"# {len(split.labelled)} labelled, {len(split.unlabelled)} unlabelled videos"]
    for part, videos in zip(_PARTS, (split.labelled, split.unlabelled), strict=True):
        for video in videos:
            if video != video.strip() or len(video.splitlines()) != 1:
                raise InputError(
                    "a split file cannot hold this name",
                    path=path,
                    expected="a name without line breaks and outer spaces",
                    found=repr(video),
                )
            lines.append(f"{part} {video}")
    with files.replaced(path) as out:
        out.write("\n".join(lines) + "\n")


def read_split(path: Path | str, annotations: Sequence[VideoAnnotation] | None = None) -> Split:
    """Read what ``write_split`` wrote; empty lines and those that begin with ``#`` are skipped.

    Args:
        path: The file.
        annotations: The videos that it should split; None takes the file's word.

    Raises:
        InputError: A line of another form, a video listed twice, one that is not among
            ``annotations`` or is missing, or no labelled video.
    """
    parts: dict[str, list[str]] = {part: [] for part in _PARTS}
    rows: dict[str, int] = {}
    for row, line in enumerate(files.read_text(path).splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        part, _, video = line.strip().partition(" ")
        video = video.strip()
        if part not in parts or not video:
            raise InputError(
                "not a line of a split",
                path=path,
                row=row,
                expected='"labelled <video>" or "unlabelled <video>"',
                found=repr(line),
            )
        if video in rows:
            raise InputError(
                f"video {video!r} is listed twice",
                path=path,
                row=row,
                expected="each video once",
                found=f"also in row {rows[video]}",
            )
        rows[video] = row
        parts[part].append(video)
    if not parts["labelled"]:
        raise InputError("a split without labelled videos", path=path, expected="at least one")
    if annotations is not None:
        _check_names(rows, annotations, path=path)
    return Split(labelled=tuple(parts["labelled"]), unlabelled=tuple(parts["unlabelled"]))


def _check_names(
    listed: Iterable[str], annotations: Sequence[VideoAnnotation], *, path: Path | str | None
) -> None:
    wanted, known = set(listed), {annotation.video for annotation in annotations}
    for problem, odd in (
        ("a split names videos that are not in the dataset", wanted - known),
        ("a split leaves videos of the dataset out", known - wanted),
    ):
        if odd:
            raise InputError(
                problem,
                path=path,
                expected=f"the {len(known)} videos of the dataset",
                found=f"{len(odd)}: " + ", ".join(sorted(odd)[:3]),
                remedy="make the split anew for this dataset",
            )
