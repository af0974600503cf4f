"""What scoring masks gives: statistics of every object, and the means made of them."""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stad_eval.input_error import InputError
from stad_eval.mask_protocols import MaskProtocol, mask_protocol
from stad_eval.version import __version__

RECALL_THRESHOLD = 0.5


@dataclass(frozen=True, kw_only=True)
class MaskStatistics:
    """One measure over time (of an object), or the mean of its statistics (over objects).

    Attributes:
        mean: mean over frames, in [0, 1].
        recall: share of frames with a value above 0.5.
        decay: mean of the first quarter of the frames less that of the last.

    All are NaN where there is nothing to average.
    """

    mean: float
    recall: float
    decay: float


@dataclass(frozen=True, kw_only=True)
class ObjectScores:
    """J (`region`) and F (`boundary`) of one object; `frames` are those that were scored."""

    video: str
    index: int
    label: str | None
    frames: int
    region: MaskStatistics
    boundary: MaskStatistics

    @property
    def name(self) -> str:
        """Video and index, as DAVIS writes them: "bear_1"."""
        return f"{self.video}_{self.index}"


@dataclass(frozen=True, kw_only=True)
class MaskMeans:
    """Means of J and F over objects, and of both."""

    region: float
    boundary: float

    @property
    def both(self) -> float:
        """The mean of J and F."""
        return (self.region + self.boundary) / 2.0


@dataclass(frozen=True, kw_only=True, eq=False)
class MaskResult:
    """Scores of masks with what they are made of; fractions, NaN where nothing could be scored.

    Attributes:
        protocol: id of the protocol.
        mean: J&F, the mean of J and F over all objects; where the protocol has groups, G: the mean
            of J and F of every group that has an object.
        region: J over all objects.
        boundary: F over all objects.
        objects: every object, in the order of videos and indices.
        per_video: mean J and F over the objects of a video, by name.
        groups: mean J and F over objects of "seen" and of "unseen" classes; empty if the protocol
            has no groups.
        counts: videos, objects and frames (each once, however many objects it shows) that were
            scored; what was missing, left over or not to be scored.
        version: version of stad-eval.
    """

    protocol: str
    mean: float
    region: MaskStatistics
    boundary: MaskStatistics
    objects: tuple[ObjectScores, ...]
    per_video: dict[str, MaskMeans]
    groups: dict[str, MaskMeans]
    counts: dict[str, int]
    version: str = __version__

    @property
    def per_object(self) -> dict[str, ObjectScores]:
        """The objects by name, "<video>_<index>"."""
        return {each.name: each for each in self.objects}

    def table(self) -> str:
        """Aligned text in per cent: every object, then the means."""
        overall = "J&F" if not self.groups else "G"
        width = max(len(name) for name in (*self.per_object, "unseen", "object"))
        rule = "-" * (width + 28)
        counts = self.counts
        head = f"{self.protocol}: {counts['videos']} videos, {counts['objects']} objects"
        lines = [head, rule, f"{'object':<{width}}{'J %':>10}{'F %':>10}{'frames':>8}", rule]
        for each in self.objects:
            pair = _cells(each.region.mean, each.boundary.mean)
            lines.append(f"{each.name:<{width}}{pair}{each.frames:>8}")
        lines.append(rule)
        for name in ("mean", "recall", "decay"):
            pair = _cells(getattr(self.region, name), getattr(self.boundary, name))
            lines.append(f"{name:<{width}}{pair}")
        lines += [
            f"{name:<{width}}{_cells(means.region, means.boundary)}"
            for name, means in self.groups.items()
        ]
        lines.append(f"{overall:<{width}}{_cells(self.mean)}")
        return "\n".join(lines)

    def to_json(self) -> str:
        """JSON object; null where undefined.

        Keys: protocol, J&F, J and F (mean, recall, decay), per_object and per_video (J, F),
        counts, version; with groups also G, J_seen, J_unseen, F_seen, F_unseen.
        """
        content: dict[str, Any] = {
            "protocol": self.protocol,
            "J&F": _number((self.region.mean + self.boundary.mean) / 2.0),
            "J": _statistics_json(self.region),
            "F": _statistics_json(self.boundary),
        }
        if self.groups:
            content["G"] = _number(self.mean)
            for name, means in self.groups.items():
                content[f"J_{name}"] = _number(means.region)
                content[f"F_{name}"] = _number(means.boundary)
        content["per_object"] = {
            each.name: {
                "video": each.video,
                "object": each.index,
                "class": each.label,
                "frames": each.frames,
                "J": _statistics_json(each.region),
                "F": _statistics_json(each.boundary),
            }
            for each in self.objects
        }
        content["per_video"] = {
            name: {"J": _number(means.region), "F": _number(means.boundary)}
            for name, means in self.per_video.items()
        }
        content |= {"counts": self.counts, "version": self.version}
        return json.dumps(content, indent=2, allow_nan=False)


def statistics(values: Sequence[float], options: MaskProtocol) -> MaskStatistics:
    """Mean, recall and decay of one measure of one object over its frames, in order of time."""
    count = len(values)
    if count == 0:
        return MaskStatistics(mean=math.nan, recall=math.nan, decay=math.nan)
    borders = (np.round(np.linspace(1, count, 5) + 1e-10) - 1).astype(np.int64)
    ends = borders + 1
    if options.decay == "uint8":
        # Numbers of 8 bits wrap, and so does adding one to 255.
        borders, ends = borders % 256, (borders % 256 + 1) % 256
    first = mean(values[borders[0] : ends[1]])
    last = mean(values[borders[3] : ends[4]])
    recall = sum(value > RECALL_THRESHOLD for value in values) / count
    return MaskStatistics(mean=mean(values), recall=recall, decay=first - last)


def mean(values: Iterable[float]) -> float:
    """The mean, rounded once, so that no order of the values changes it; NaN without values."""
    kept = list(values)
    return math.fsum(kept) / len(kept) if kept else math.nan


def mask_result(
    objects: Iterable[ObjectScores], counts: dict[str, int], options: MaskProtocol
) -> MaskResult:
    """The result of scored objects."""
    ordered = tuple(sorted(objects, key=lambda each: (each.video, each.index)))
    scored = [each for each in ordered if each.frames]
    groups: dict[str, MaskMeans] = {}
    if options.seen_classes is not None:
        seen = frozenset(options.seen_classes)
        groups = {
            name: _means([each for each in scored if (each.label in seen) == inside])
            for name, inside in (("seen", True), ("unseen", False))
        }
    region = _over_objects(scored, lambda each: each.region)
    boundary = _over_objects(scored, lambda each: each.boundary)
    if groups:
        parts = [value for each in groups.values() for value in (each.region, each.boundary)]
        overall = mean(value for value in parts if not math.isnan(value))
    else:
        overall = (region.mean + boundary.mean) / 2.0
    by_video: dict[str, list[ObjectScores]] = {}
    for each in scored:
        by_video.setdefault(each.video, []).append(each)
    totals = {
        **counts,
        "objects": len(scored),
        "objects_without_scored_frames": len(ordered) - len(scored),
    }
    return MaskResult(
        protocol=options.name,
        mean=overall,
        region=region,
        boundary=boundary,
        objects=ordered,
        per_video={name: _means(each) for name, each in by_video.items()},
        groups=groups,
        counts=dict(sorted(totals.items())),
    )


def combine_masks(
    parts: Iterable[MaskResult], protocol: str | MaskProtocol | None = None
) -> MaskResult:
    """The result of all videos from results of some each, exactly as if scored at once.

    The protocol of the parts need be given only if it is not one of the named ones.

    Raises:
        InputError: if there is no part, a part is of another protocol, or two parts hold the same
            object.
    """
    shards = list(parts)
    if not shards:
        raise InputError("no results to combine", expected="at least one", found="none")
    named = shards[0].protocol if protocol is None else protocol
    options = mask_protocol(named) if isinstance(named, str) else named
    objects: list[ObjectScores] = []
    counts: Counter[str] = Counter()
    for shard in shards:
        if shard.protocol != options.name:
            raise InputError(
                "results of another protocol cannot be combined",
                expected=options.name,
                found=shard.protocol,
            )
        objects += shard.objects
        counts.update(shard.counts)
    twice = [key for key, n in Counter((e.video, e.index) for e in objects).items() if n > 1]
    if twice:
        raise InputError(
            f"{len(twice)} object(s) stand in several results, first {twice[0]}",
            expected="every video in one result",
            remedy="Score each video in one shard only.",
        )
    return mask_result(objects, dict(counts), options)


def _means(objects: Sequence[ObjectScores]) -> MaskMeans:
    return MaskMeans(
        region=mean(each.region.mean for each in objects),
        boundary=mean(each.boundary.mean for each in objects),
    )


def _over_objects(
    objects: Sequence[ObjectScores], measure: Callable[[ObjectScores], MaskStatistics]
) -> MaskStatistics:
    return MaskStatistics(
        mean=mean(measure(each).mean for each in objects),
        recall=mean(measure(each).recall for each in objects),
        decay=mean(measure(each).decay for each in objects),
    )


def _statistics_json(value: MaskStatistics) -> dict[str, float | None]:
    return {name: _number(getattr(value, name)) for name in ("mean", "recall", "decay")}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _cells(*values: float) -> str:
    return "".join(f"{'-' if math.isnan(v) else f'{100.0 * v:.2f}':>10}" for v in values)
